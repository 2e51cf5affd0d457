"""Pictures of what training sees and what the networks make of it, always of the same images."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from c3tf.data.batch import SemiBatch, SupervisedBatch
from c3tf.inference import networks
from c3tf.labels import IGNORE, LabelMap
from c3tf.method import confidence
from c3tf.training.trainer import SemiSupervisedTrainer
from c3tf.visualization import drawing

# Labeled images, and as many unlabeled ones, where the batch is not mixed in groups.
_COUNT = 4


class Pictures:
    """Draws one mix group of the run's first batch with the networks of the moment."""

    def __init__(
        self,
        model: SemiSupervisedTrainer,
        label_map: LabelMap,
        first_batch: Callable[[], SemiBatch | SupervisedBatch],
    ) -> None:
        """Prepares to draw.

        Args:
            model: the networks in training.
            label_map: their classes.
            first_batch: reads the batch, when the first picture is drawn; a semi-supervised one
                where the run has such a phase.
        """
        self._model, self._label_map, self._first_batch = model, label_map, first_batch
        self._batch: SemiBatch | SupervisedBatch | None = None

    def draw(self) -> dict[str, np.ndarray]:
        """Draws the labeled images, and in the semi-supervised phase the others and the mixes.

        Returns:
            Pictures by name, `(N, H, W, 3)` uint8.
        """
        if self._batch is None:
            batch = self._first_batch()
            mixed = not isinstance(batch, SupervisedBatch) and self._model.config.mixes
            count = self._model.options.mix_group if mixed else _COUNT
            self._batch = type(batch)(*(part[:count] for part in batch))
        drawn = self._labeled(self._batch)
        if self._model.semi_supervised:
            drawn |= self._unlabeled(self._batch) | self._mixed(self._batch)
        return drawn

    def _labeled(self, batch: SemiBatch | SupervisedBatch) -> dict[str, np.ndarray]:
        prediction = self._predict(batch.x)
        label = batch.y.numpy()
        return {
            "labeled/weak": batch.x.numpy(),
            "labeled/target": self._colored(label),
            "labeled/prediction": self._colored(prediction),
            "labeled/error": drawing.error_map(prediction, label),
        }

    def _unlabeled(self, batch: SemiBatch) -> dict[str, np.ndarray]:
        probabilities = tf.nn.softmax(networks.logits_at(self._model.labeler, batch.u_w))
        predicted = tf.argmax(probabilities, axis=-1, output_type=tf.int32)
        thresholds = tf.cast(tf.convert_to_tensor(self._model.thresholds), probabilities.dtype)
        confident = confidence.confident_region(
            thresholds, tf.reduce_max(probabilities, axis=-1), predicted, batch.u_valid
        ).numpy()
        target = np.where(batch.u_valid, predicted, IGNORE).astype(np.uint8)
        prediction = self._predict(batch.u_s)
        white = np.iinfo(np.uint8).max
        return {
            "unlabeled/weak": batch.u_w.numpy(),
            "unlabeled/strong": batch.u_s.numpy(),
            "unlabeled/target": self._colored(target),
            "unlabeled/confident": np.repeat(confident[..., None], 3, axis=-1) * np.uint8(white),
            "unlabeled/prediction": self._colored(prediction),
            "unlabeled/error": drawing.error_map(
                prediction, np.where(confident, target, np.uint8(IGNORE))
            ),
        }

    def _mixed(self, batch: SemiBatch) -> dict[str, np.ndarray]:
        images = self._model.mixed_images(batch)
        prediction = self._predict(images)
        return {"mixed/image": images.numpy(), "mixed/prediction": self._colored(prediction)}

    def _predict(self, images: tf.Tensor) -> np.ndarray:
        return networks.class_map(self._model.student, images).numpy()

    def _colored(self, class_maps: np.ndarray) -> np.ndarray:
        return drawing.colorize(class_maps, self._label_map)

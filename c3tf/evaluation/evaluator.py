"""The evaluator of a network on a labeled split: every image once, in integer counts.

A step counts one batch: all labeled pixels, or beside them only the confident ones. `BatchRunner`
applies steps to a data set, on one device or on several side by side.
"""

import collections
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from c3tf.data import record
from c3tf.errors import UserError
from c3tf.evaluation.calibration import Calibration
from c3tf.evaluation.confusion import confusion_counts
from c3tf.evaluation.options import LABEL_SIZES, ORIGINAL
from c3tf.evaluation.result import EvaluationResult
from c3tf.inference import networks
from c3tf.inference.networks import Predictor, most_likely
from c3tf.inference.options import InferenceOptions
from c3tf.io import tensorflow_errors
from c3tf.labels import IGNORE, LabelMap
from c3tf.method import confidence

# What was done to get from an image to the counts, unless something else is stated.
PROTOCOL = {**InferenceOptions().to_json(), "input_size": "record", "label_size": ORIGINAL}

# Images uint8 (B, H, W, 3) and labels uint8 (B, h, w, 1) to a tuple of tensors, inside a graph.
Step = Callable[[tf.Tensor, tf.Tensor], tuple[tf.Tensor, ...]]
# Takes the names of a batch, its class maps and its labels, both (B, h, w) uint8.
Observer = Callable[[list[str], np.ndarray, np.ndarray], None]

# What TensorFlow says of elements that do not make a batch.
_MIXED_SIZES = ("Cannot batch tensors with different shapes", "Cannot add tensor to the batch")
_IMAGE = tf.TensorSpec([None, None, None, 3], tf.uint8, name="image")
_LABEL = tf.TensorSpec([None, None, None, 1], tf.uint8, name="label")


class EvaluationError(UserError):
    """A data set cannot be evaluated as it is."""


class Evaluator:
    """Counts what one network gets right; compiled once, used as often as wanted."""

    def __init__(
        self,
        model: keras.Model | Predictor | Sequence[Step],
        label_map: LabelMap,
        devices: Sequence[str | None] = (None,),
    ) -> None:
        """Prepares the compiled step.

        Args:
            model: a functional network with the output `"logits"`, whose later changes of
                weights are followed, a predictor (`inference.predictor`, `serving.load`), or
                one step (`count_step`, `confident_count_step`, `calibrated_step`) per device.
            label_map: the classes of the labels and of the network.
            devices: where the steps run, see `BatchRunner`.
        """
        self._label_map = label_map
        if isinstance(model, keras.Model):
            model = networks.predictor(model)
        if callable(model):
            model = [count_step(model, label_map.num_classes)]
        self._runner = BatchRunner(model, devices)

    def run(
        self,
        dataset: Iterable[dict[str, tf.Tensor]],
        *,
        names: Collection[str] | None = None,
        protocol: dict[str, Any] | None = None,
        progress: Callable[[int], None] | None = None,
        observe: Observer | None = None,
    ) -> EvaluationResult:
        """Evaluates every image of a data set once.

        Args:
            dataset: batches with `"image"` uint8 `(B, H, W, 3)`, `"label"` uint8
                `(B, h, w, 1)` (train ids or `IGNORE`) and `"name"` string `(B,)`.
            names: the names that must be seen, each once; any distinct ones when absent.
            protocol: facts to state in the result beside `PROTOCOL` (model, data, split).
            progress: called after every batch with the number of images so far.
            observe: called after every batch with what `Observer` says.

        Returns:
            The result over all images.

        Raises:
            EvaluationError: there is no image, an image comes twice or is missing, or a record
                cannot be read or counted; nothing is measured on a part of the data.
        """
        total: np.ndarray | None = None
        calibration: np.ndarray | int = 0
        seen: set[str] = set()
        known = frozenset(names or ())
        for batch_names, (counts, class_maps, labels, *more) in self._runner.run(dataset):
            calibration = calibration + more[0].numpy() if more else None
            total = counts.numpy() if total is None else total + counts.numpy()
            for name in batch_names:
                if name in seen:
                    raise EvaluationError(f"Image {name!r} comes twice in the data set.")
                seen.add(name)
            # Before anybody writes under a name that no list holds.
            if names is not None and not known.issuperset(batch_names):
                _check_names(seen, names)
            if observe:
                observe(batch_names, class_maps.numpy(), labels.numpy())
            if progress:
                progress(len(seen))
        _check_names(seen, names)
        stated = {**PROTOCOL, **(protocol or {})}
        confident = total[1] if len(total) > 1 else None
        measured = None if calibration is None else Calibration(*calibration)
        return EvaluationResult(total[0], self._label_map, len(seen), stated, confident, measured)


def evaluate(
    model: keras.Model | Predictor,
    dataset: Iterable[dict[str, tf.Tensor]],
    label_map: LabelMap,
    *,
    names: Collection[str] | None = None,
    protocol: dict[str, Any] | None = None,
    progress: Callable[[int], None] | None = None,
) -> EvaluationResult:
    """Evaluates a network once; see `Evaluator` and `Evaluator.run` for the arguments."""
    evaluator = Evaluator(model, label_map)
    return evaluator.run(dataset, names=names, protocol=protocol, progress=progress)


def count_step(predict: Predictor, num_classes: int, label_size: str = ORIGINAL) -> Step:
    """Makes the step that counts all labeled pixels.

    Args:
        predict: class maps at any size.
        num_classes: C.
        label_size: `"original"` measures at the label's stored size, `"record"` at the image's,
            to which a larger label is reduced by taking the nearest pixel.

    Returns:
        A step that gives `(1, C, C)` int64 counts, and the class maps and the labels they were
        counted against, both `(B, h, w)` uint8.
    """
    _check_label_size(label_size)

    def step(image: tf.Tensor, label: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        label = sized(label, image, label_size)
        class_map = predict(image, tf.shape(label)[1:3])
        return confusion_counts(label, class_map, num_classes)[None], class_map, label[..., 0]

    return step


def confident_count_step(
    score: Predictor, num_classes: int, thresholds: np.ndarray, label_size: str = ORIGINAL
) -> Step:
    """Makes the step that also counts with low-confidence pixels left out.

    A pixel is left out when the largest probability is below the threshold of its class, as in
    Table 2 of the paper's supplement.

    Args:
        score: probabilities at any size, see `c3tf.inference.test_time.scorer`.
        num_classes: C.
        thresholds: `(C,)` one per predicted class.
        label_size: as for `count_step`.

    Returns:
        A step that gives `(2, C, C)` int64 counts, of all pixels and of the confident ones, and
        the class maps and labels as `count_step` does.
    """
    _check_label_size(label_size)

    def step(image: tf.Tensor, label: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        label = sized(label, image, label_size)
        class_map, highest = class_and_probability(score, image, label)
        counts = counts_of(class_map, highest, label, num_classes, thresholds)
        return counts, class_map, label[..., 0]

    return step


def counts_of(
    class_map: tf.Tensor,
    highest: tf.Tensor,
    label: tf.Tensor,
    num_classes: int,
    thresholds: np.ndarray | None,
) -> tf.Tensor:
    """Counts all labeled pixels `(1, C, C)`, and with thresholds the confident ones `(2, C, C)`."""
    everything = confusion_counts(label, class_map, num_classes)
    if thresholds is None:
        return everything[None]
    kept = confidence.confident_region(
        tf.constant(thresholds, tf.float32),
        highest,
        tf.cast(class_map, tf.int32),
        tf.ones_like(class_map, tf.bool),
    )
    confident = tf.where(kept[..., None], label, IGNORE)
    return tf.stack([everything, confusion_counts(confident, class_map, num_classes)])


def confidence_step(score: Predictor, num_classes: int, label_size: str = ORIGINAL) -> Step:
    """Makes the step that counts every pixel by predicted class and confidence.

    Args:
        score: as for `confident_count_step`.
        num_classes: C.
        label_size: as for `count_step`; where the label has no class the pixel counts as well.

    Returns:
        A step that gives `(C, confidence.BINS)` int32 counts.
    """
    _check_label_size(label_size)

    def step(image: tf.Tensor, label: tf.Tensor) -> tuple[tf.Tensor]:
        class_map, highest = class_and_probability(score, image, sized(label, image, label_size))
        everywhere = tf.ones_like(class_map, tf.bool)
        predicted = tf.cast(class_map, tf.int32)
        return (confidence.confidence_counts(highest, predicted, everywhere, num_classes),)

    return step


class BatchRunner:
    """A step that runs on every batch of a data set; compiled once, used as often as wanted."""

    def __init__(self, steps: Sequence[Step], devices: Sequence[str | None] = (None,)) -> None:
        """Compiles the steps, one trace each for all batch, image and label sizes.

        Args:
            steps: the step once for every device, each on the variables of its own device.
            devices: names of logical devices; None where TensorFlow shall choose.
        """
        if len(steps) != len(devices) or not steps:
            raise ValueError(
                "`steps` must hold one step per device. "
                f"Received: {len(steps)} steps, {len(devices)} devices"
            )
        self._steps = [tf.function(step, input_signature=[_IMAGE, _LABEL]) for step in steps]
        self._devices = tuple(devices)

    def run(self, dataset: Iterable[dict[str, tf.Tensor]]) -> Iterator[tuple[list[str], Any]]:
        """Yields the names and the step's results of every batch, in order.

        Args:
            dataset: batches with `"image"`, `"label"` and `"name"` string `(B,)`.

        Raises:
            EvaluationError: a record cannot be read or counted; the message says which.
        """
        # Every device takes the next batch when its last one is done; one batch is read ahead.
        pending: collections.deque[tuple[list[str], Future]] = collections.deque()
        with ThreadPoolExecutor(len(self._steps)) as pool:
            for index, batch in enumerate(_read(dataset)):
                if len(pending) == len(self._steps):
                    yield _finished(*pending.popleft())
                names = [record.decode_name(name) for name in np.asarray(batch["name"])]
                pending.append((names, pool.submit(self._apply, index, batch)))
            while pending:
                yield _finished(*pending.popleft())

    def _apply(self, index: int, batch: dict[str, tf.Tensor]) -> tuple[tf.Tensor, ...]:
        place = index % len(self._steps)
        with tf.device(self._devices[place]):
            return self._steps[place](batch["image"], batch["label"])


def _check_names(seen: set[str], names: Collection[str] | None) -> None:
    if not seen:
        raise EvaluationError("The data set holds no image to evaluate.")
    if names is None or seen == set(names):
        return
    missing, extra = sorted(set(names) - seen), sorted(seen - set(names))
    raise EvaluationError(
        f"The records do not hold the images that the data set lists: {len(missing)} missing "
        f"{missing[:3]}, {len(extra)} unknown {extra[:3]}. Convert the data set again."
    )


def class_and_probability(
    score: Predictor, image: tf.Tensor, label: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the class maps `(B, h, w)` at the label's size and their probability."""
    probabilities = score(image, tf.shape(label)[1:3])
    return most_likely(probabilities), tf.reduce_max(probabilities, axis=-1)


def sized(label: tf.Tensor, image: tf.Tensor, label_size: str) -> tf.Tensor:
    """Brings a label to the size at which it is measured."""
    if label_size == ORIGINAL:
        return label
    # The nearest pixel in whole numbers, as the converters take it.
    for axis in (1, 2):
        length, target = tf.shape(label)[axis], tf.shape(image)[axis]
        label = tf.gather(label, (2 * tf.range(target) + 1) * length // (2 * target), axis=axis)
    return label


def _check_label_size(label_size: str) -> None:
    if label_size not in LABEL_SIZES:
        raise ValueError(f"`label_size` must be one of {LABEL_SIZES}. Received: {label_size!r}")


def _finished(names: list[str], future: Future) -> tuple[list[str], Any]:
    try:
        return names, future.result()
    except tf.errors.InvalidArgumentError as error:
        raise EvaluationError(
            f"Cannot evaluate {', '.join(names)}: {tensorflow_errors.reason(error)}"
        ) from error


def _read(dataset: Iterable) -> Iterator[dict[str, tf.Tensor]]:
    """Reads batch by batch, and says where a failure happened."""
    last = "the start"
    iterator = iter(dataset)
    while True:
        try:
            batch = next(iterator)
        except StopIteration:
            return
        except tensorflow_errors.of_data() as error:
            advice = "`python -m data_tools.verify --data=...` names what is wrong."
            if any(said in tensorflow_errors.message(error) for said in _MIXED_SIZES):
                # Nothing is wrong with it.
                advice = "Its images or labels have several sizes: use --batch_size=1."
            reason = tensorflow_errors.reason(error)
            raise EvaluationError(
                f"The data set cannot be read after {last}: {reason}. {advice}"
            ) from error
        last = record.decode_name(np.asarray(batch["name"])[-1])
        yield batch

"""The judgement of the labels that a run trains on, before it spends time on them."""

import numpy as np
import tensorflow as tf

from c3tf.data import judgement, record_check
from c3tf.data.manifest import Manifest
from c3tf.data.sources import Positions
from c3tf.data.training_data import ImageSet
from c3tf.errors import DataError
from c3tf.io import tensorflow_errors
from c3tf.labels import IGNORE


def judge(images: ImageSet, manifest: Manifest) -> tuple[str, ...]:
    """Judges the labels of the images that a run calls labeled, as far as it takes.

    Where the first few hold every class that the data set has, the others are not read.

    Args:
        images: the labeled ones.
        manifest: of the data set.

    Returns:
        What is doubtful.

    Raises:
        DataError: they ask for nothing that is defined.
    """
    label_map = manifest.label_map
    wanted = np.asarray(manifest.split("train").class_pixels) > 0
    counts = np.zeros(np.iinfo(np.uint8).max + 1, np.int64)
    rows = images.source(Positions(0)).take(images.count)
    labels = rows.map(lambda row: _whole_label(images, row), num_parallel_calls=tf.data.AUTOTUNE)
    try:
        for label in labels.as_numpy_iterator():
            counts += np.bincount(label.ravel(), minlength=len(counts))
            if wanted.any() and (counts[: label_map.num_classes] > 0)[wanted].all():
                return ()
    except tensorflow_errors.of_data() as error:
        reason = tensorflow_errors.reason(error)
        raise record_check.failure(manifest, reason, ("train",)) from error
    what = f"the labels of the {images.count} labeled images"
    found = judgement.of_counts(
        counts[: label_map.num_classes].tolist(), int(counts[IGNORE]), label_map, what, trains=True
    )
    if found.undefined:
        raise DataError(f"{manifest.data_dir}: {' '.join(found.undefined)}")
    return found.doubtful


def _whole_label(images: ImageSet, row: tf.Tensor) -> tf.Tensor:
    """Reads the label of an image, uint8 `(H, W, 1)`."""
    reader = images.opener(row)
    return reader.label(tf.concat([[0, 0], reader.size], axis=0))

"""Writes a network as a SavedModel that serves class maps, and reads it back.

A SavedModel written here holds the network without its projection head, its preprocessing, and
the resizing back to the image's size. It needs TensorFlow alone: neither Keras nor this package.
Its signatures (images are RGB, one size per call):

    serving_default  images uint8 (B, H, W, 3)              -> class_map uint8 (B, H, W)
    probabilities    images uint8 (B, H, W, 3)              -> probabilities float32 (B, H, W, C)
    image_bytes      image_bytes string (B), JPEG or PNG    -> class_map uint8 (B, H, W)
    resized          images uint8, size int32 (2): h, w     -> class_map uint8 (B, h, w)

`label_map.json` and `model_card.json` in its folder say what the class ids mean and where the
network comes from.
"""

import dataclasses
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from c3tf.data import records
from c3tf.errors import UserError
from c3tf.evaluation import writers
from c3tf.inference import (
    IMAGES,
    SIZE,
    Predictor,
    Probabilities,
    class_map,
    logits_at,
    logits_network,
)
from c3tf.labels import LabelMap, LabelMapError
from c3tf.versions import versions

LABEL_MAP_FILE = "label_map.json"
MODEL_CARD_FILE = "model_card.json"
SIGNATURES = ("serving_default", "probabilities", "image_bytes", "resized")
_GRAPH_FILE = "saved_model.pb"
_CARD_VERSION = 1

_IMAGE_BYTES = tf.TensorSpec([None], tf.string, name="image_bytes")


class ServingError(UserError):
    """A SavedModel cannot be written or read as asked."""


def save(
    model: keras.Model,
    label_map: LabelMap,
    path: str | os.PathLike,
    *,
    source: dict[str, Any] | None = None,
    metrics: dict[str, Any] | None = None,
    overwrite: bool = False,
) -> Path:
    """Writes the SavedModel of a network: whole, or not at all.

    Args:
        model: a functional network with the output `"logits"` of shape `(B, h, w, C)`.
        label_map: its `C` classes.
        path: the folder to make.
        source: where the weights come from (checkpoint, step, student or teacher,
            configuration); plain data for the model card.
        metrics: measured results, plain data for the model card.
        overwrite: replaces an earlier SavedModel at `path`. Nothing else is ever replaced.

    Returns:
        `path`.

    Raises:
        ServingError: `path` exists and may not be replaced.
        ValueError: the network and the label map have different numbers of classes.
    """
    path = Path(path)
    check_target(path, overwrite)
    network = logits_network(model)
    classes = network.output.shape[-1]
    if classes != label_map.num_classes:
        raise ValueError(
            f"`model` and `label_map` must have equally many classes. Received: a model of "
            f"{classes}, label map {label_map.name!r} of {label_map.num_classes}."
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial-{os.getpid()}")
    try:
        # Only the variables are tracked: with the Keras model itself its metadata would be
        # written too, which plain TensorFlow warns about.
        module = tf.Module()
        module.weights = [variable.value for variable in network.weights]
        tf.saved_model.save(module, str(partial), signatures=_signatures(network))
        writers.write_json(partial / LABEL_MAP_FILE, label_map.to_json())
        writers.write_json(partial / MODEL_CARD_FILE, _card(label_map, source, metrics))
        _move(partial, path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return path


def check_target(path: str | os.PathLike, overwrite: bool = False) -> None:
    """Checks that a SavedModel may be written to a path, before time is spent on it.

    Raises:
        ServingError: `path` exists, and is no SavedModel or may not be overwritten.
    """
    path = Path(path)
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return
    if not is_saved_model(path):
        raise ServingError(f"{path} exists and is no SavedModel, so it is left alone.")
    if not overwrite:
        raise ServingError(f"{path} exists. Give another path, or ask for overwriting.")


def is_saved_model(path: str | os.PathLike) -> bool:
    """Says whether a path is the folder of a SavedModel."""
    return (Path(path) / _GRAPH_FILE).is_file()


@dataclasses.dataclass(frozen=True)
class ServedModel:
    """A SavedModel that was read back.

    Attributes:
        predict: its class maps at any size.
        probabilities: its softmax at the images' size.
        label_map: its classes.
        card: what `model_card.json` says.
    """

    predict: Predictor
    probabilities: Probabilities
    label_map: LabelMap
    card: dict[str, Any]


def load(path: str | os.PathLike) -> ServedModel:
    """Reads a SavedModel that `save` wrote.

    Raises:
        ServingError: `path` is no SavedModel, damaged, or was not written by `save`.
    """
    path = Path(path)
    if not is_saved_model(path):
        raise ServingError(f"{path} is no SavedModel: it holds no {_GRAPH_FILE}.")
    try:
        label_map = LabelMap.from_json(json.loads((path / LABEL_MAP_FILE).read_text()))
        card = json.loads((path / MODEL_CARD_FILE).read_text())
        module = tf.saved_model.load(str(path))
    except (OSError, ValueError, LabelMapError, tf.errors.OpError) as error:
        raise ServingError(
            f"SavedModel {path} cannot be read: {error}. "
            "`python -m c3tf.export` writes one from a checkpoint."
        ) from error
    missing = [name for name in SIGNATURES if name not in module.signatures]
    if missing:
        raise ServingError(f"SavedModel {path} lacks the signatures {missing}.")

    def predict(images: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
        # Reached through the module, because a signature alone does not keep its variables.
        return module.signatures["resized"](images=images, size=size)["class_map"]

    def probabilities(images: tf.Tensor) -> tf.Tensor:
        return module.signatures["probabilities"](images=images)["probabilities"]

    return ServedModel(predict, probabilities, label_map, card)


def _signatures(network: keras.Model) -> dict[str, Callable]:
    """Builds the functions under the names that the module docstring gives."""

    @tf.function(input_signature=[IMAGES])
    def serving_default(images: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"class_map": class_map(network, images)}

    @tf.function(input_signature=[IMAGES])
    def probabilities(images: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"probabilities": tf.nn.softmax(logits_at(network, images))}

    @tf.function(input_signature=[_IMAGE_BYTES])
    def image_bytes(image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"class_map": class_map(network, _decode_batch(image_bytes))}

    @tf.function(input_signature=[IMAGES, SIZE])
    def resized(images: tf.Tensor, size: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"class_map": class_map(network, images, size)}

    return dict(
        zip(SIGNATURES, (serving_default, probabilities, image_bytes, resized), strict=True)
    )


def _decode_batch(image_bytes: tf.Tensor) -> tf.Tensor:
    """Decodes `(B)` JPEG or PNG strings of one image size to `(B, H, W, 3)` uint8."""
    count = tf.size(image_bytes)
    some = tf.debugging.Assert(count > 0, ["image_bytes must hold at least one image"])

    def decode(index: tf.Tensor, size: tf.Tensor, images: tf.TensorArray) -> tuple:
        image = records.decode_image(image_bytes[index])
        own_size = tf.shape(image)
        size = tf.where(index == 0, own_size, size)
        message = "image_bytes must hold images of one size. Received (h, w, 3):"
        same = tf.debugging.Assert(tf.reduce_all(own_size == size), [message, size, own_size])
        with tf.control_dependencies([same]):
            return index + 1, size, images.write(index, image)

    # A loop, not `tf.map_fn`, which would fail at stacking and not say why.
    with tf.control_dependencies([some]):
        images = tf.TensorArray(tf.uint8, count, element_shape=[None, None, 3], infer_shape=False)
    *_, images = tf.while_loop(
        lambda index, *_: index < count,
        decode,
        (tf.constant(0), tf.zeros([3], tf.int32), images),
    )
    return images.stack()


def _card(label_map: LabelMap, source: dict | None, metrics: dict | None) -> dict[str, Any]:
    """Describes a SavedModel for people and programs that did not make it."""
    return {
        "card_version": _CARD_VERSION,
        "task": "semantic segmentation",
        "input": {
            "color": "RGB",
            "range": [0, int(tf.uint8.max)],
            "size": "any; one size per call",
            "preprocessing": "inside the graph",
        },
        "output": {
            "class_map": "uint8 train ids: positions in `classes`",
            "probabilities": "float32, softmax over `classes`",
            "resize": "logits, bilinear, half-pixel centres",
        },
        "signatures": list(SIGNATURES),
        "classes": [
            {"id": index, "name": name, "color": list(color)}
            for index, (name, color) in enumerate(
                zip(label_map.class_names, label_map.colors, strict=True)
            )
        ],
        "source": source or {},
        "metrics": metrics or {},
        "versions": versions(),
    }


def _move(partial: Path, path: Path) -> None:
    """Puts a finished folder in its place; an earlier one goes only when this has worked."""
    if not path.exists():
        partial.rename(path)
        return
    earlier = path.with_name(f".{path.name}.earlier-{os.getpid()}")
    path.rename(earlier)
    try:
        partial.rename(path)
    except OSError:
        earlier.rename(path)
        raise
    shutil.rmtree(earlier)

"""SavedModels without a model card: what Keras exports of a `model.keras` that was trained further.

They give logits of pixels, and do not say what their classes are; a label-map file does.
"""

import functools
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import tensorflow as tf

from c3tf.inference import networks
from c3tf.io import json_files
from c3tf.labels import LabelMap, LabelMapError
from c3tf.serving import operations
from c3tf.serving.model_card import FILE as MODEL_CARD_FILE
from c3tf.serving.options import ServingError
from c3tf.serving.saved_model import ServedModel

_SIGNATURE = "serving_default"
_ADVICE = "`model.export(FOLDER)` of a trained `model.keras` of c3tf writes such a one."


def load(path: str | os.PathLike, label_map_file: str) -> ServedModel:
    """Reads a SavedModel that has one signature, from images to the logits of their pixels.

    Args:
        path: folder of the SavedModel.
        label_map_file: `label_map.json` of the export that was trained further.

    Raises:
        ServingError: the SavedModel has a card, is damaged, does more than what Keras writes of
            exports, or gives something else than one logit for each class.
        UserError: the label map cannot be read.
    """
    path = Path(path)
    if (path / MODEL_CARD_FILE).exists():
        raise ServingError(
            f"`--label_map` is for a SavedModel without a {MODEL_CARD_FILE}, and {path} has one. "
            f"Received: --label_map={label_map_file}"
        )
    try:
        label_map = LabelMap.from_json(json_files.read(label_map_file))
    except LabelMapError as error:
        raise ServingError(f"{label_map_file} is no label map of an export: {error}") from error
    try:
        module = operations.load(path)
    except operations.OperationError as error:
        raise ServingError(
            f"SavedModel {path} is not loaded: {error}. A SavedModel is a program; only what "
            "c3tf and Keras export of its networks is run here."
        ) from error
    except (OSError, ValueError, tf.errors.OpError) as error:
        raise ServingError(
            f"SavedModel {path} cannot be read: {str(error).rstrip('.')}. {_ADVICE}"
        ) from error
    logits = _logits(module, path, label_map.num_classes)

    @tf.function(input_signature=[networks.IMAGES, networks.SIZE])
    def predict(images: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
        return networks.most_likely(tf.image.resize(logits(images), size, method="bilinear"))

    @tf.function(input_signature=[networks.IMAGES])
    def probabilities(images: tf.Tensor) -> tf.Tensor:
        return tf.nn.softmax(logits(images))

    return ServedModel(predict, probabilities, label_map, {"source": {}, "sha256": _digest(path)})


def _logits(module: tf.Module, path: Path, classes: int) -> Callable[[tf.Tensor], tf.Tensor]:
    """Returns the function from images uint8 `(B, H, W, 3)` to logits `(B, H, W, C)`."""
    given = f"SavedModel {path} has no signature {_SIGNATURE!r}"
    signature = module.signatures.get(_SIGNATURE)
    if signature is not None:
        inputs = list(signature.structured_input_signature[1].items())
        outputs = list(signature.structured_outputs.items())
        if len(inputs) == len(outputs) == 1:
            (name, taken), (result, made) = inputs[0], outputs[0]
            takes = taken.dtype == tf.float32 and taken.shape.as_list() == [None, None, None, 3]
            if takes and made.dtype == tf.float32 and made.shape.as_list()[3:] == [classes]:

                def network(images: tf.Tensor) -> tf.Tensor:
                    # Reached through the module: a signature alone does not keep its variables.
                    return module.signatures[_SIGNATURE](**{name: images})[result]

                return functools.partial(_at_size, network)
        given = f"SavedModel {path} maps {_shown(inputs)} to {_shown(outputs)}"
    raise ServingError(
        f"{given}; measured is one that maps float32 images (None, None, None, 3) to float32 "
        f"logits of the {classes} classes of `--label_map`. {_ADVICE}"
    )


def _at_size(network: Callable[[tf.Tensor], tf.Tensor], images: tf.Tensor) -> tf.Tensor:
    """Computes logits of images whose sides are no multiples of the network's stride.

    Its answer is as large as the next multiples. Images are continued to these and computed again,
    as `c3tf.inference.networks` does it.
    """
    images = tf.cast(images, tf.float32)
    own = tf.shape(images)[1:3]
    found = network(images)
    size = tf.shape(found)[1:3]
    rows, columns = (tf.minimum(tf.range(size[axis]), own[axis] - 1) for axis in (0, 1))

    def again() -> tf.Tensor:
        continued = tf.gather(tf.gather(images, rows, axis=1), columns, axis=2)
        return network(continued)[:, : own[0], : own[1]]

    return tf.cond(tf.reduce_all(size == own), lambda: found, again)


def _shown(parts: list[tuple[str, tf.TensorSpec]]) -> str:
    return ", ".join(f"{part.dtype.name} {part.shape}" for _, part in parts) or "nothing"


def _digest(path: Path) -> str:
    """Returns the identity of the contents: 64 hex digits over all files."""
    digest = hashlib.sha256()
    for file in sorted(path.rglob("*")):
        if file.is_file():
            digest.update(f"{file.relative_to(path).as_posix()}\0".encode())
            with open(file, "rb") as opened:
                digest.update(hashlib.file_digest(opened, "sha256").digest())
    return digest.hexdigest()

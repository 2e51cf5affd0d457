"""The export of a network to a folder that production reads, and the reader of its SavedModel.

What is exported holds the network without its projection head, its preprocessing, and the
resizing back to the image's size; batch norm is folded into the convolutions. A folder holds, by
format:

    saved_model  a SavedModel in the folder itself, which needs TensorFlow alone: neither Keras
                 nor this package; its signatures are described in `c3tf.serving.signatures`
    keras        model.keras, built-in layers only, see `keras_archive.write_keras`
    litert       model_float32.tflite, model_float16.tflite and, quantised, model_int8.tflite
    onnx         model.onnx
    openvino     model.xml and model.bin; of these three see `runtimes`

`label_map.json` and `model_card.json` beside them say what the class ids mean, where the network
comes from, and what every file hashes to.
"""

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from c3tf.inference.networks import Predictor, Probabilities, logits_network, output_stride
from c3tf.io import files, json_files, leftovers
from c3tf.labels import LabelMap, LabelMapError
from c3tf.nets.deeplab import image_multiple
from c3tf.serving import (
    graph_rewrites,
    keras_archive,
    model_card,
    operations,
    representative,
    runtimes,
    signatures,
)
from c3tf.serving.model_card import FILE as MODEL_CARD_FILE
from c3tf.serving.options import (
    FORMATS,
    KERAS,
    LITERT,
    LITERT_SIZE,
    ONNX,
    OPENVINO,
    SAVED_MODEL,
    ExportOptions,
    ServingError,
)
from c3tf.serving.signatures import SIGNATURES

LABEL_MAP_FILE = "label_map.json"


def save(
    model: keras.Model,
    label_map: LabelMap,
    path: str | os.PathLike,
    *,
    source: dict[str, Any] | None = None,
    metrics: dict[str, Any] | None = None,
    overwrite: bool = False,
    options: ExportOptions | None = None,
    thresholds: np.ndarray | None = None,
) -> Path:
    """Exports a network to a folder: whole, or not at all.

    Args:
        model: a functional network with the output `"logits"` of shape `(B, h, w, C)`.
        label_map: its `C` classes.
        path: the folder to make.
        source: where the weights come from, plain data for the model card, see
            `model_card.build`.
        metrics: measured results, plain data for the model card.
        overwrite: replaces an earlier export at `path`, which stays until this one is whole.
            Nothing else is ever replaced: a folder that holds other files too is refused.
        options: formats and folding; a SavedModel with folding when absent.
        thresholds: `(C,)` DCRS thresholds for the model card; None where there was no teacher.

    Returns:
        `path`.

    Raises:
        ServingError: `path` exists and may not be replaced, another process exports to it, or a
            format cannot hold the network.
        ValueError: the network and the label map have different numbers of classes.
    """
    path, options = Path(path), options or ExportOptions()
    check_target(path, overwrite)
    network = logits_network(model)
    classes = network.output.shape[-1]
    if classes != label_map.num_classes:
        raise ValueError(
            f"`model` and `label_map` must have equally many classes. Received: a model of "
            f"{classes}, label map {label_map.name!r} of {label_map.num_classes}."
        )
    if KERAS in options.formats:
        keras_archive.check_keras(network)
    if options.fold:
        network = graph_rewrites.fold_batch_norm(network)
    images = None
    if options.quantize:
        images = representative.images(options.representative, options.size or LITERT_SIZE)
    artifacts = _artifacts(network, options, len(images or ()))
    card = model_card.build(label_map, artifacts, source or {}, metrics or {}, thresholds)
    try:
        with files.new_folder(path, replace=overwrite) as beside:
            folder = Path(beside)
            _write(network, folder, options, images)
            json_files.write(folder / LABEL_MAP_FILE, label_map.to_json())
            model_card.write(folder, card)
    except FileExistsError as error:
        raise ServingError(f"{path} has been made by another process meanwhile.") from error
    return path


def check_target(path: str | os.PathLike, overwrite: bool = False) -> None:
    """Checks that an export may be written to a path, before time is spent on it.

    Raises:
        ServingError: `path` exists, and is no export, holds more than one, or may not be
            overwritten; or another process exports to it now.
    """
    path = Path(path)
    # An export that was killed is tidied up after; one that was to replace this is put back.
    if not leftovers.clear(path):
        raise ServingError(f"Another process exports to {path}. Wait for it, or give another path.")
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return
    if not (path / MODEL_CARD_FILE).is_file():
        raise ServingError(
            f"{path} exists and is no export ({MODEL_CARD_FILE} is missing), so it is left alone."
        )
    if not overwrite:
        raise ServingError(f"{path} exists. Give another --output, or add --overwrite.")
    if other := model_card.first_not_listed(path):
        raise ServingError(
            f"{path} holds {other}, which is no file of the export, so it is left alone. Move that "
            "file, or give another --output."
        )


def is_saved_model(path: str | os.PathLike) -> bool:
    """Says whether a path is the folder of a SavedModel."""
    return (Path(path) / operations.GRAPH_FILE).is_file()


@dataclasses.dataclass(frozen=True)
class ServedModel:
    """A SavedModel that was read back.

    Attributes:
        predict: its class maps at any size.
        probabilities: its softmax at the images' size.
        label_map: its classes.
        card: what `model_card.json` says.
        thresholds: `(C,)` DCRS thresholds; None where the card names none.
    """

    predict: Predictor
    probabilities: Probabilities
    label_map: LabelMap
    card: dict[str, Any]
    thresholds: np.ndarray | None = None


def load(path: str | os.PathLike) -> ServedModel:
    """Reads a SavedModel that `save` wrote, after checking its checksums and its operations.

    Raises:
        ServingError: `path` is no SavedModel, damaged, was not written by `save`, or does more
            than what `save` writes.
    """
    path = Path(path)
    if not is_saved_model(path):
        raise ServingError(f"{path} is no SavedModel: it holds no {operations.GRAPH_FILE}.")
    if not (path / MODEL_CARD_FILE).exists():
        raise ServingError(
            f"SavedModel {path} holds no {MODEL_CARD_FILE}. Where Keras exported it of a trained "
            f"`model.keras`, `python -m c3tf.evaluate --label_map={LABEL_MAP_FILE}` measures it."
        )
    try:
        card = model_card.read(path)
        label_map = LabelMap.from_json(json_files.read(path / LABEL_MAP_FILE))
        thresholds = model_card.thresholds(card, label_map)
        module = operations.load(path)
    except operations.OperationError as error:
        raise ServingError(
            f"SavedModel {path} is not loaded: {error}. A SavedModel is a program; only what "
            "`python -m c3tf.export` writes is run here."
        ) from error
    except (OSError, ValueError, model_card.CardError, LabelMapError, tf.errors.OpError) as error:
        raise ServingError(
            f"SavedModel {path} cannot be read: {str(error).rstrip('.')}. "
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

    return ServedModel(predict, probabilities, label_map, card, thresholds)


def _write(
    network: keras.Model,
    folder: Path,
    options: ExportOptions,
    images: Sequence[np.ndarray] | None,
) -> None:
    """Writes every format that is asked for; `images` are representative, for integers."""
    if KERAS in options.formats:
        keras_archive.write_keras(network, folder / keras_archive.KERAS_FILE)
    traced = graph_rewrites.with_native_dilation(network)
    if SAVED_MODEL in options.formats:
        stored = graph_rewrites.with_half_weights(traced) if options.half else traced
        signatures.write(stored, folder)
    if LITERT in options.formats:
        runtimes.write_litert(traced, folder, options.size or LITERT_SIZE, images)
    if ONNX in options.formats:
        runtimes.write_onnx(traced, folder / runtimes.ONNX_FILE, options.size)
    if OPENVINO in options.formats:
        runtimes.write_openvino(traced, folder / runtimes.OPENVINO_FILES[0], options.size)


def _artifacts(network: keras.Model, options: ExportOptions, images: int) -> dict[str, Any]:
    """Describes what `_write` writes, for the model card; `images` counts the representative."""
    stride = output_stride(network)
    size = "any" if options.size is None else list(options.size)
    logits_size = f"height and width rounded up to multiples of {stride}"
    if stride is not None and (multiple := image_multiple(network, stride)) > stride:
        logits_size = f"the image's, whose sides must be multiples of {multiple}"
    litert = dict(runtimes.LITERT_FILES)
    if options.quantize:
        litert[options.quantize] = runtimes.INT8_FILE
    described: dict[str, dict[str, Any]] = {
        SAVED_MODEL: {
            "file": operations.GRAPH_FILE,
            "signatures": list(SIGNATURES),
            "weights": "float16" if options.half else "float32",
        },
        KERAS: {
            "file": keras_archive.KERAS_FILE,
            "output": "float32 logits over `classes`",
            "output_size": logits_size,
        },
        LITERT: {
            "files": litert,
            "size": list(options.size or LITERT_SIZE),
            "output": "class_map",
        },
        ONNX: {
            "file": runtimes.ONNX_FILE,
            "opset": runtimes.OPSET,
            "size": size,
            "output": "class_map",
        },
        OPENVINO: {"files": list(runtimes.OPENVINO_FILES), "size": size, "output": "class_map"},
    }
    if options.quantize:
        described[LITERT]["representative_images"] = images
    kept = {name: described[name] for name in FORMATS if name in options.formats}
    return {"batch_norm_folded": options.fold, "output_stride": stride, **kept}

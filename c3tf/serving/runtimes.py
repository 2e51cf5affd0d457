"""A network's files for other runtimes than TensorFlow's own: ONNX, LiteRT and OpenVINO.

All are written by Keras' own exporters. Their one function takes `images` uint8 `(B, H, W, 3)` and
gives `class_map` uint8 `(B, H, W)`, as the SavedModel's `serving_default` does.
"""

import contextlib
import gc
import logging
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from c3tf.inference.networks import class_map
from c3tf.serving.options import ServingError

ONNX_FILE = "model.onnx"
OPENVINO_FILES = ("model.xml", "model.bin")
# By the type that the weights are stored in. `float32` and `float16` compute in float32; `int8`
# computes in integers too. All take the same images.
LITERT_FILES = {"float32": "model_float32.tflite", "float16": "model_float16.tflite"}
INT8_FILE = "model_int8.tflite"
# What tf2onnx writes unless it is asked for another: old enough for every ONNX Runtime in use.
OPSET = 15
# Name of a constant in the graph.
_ONE = "one"

Size = tuple[int, int]


def write_onnx(network: keras.Model, path: Path, size: Size | None) -> None:
    """Writes a network as an ONNX model.

    Args:
        network: maps images to logits at its output stride.
        path: ends in `.onnx`.
        size: H and W, fixed in the file; any when absent.

    Raises:
        ServingError: ONNX has no operation for one of the network's.
    """
    with _quietly(), _collecting():
        _served(network, None).export(
            path,
            format="onnx",
            input_signature=[_images(None, size)],
            opset_version=OPSET,
            verbose=False,
        )
    import onnx

    model = onnx.load(path)
    for node in model.graph.node:
        if node.op_type == "Conv":
            _pad_explicitly(node, model.graph)
    _subtract_from_one(model.graph)
    for value in (*model.graph.input, *model.graph.output):
        _name_sides(value.type.tensor_type.shape.dim)
    try:
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError as error:
        reason = str(error).partition("\n")[0]
        raise ServingError(f"ONNX cannot say what the network computes: {reason}") from error
    onnx.save(model, path)


def write_openvino(network: keras.Model, path: Path, size: Size | None) -> None:
    """Writes a network as OpenVINO's intermediate representation, see `OPENVINO_FILES`.

    Args:
        network: maps images to logits at its output stride.
        path: ends in `.xml`; the weights lie beside it.
        size: H and W, fixed in the file; any when absent.
    """
    with _quietly():
        _served(network, None).export(
            os.fspath(path),
            format="openvino",
            input_signature=[_images(None, size)],
            verbose=False,
        )


def write_litert(
    network: keras.Model,
    folder: Path,
    size: Size,
    images: Sequence[np.ndarray] | None = None,
) -> None:
    """Writes a network as LiteRT files: `LITERT_FILES`, and `INT8_FILE` where images are given.

    Args:
        network: maps images to logits at its output stride.
        folder: where the files go.
        size: H and W, fixed in the files: an interpreter that is told of another size refuses.
        images: uint8 `(H, W, 3)`, from whose activations the ranges of the integers are taken.
    """
    # Keras' exporter takes what it says to TensorFlow's converter in that converter's own words.
    smaller = {"optimizations": [tf.lite.Optimize.DEFAULT]}
    # Operations that LiteRT's interpreter brings with it: none of TensorFlow's beside them.
    builtin = {"supported_ops": [tf.lite.OpsSet.TFLITE_BUILTINS]}
    integer = {"supported_ops": [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]}
    half = {**builtin, "supported_types": [tf.float16]}
    _write_litert(network, folder / LITERT_FILES["float32"], size, target_spec=builtin)
    _write_litert(network, folder / LITERT_FILES["float16"], size, target_spec=half, **smaller)
    if images is not None:
        _write_litert(
            network,
            folder / INT8_FILE,
            size,
            target_spec=integer,
            representative_dataset=lambda: ({"images": one[np.newaxis]} for one in images),
            **smaller,
        )


def _write_litert(network: keras.Model, path: Path, size: Size, **options: Any) -> None:
    with _quietly():
        _served(network, lambda images: _only(images, *size)).export(
            path,
            format="litert",
            input_signature=[_images(1, size)],
            verbose=False,
            **options,
        )


class _Served(keras.Model):
    """What is exported: preprocessing, network, resizing and the choice of the class."""

    def __init__(
        self, network: keras.Model, check: Callable[[tf.Tensor], tf.Tensor] | None
    ) -> None:
        super().__init__(name="segmenter")
        self._network, self._check = network, check

    def call(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """Maps images to class maps."""
        checked = self._check(images) if self._check else images
        return {"class_map": class_map(self._network, checked)}


def _served(network: keras.Model, check: Callable[[tf.Tensor], tf.Tensor] | None) -> keras.Model:
    """Builds what is exported; Keras exports only what has been called."""
    model = _Served(network, check)
    model.built = True
    return model


def _images(batch: int | None, size: Size | None) -> tf.TensorSpec:
    return tf.TensorSpec([batch, *(size or (None, None)), 3], tf.uint8, name="images")


def _only(images: tf.Tensor, height: int, width: int) -> tf.Tensor:
    """Returns images as they are, if they are of this size.

    An interpreter may be told to resize its input, and would compute nonsense with the sizes that
    are fixed further on. Concatenation is refused where other sides differ, so a column and a row
    are added and cut off again.
    """
    wider = tf.concat([images, tf.zeros([1, height, 1, 3], images.dtype)], axis=2)
    taller = tf.concat([wider, tf.zeros([1, 1, width + 1, 3], images.dtype)], axis=1)
    return taller[:, :height, :width]


def _pad_explicitly(node: Any, graph: Any) -> None:
    """Writes out the padding of a dilated convolution.

    ONNX Runtime refuses dilation beside padding that it is to find by itself.

    Args:
        node: a convolution, which is changed.
        graph: holds its kernel.
    """
    import onnx

    given = {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute}
    dilations = given.get("dilations", [1])
    if max(dilations) == 1 or not given.get("auto_pad", b"").startswith(b"SAME"):
        return
    kernel = next(held.dims[2:] for held in graph.initializer if held.name == node.input[1])
    # At stride 1, which is the only one that Keras dilates at, the size stays.
    around = [(side - 1) * step for side, step in zip(kernel, dilations, strict=True)]
    pads = [total // 2 for total in around] + [total - total // 2 for total in around]
    kept = [one for one in node.attribute if one.name not in ("auto_pad", "pads")]
    del node.attribute[:]
    node.attribute.extend([*kept, onnx.helper.make_attribute("pads", pads)])


def _subtract_from_one(graph: Any) -> None:
    """Writes erfc(x) as 1 - erf(x): TensorFlow's GELU holds it, and ONNX does not know it."""
    import onnx

    nodes = []
    for node in graph.node:
        nodes.append(node)
        if node.op_type == "Erfc":
            (result,) = node.output
            node.op_type, node.output[0] = "Erf", f"{result}/erf"
            nodes.append(onnx.helper.make_node("Sub", [_ONE, node.output[0]], [result]))
    if len(nodes) > len(graph.node):
        graph.initializer.append(onnx.numpy_helper.from_array(np.float32(1), _ONE))
        kept = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
        del graph.node[:]
        graph.node.extend(kept)


def _name_sides(sides: Any) -> None:
    """Names the sides of a shape that are known only at the call."""
    for side, name in zip(sides, ("batch", "height", "width"), strict=False):
        if not side.HasField("dim_value"):
            side.dim_param = name


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Holds back what the converters say of their progress, and their use of old names.

    Operations that tf2onnx does not know are no errors yet: `write_onnx` may have another for them.
    """
    logger = logging.getLogger("tf2onnx")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        logger.setLevel(level)


@contextlib.contextmanager
def _collecting() -> Iterator[None]:
    """Has Python look for unused objects often, among those that are new.

    Each of tf2onnx's passes leaves a copy of the network behind in cycles of few objects, for which
    Python would hardly ever look: 16 GB for 40 million parameters, instead of 4.
    """
    thresholds = gc.get_threshold()
    gc.freeze()
    # Python counts old objects here, and searches all the less often the more there are.
    gc.collect()
    gc.set_threshold(100, 1, 1)
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()

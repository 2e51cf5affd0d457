"""Weights files of Keras: the arrays of each layer, by a name that no session changes."""

import re

import h5py
import keras
import numpy as np

from c3tf.nets import flat

# What Keras calls a layer that has no name, and counts: the last one of ConvNeXt.
_AUTOMATIC = "layer_normalization"


def arrays_of(file: h5py.File, base: keras.Model) -> dict[str, list[np.ndarray]]:
    """Reads the arrays of a weights file.

    Args:
        file: what `save_weights` wrote of a network like `base`, or what keras.applications
            publishes of it.
        base: the network, whose sequences of layers some files hold as one.

    Returns:
        By the names of `flat.steps`, in the order of `layer.weights`.
    """
    expected = flat.weighted(base)
    sequences = {x.name: x for x in base.layers if isinstance(x, keras.Sequential)}
    result = {}
    for name, values in _read(file).items():
        counted = re.sub(r"_\d+$", "", name)
        if name in sequences:
            for layer in sequences[name].layers:
                count = len(layer.weights)
                result[layer.name], values = values[:count], values[count:]
        elif name not in expected and counted == _AUTOMATIC:
            result[counted] = values
        else:
            result[name] = values
    return result


def _read(file: h5py.Group) -> dict[str, list[np.ndarray]]:
    """Reads the arrays of every layer of a Keras file, by layer name."""
    arrays: dict[str, list[np.ndarray]] = {}
    if "layer_names" in file.attrs:  # What keras.applications publishes.
        for name in file.attrs["layer_names"]:
            names = file[_text(name)].attrs["weight_names"]
            arrays[_text(name)] = [np.asarray(file[_text(name)][_text(n)]) for n in names]
    elif "layers" in file:
        for group in file["layers"].values():
            if "layers" in group:
                arrays |= _read(group)
                continue
            variables = group["vars"]
            name = _text(variables.attrs["name"])
            arrays[name] = [np.asarray(variables[str(i)]) for i in range(len(variables))]
    return {name: values for name, values in arrays.items() if values}


def _text(value: str | bytes) -> str:
    """Decodes HDF5 strings, which older files hold as bytes."""
    return value.decode() if isinstance(value, bytes) else str(value)

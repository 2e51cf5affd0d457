"""Networks as checkpoints describe them: built again of the layers that ours are made of.

Keras' own reader builds any layer that it knows. Some of them read files on being built
(vocabularies, SavedModels, pickled modules), and a few characters can ask for any amount of
memory, so a description is looked through first.
"""

import json
import math
from typing import Any

import keras

from c3tf.errors import UserError

# The description of ResNet-101 has 350,000 characters.
MOST_CHARACTERS = 8 << 20
# Layers and calls of them: ResNet-101 has 360. Keras takes the square of this.
MOST_LAYERS = 2000
_LAYERS = frozenset(
    (
        "Activation",
        "Add",
        "AveragePooling2D",
        "BatchNormalization",
        "Concatenate",
        "Conv2D",
        "DepthwiseConv2D",
        "GlobalAveragePooling2D",
        "InputLayer",
        "LayerNormalization",
        "MaxPooling2D",
        "Multiply",
        "ReLU",
        "Rescaling",
        "UpSampling2D",
        "ZeroPadding2D",
    )
)
_INITIALIZERS = frozenset(
    (
        "Constant",
        "GlorotNormal",
        "GlorotUniform",
        "HeNormal",
        "HeUniform",
        "Ones",
        "RandomNormal",
        "TruncatedNormal",
        "VarianceScaling",
        "Zeros",
    )
)
_ALLOWED = {
    "keras.layers": _LAYERS,
    "keras.initializers": _INITIALIZERS,
    "keras.regularizers": frozenset(("L2",)),
    "keras": frozenset(("DTypePolicy",)),
    "keras.src.models.functional": frozenset(("Functional",)),
}
# Layers that have weights, and what says how many they give for each value that they take.
_WITH_WEIGHTS = {
    "BatchNormalization": "",
    "Conv2D": "filters",
    "DepthwiseConv2D": "depth_multiplier",
    "LayerNormalization": "",
}
_MOST_SIZE = 1 << 31
_CONSTANTS = ("scale", "offset", "epsilon")
# How Keras marks a layer's inputs among its arguments.
_TENSOR = "__keras_tensor__"


class DescriptionError(UserError):
    """A description is none of a network of ours."""


def build(text: str, most_values: int) -> keras.Model:
    """Builds the network that `keras.Model.to_json` described.

    Args:
        text: the description.
        most_values: numbers that its weights may be, all together.

    Raises:
        DescriptionError: it is damaged, has parts that no network of ours has, or more weights.
    """
    if not isinstance(text, str) or len(text) > MOST_CHARACTERS:
        raise DescriptionError(
            f"the network's description must be a text of at most {MOST_CHARACTERS} characters"
        )
    try:
        _check(json.loads(text), most_values)
        network = keras.models.model_from_json(text)
    except DescriptionError:
        raise
    except Exception as error:  # Keras raises any kind for damaged descriptions.
        reason = str(error).partition("\n")[0][:200]
        raise DescriptionError(f"the network's description is damaged: {reason}") from error
    if not isinstance(network, keras.Model) or not network.weights:
        raise DescriptionError("the network's description is of no network")
    return network


def constants(text: str) -> list[dict[str, Any]]:
    """Returns what the layers of a description scale and normalise with that is no weight.

    The scale and offset of an input, epsilons: they belong to the weights that a backbone began
    with, and others of the same shapes would fit as well.

    Raises:
        DescriptionError: it is damaged.
    """
    try:
        layers = [layer["config"] for layer in json.loads(text)["config"]["layers"]]
        return [
            {name: layer[name] for name in _CONSTANTS if name in layer}
            for layer in layers
            if not layer.keys().isdisjoint(_CONSTANTS)
        ]
    except (ValueError, TypeError, KeyError) as error:
        raise DescriptionError("the network's description is damaged") from error


def _check(value: Any, most_values: int) -> None:
    """Looks through a description, by hand and not by recursion, for parts that are not ours."""
    waiting, layers, values = [value], 0, 0
    while waiting:
        part = waiting.pop()
        if isinstance(part, list):
            waiting.extend(part)
        elif isinstance(part, dict):
            waiting.extend(part.values())
            _check_part(part)
            layers += "inbound_nodes" in part and max(1, len(part["inbound_nodes"]))
            values += _weight_values(part)
    if layers > MOST_LAYERS or values > most_values:
        raise DescriptionError(
            f"the network's description declares {layers} layers and {ascii(values)[:40]} weights. "
            f"Allowed are {MOST_LAYERS}, and the {most_values} that the file holds"
        )


def _weight_values(part: dict[str, Any]) -> int:
    """Counts the weights that Keras would make for a layer, or a few more."""
    layer = part.get("class_name")
    if part.get("module") != "keras.layers" or layer not in _WITH_WEIGHTS:
        return 0
    config, build = part["config"], part["build_config"]
    if build.keys() != {"input_shape"}:
        raise DescriptionError("the network's description holds a layer of an unknown shape")
    # Keras makes weights for this shape, before it looks at what the layer is called with.
    channels = max(_count(size) for size in build["input_shape"] if size is not None)
    if layer == "BatchNormalization":
        return channels * sum(
            (2, config.get("scale") is not False, config.get("center") is not False)
        )
    if layer == "LayerNormalization":
        # Over one axis, in our networks: over several it would have their product.
        if config.get("axis", -1) not in (-1, [-1], 3, [3]):
            raise DescriptionError("the network's description normalises over other axes than ours")
        return 2 * channels
    kernel = config["kernel_size"]
    kernel = kernel if isinstance(kernel, list) else [kernel, kernel]
    outputs, inputs = _count(config[_WITH_WEIGHTS[layer]]), channels
    if layer == "DepthwiseConv2D":
        outputs, inputs = channels * outputs, 1
    return outputs * (
        math.prod(map(_count, kernel)) * inputs + (config.get("use_bias") is not False)
    )


def _count(value: Any) -> int:
    if type(value) is not int or not 0 < value < _MOST_SIZE:
        raise DescriptionError(f"the network's description holds the size {ascii(value)[:40]}")
    return value


def _check_part(part: dict[str, Any]) -> None:
    if not part.keys() & {"class_name", "module", "registered_name", "build_config"}:
        return
    name, module = part.get("class_name"), part.get("module")
    known = isinstance(module, str) and name in _ALLOWED.get(module, ())
    if name == _TENSOR and "module" not in part:
        return
    if not known or part.get("registered_name") not in (None, "Functional"):
        raise DescriptionError(
            f"the network's description holds {ascii(module)[:80]}, {ascii(name)[:80]}, which no "
            "network of ours has"
        )

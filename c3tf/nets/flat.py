"""Published networks as flat lists of the layers that our networks are made of.

The networks of a library nest layers in each other, compute with bare operations, and hold layers
of their own. Here each becomes one list of built-in Keras layers of few kinds, with the same
function and the same numbers as weights, in the same order:

- a dense layer on maps is a convolution of one position; a convolution with a group per channel is
  a depthwise one, and so is ConvNeXt's factor per channel;
- a sum of two maps is an `Add`; a constant that is added or multiplied is a `Rescaling`;
- dropout of whole blocks is left away: it is for training from the beginning.
"""

import dataclasses
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import keras

from c3tf.errors import UserError

# What a step's inputs call the image.
IMAGE = "image"

_KEPT = (
    keras.layers.Activation,
    keras.layers.Add,
    keras.layers.AveragePooling2D,
    keras.layers.BatchNormalization,
    keras.layers.Concatenate,
    keras.layers.Conv2D,
    keras.layers.DepthwiseConv2D,
    keras.layers.LayerNormalization,
    keras.layers.MaxPooling2D,
    keras.layers.Multiply,
    keras.layers.ReLU,
    keras.layers.ZeroPadding2D,
)


class BackboneError(UserError):
    """A network cannot be made a backbone; the message names the layer."""


@dataclasses.dataclass(frozen=True)
class Step:
    """One layer of a flat network, which is called once.

    Attributes:
        name: unique in the network and the same in every session; layers with weights have the
            name that they have in weights files.
        kind: its class.
        config: what `kind.from_config` makes it of.
        inputs: names of the steps that it reads, or `IMAGE`.
    """

    name: str
    kind: type[keras.layers.Layer]
    config: dict[str, Any]
    inputs: tuple[str, ...]

    def changed(self, **values: Any) -> "Step":
        """Returns this step with other values in its configuration."""
        return dataclasses.replace(self, config=self.config | values)

    @property
    def kernel(self) -> tuple[int, int]:
        """Height and width of what one position reads: a kernel's or a pool's."""
        size = self.config.get("kernel_size", self.config.get("pool_size", 1))
        return (size, size) if isinstance(size, int) else tuple(size)

    @property
    def stride(self) -> tuple[int, int]:
        """Positions that it moves by, down and to the right."""
        strides = self.config.get("strides", 1)
        return (strides, strides) if isinstance(strides, int) else tuple(strides)


def steps(network: keras.Model) -> list[Step]:
    """Lists what a network of a library computes.

    Args:
        network: functional, of one image; it is not changed.

    Returns:
        The steps in the order in which they compute; the last is the network's output.

    Raises:
        BackboneError: a layer is of a kind that our networks do not have.
    """
    found: list[Step] = []
    # What stands for a tensor of the network: a step's name.
    names = {id(network.inputs[0]): IMAGE}
    counts: Counter[str] = Counter()
    for operation in network.operations:
        if isinstance(operation, keras.layers.InputLayer):
            continue
        (node,) = operation._inbound_nodes
        inputs = tuple(names[id(tensor)] for tensor in node.input_tensors)
        for layer in _leaves(operation):
            step = _step(layer, _stable_name(layer, counts), inputs, _constants(node))
            if step is not None:
                found.append(step)
                inputs = (step.name,)
        names[id(node.output_tensors[0])] = inputs[0]
    return found


def weighted(network: keras.Model) -> dict[str, keras.layers.Layer]:
    """Returns the layers with weights, by the names of their steps."""
    counts: Counter[str] = Counter()
    return {
        name: layer
        for operation in network.operations
        for layer in _leaves(operation)
        if (name := _stable_name(layer, counts)) and getattr(layer, "weights", ())
    }


def readers(listed: Iterable[Step]) -> dict[str, list[Step]]:
    """Returns for each name the steps that read it."""
    result: dict[str, list[Step]] = {IMAGE: []}
    for step in listed:
        result.setdefault(step.name, [])
        for name in step.inputs:
            result[name].append(step)
    return result


def until(listed: Iterable[Step], name: str) -> list[Step]:
    """Keeps the steps that one of them needs, and that one."""
    by_name = {step.name: step for step in listed}
    needed, waiting = set(), [name]
    while waiting:
        one = waiting.pop()
        if one != IMAGE and one not in needed:
            needed.add(one)
            waiting.extend(by_name[one].inputs)
    return [step for step in by_name.values() if step.name in needed]


def block_ends(listed: list[Step]) -> list[str]:
    """Names where blocks end: sums and joints of maps, and batch norm that no activation follows.

    Where an activation is all that reads the end, as in the first ResNets, it belongs to it.
    """
    readers_of = readers(listed)
    ends = []
    for step in listed:
        activations = [r for r in readers_of[step.name] if is_activation(r)]
        if step.kind in (keras.layers.Add, keras.layers.Concatenate):
            alone = len(activations) == len(readers_of[step.name]) == 1
            ends.append(activations[0].name if alone else step.name)
        elif step.kind is keras.layers.BatchNormalization and not activations:
            ends.append(step.name)
    return ends


def is_activation(step: Step) -> bool:
    """Tells whether a step is an activation alone."""
    return step.kind in (keras.layers.Activation, keras.layers.ReLU)


def _leaves(operation: keras.Operation) -> Iterator[keras.Operation]:
    """Yields an operation, or what a sequence of layers consists of."""
    if not isinstance(operation, keras.Sequential):
        yield operation
        return
    for layer in operation.layers:
        yield from _leaves(layer)


def _stable_name(operation: keras.Operation, counts: Counter[str]) -> str:
    """Returns a name that does not count what else a session has made."""
    automatic = re.sub(
        r"(?<=[a-z])([A-Z])|(?<=.)([A-Z])(?=[a-z])", r"_\1\2", type(operation).__name__
    )
    automatic = automatic.lower()
    if not re.fullmatch(rf"{automatic}(_\d+)?", operation.name):
        return operation.name
    counts[automatic] += 1
    return automatic if counts[automatic] == 1 else f"{automatic}_{counts[automatic] - 1}"


def _constants(node: Any) -> list[float]:
    """Returns the numbers among the arguments of a call."""
    flat = keras.tree.flatten(node.arguments.args)
    return [value for value in flat if isinstance(value, int | float)]


def _step(
    operation: keras.Operation, name: str, inputs: tuple[str, ...], constants: list[float]
) -> Step | None:
    """Translates one operation; None for what passes its input on."""
    kind = type(operation).__name__
    if not isinstance(operation, keras.layers.Layer):
        return _arithmetic(kind, name, inputs, constants)
    config = operation.get_config()
    if isinstance(operation, keras.layers.Dropout | keras.layers.Reshape) or (
        isinstance(operation, keras.layers.Activation) and config["activation"] == "linear"
    ):
        return None
    if kind == "LayerScale":
        values = {"class_name": "Constant", "config": {"value": operation.init_values}}
        return Step(
            name,
            keras.layers.DepthwiseConv2D,
            {
                "kernel_size": 1,
                "use_bias": False,
                "depthwise_initializer": values,
                "dtype": config["dtype"],
            },
            inputs,
        )
    if isinstance(operation, keras.layers.Dense):
        kept = _of(
            config, "activation", "use_bias", "kernel_initializer", "bias_initializer", "dtype"
        )
        filters = {"filters": config["units"], "kernel_size": 1}
        return Step(name, keras.layers.Conv2D, filters | kept, inputs)
    if isinstance(operation, keras.layers.GlobalAveragePooling2D):
        # A reshaping that follows in some networks is then not needed.
        kept = _of(config, "dtype")
        return Step(name, keras.layers.GlobalAveragePooling2D, {"keepdims": True} | kept, inputs)
    if type(operation) is keras.layers.Conv2D and config["groups"] > 1:
        return _depthwise(operation, name, config, inputs)
    if type(operation) not in _KEPT:
        raise _unknown(name, kind)
    return Step(name, type(operation), config, inputs)


def _arithmetic(kind: str, name: str, inputs: tuple[str, ...], constants: list[float]) -> Step:
    if kind == "Add" and len(inputs) == 2:
        return Step(name, keras.layers.Add, {}, inputs)
    if kind == "Add" and len(constants) == 1:
        return Step(name, keras.layers.Rescaling, {"scale": 1.0, "offset": constants[0]}, inputs)
    if kind == "Multiply" and len(constants) == 1:
        return Step(name, keras.layers.Rescaling, {"scale": constants[0], "offset": 0.0}, inputs)
    raise _unknown(name, kind)


def _depthwise(
    layer: keras.layers.Conv2D, name: str, config: dict[str, Any], inputs: tuple[str, ...]
) -> Step:
    """Translates a convolution with a group per channel, which is slow on a CPU."""
    if not config["groups"] == config["filters"] == layer.input.shape[-1]:
        raise BackboneError(
            f"layer {name} convolves {config['groups']} groups of channels, which cannot be dilated"
        )
    kept = _of(
        config,
        "kernel_size",
        "strides",
        "padding",
        "activation",
        "use_bias",
        "bias_initializer",
        "dtype",
    )
    initializer = {"depthwise_initializer": config["kernel_initializer"]}
    return Step(name, keras.layers.DepthwiseConv2D, kept | initializer, inputs)


def _of(config: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: config[name] for name in names}


def _unknown(name: str, kind: str) -> BackboneError:
    return BackboneError(f"layer {name} is of the kind {kind}, for which there is no dilation here")

"""The precision of a run's networks."""

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import keras

from c3tf.config import ConfigError

FLOAT32, BFLOAT16, FLOAT16 = PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")


@contextlib.contextmanager
def policy(name: str) -> Iterator[None]:
    """Builds the layers inside in a dtype policy; weights, logits and losses stay in float32.

    Args:
        name: one of `PRECISIONS`. `float32` leaves Keras' own setting alone.
    """
    before = keras.config.dtype_policy()
    if name != FLOAT32:
        if keras.config.floatx() != FLOAT32:
            raise ConfigError(
                f"`--precision={name}` keeps its weights in float32, but Keras is set to "
                f"{keras.config.floatx()}. Use `--precision=float32`, or floatx float32."
            )
        keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def full_precision(description: str) -> str:
    """Rewrites a network's JSON so that it computes in its weights' precision.

    What is evaluated, exported and fine-tuned later must not depend on how fast it was trained.

    Args:
        description: what `keras.Model.to_json` returned.

    Returns:
        The same with every mixed policy replaced by float32.
    """
    return json.dumps(_without_mixed(json.loads(description)))


class FullPrecision:
    """Gives networks as they are evaluated and exported: computing in their weights' precision."""

    def __init__(self) -> None:
        self._twins: dict[str, keras.Model] = {}

    def of(self, network: keras.Model) -> keras.Model:
        """Returns a network that computes in full precision with a network's present weights.

        Args:
            network: a network of the run.

        Returns:
            The network itself, or, where its layers compute in half precision, a copy of its own
            that the next call brings up to date.
        """
        description = network.to_json()
        full = full_precision(description)
        if json.loads(full) == json.loads(description):
            return network
        if network.name not in self._twins:
            self._twins[network.name] = keras.models.model_from_json(full)
        twin = self._twins[network.name]
        for target, source in zip(twin.weights, network.weights, strict=True):
            target.assign(source)
        return twin


def _without_mixed(node: Any) -> Any:
    if isinstance(node, dict):
        return {key: _without_mixed(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_without_mixed(value) for value in node]
    return FLOAT32 if node in (BFLOAT16, FLOAT16) else node

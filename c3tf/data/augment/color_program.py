"""Colour programs: drawn sequences of colour operations, run on a uint8 image.

Colour jitter and RandAugment both draw a `ColorProgram`; this module computes it. Consecutive
table operations stay one pending table of 256 entries per channel, and the image is looked up in
it once, when an operation needs pixels or at the end. Only the drawn operation of each step is
computed. The whole program is one XLA computation, because a lookup of 400 000 bytes costs 0.5 ms
there and 3 ms as `tf.gather`.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from c3tf.data.augment import color_ops
from c3tf.data.augment.color_ops import ColorOp


class ColorProgram(NamedTuple):
    """A sequence of colour operations.

    Attributes:
        ops: int32 `(n,)`, values of `ColorOp`.
        values: float32 `(n,)`, the argument of each operation: a factor (brightness, contrast,
            saturation, sharpness), a share of the circle (hue), bits (posterize), a threshold
            (solarize) or an addition (solarize add). The others ignore it.
    """

    ops: tf.Tensor
    values: tf.Tensor


class _State(NamedTuple):
    """An image and the table that still has to be applied to it."""

    image: tf.Tensor
    table: tf.Tensor
    pending: tf.Tensor


def concatenate(*programs: ColorProgram) -> ColorProgram:
    """Joins programs into one that runs them in this order."""
    return ColorProgram(
        tf.concat([program.ops for program in programs], axis=0),
        tf.concat([program.values for program in programs], axis=0),
    )


def apply_program(image: tf.Tensor, program: ColorProgram) -> tf.Tensor:
    """Applies a colour program.

    Args:
        image: uint8 `(h, w, 3)` of static shape.
        program: the operations, in order. It is compiled once per image shape and number of
            operations (2 s), so callers fill up with `ColorOp.IDENTITY` rather than vary it.

    Returns:
        uint8 `(h, w, 3)`.

    Raises:
        ValueError: `image` is no uint8 RGB image of static shape.
    """
    image = tf.convert_to_tensor(image)
    static = image.shape.rank == 3 and image.shape.is_fully_defined()
    if image.dtype != tf.uint8 or not static or image.shape[-1] != 3 or 0 in image.shape:
        raise ValueError(
            "`image` must be uint8 of static shape (height, width, 3); crop it or set its shape "
            f"first. Received: image={image.dtype.name} {image.shape}"
        )
    return image if program.ops.shape[0] == 0 else _run(image, program.ops, program.values)


@tf.function(jit_compile=True, autograph=False)
def _run(image: tf.Tensor, ops: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
    """Steps through the operations; see `apply_program`."""
    needs_pixels = tf.constant([op in color_ops.NEEDS_PIXELS for op in ColorOp])
    count = tf.shape(ops)[0]

    def step(index: tf.Tensor, *fields: tf.Tensor) -> tuple[tf.Tensor, ...]:
        state = _State(*fields)
        op, value = ops[index], values[index]
        flush = state.pending & tf.gather(needs_pixels, op)
        state = _State(*tf.cond(flush, lambda: _flush(state), lambda: state))
        branches = {int(kind): _branch(kind, state, value) for kind in ColorOp}
        return (index + 1, *tf.switch_case(op, branches))

    start = (tf.constant(0), *_State(image, _identity_table(), tf.constant(False)))
    _, *fields = tf.while_loop(lambda index, *_: index < count, step, start)
    state = _State(*fields)
    return tf.cond(state.pending, lambda: _look_up(state), lambda: state.image)


def _branch(kind: ColorOp, state: _State, value: tf.Tensor) -> Callable[[], _State]:
    """Returns the function that applies one operation to a state."""

    def compose() -> _State:
        table = color_ops.TABLE_OPS[kind](state.image, value)
        table = tf.broadcast_to(table, state.table.shape)
        composed = tf.gather(table, state.table, batch_dims=1)
        return _State(state.image, composed, tf.constant(True))

    def transform() -> _State:
        return state._replace(image=color_ops.PIXEL_OPS[kind](state.image, value))

    if kind in color_ops.TABLE_OPS:
        return compose
    return transform if kind in color_ops.PIXEL_OPS else lambda: state


def _identity_table() -> tf.Tensor:
    """Returns the table that changes nothing, int32 `(3, 256)`."""
    return tf.constant(np.tile(np.arange(color_ops.LEVELS, dtype=np.int32), (3, 1)))


def _flush(state: _State) -> _State:
    """Applies the pending table and leaves none."""
    return _State(_look_up(state), _identity_table(), tf.constant(False))


def _look_up(state: _State) -> tf.Tensor:
    """Returns the image looked up in the pending table, uint8 `(h, w, 3)`."""
    table = tf.reshape(tf.cast(state.table, tf.uint8), [-1])
    first = color_ops.LEVELS * tf.range(3)
    return tf.gather(table, tf.cast(state.image, tf.int32) + first)

"""3x3 convolutions in less than half of the multiplications: Winograd's minimal filtering.

Two outputs of a filter of three taps take six multiplications one by one and four by F(2, 3), which
adds and subtracts inputs and taps before and products after; of both directions, 2x2 outputs of a
3x3 kernel take 16 instead of 36. Here these are 16 products of matrices over all 2x2 tiles of a
batch, and the gradients of maps and of kernel are computed the same way. Errors of rounding are of
the size of those tap by tap, some smaller and some larger (docs/performance.md): factors are 1 and
1/2, but a tile adds and subtracts what may cancel.

Source: A. Lavin and S. Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016,
section 4.1.
"""

import functools
import operator
from collections.abc import Callable, Sequence

import keras
import numpy as np
import tensorflow as tf

from c3tf.nets import folding, order

# Rows and columns of tensors, all of one shape.
Grid = Sequence[Sequence[tf.Tensor]]

# Of F(2, 3): outputs are OUTPUT (KERNEL taps * INPUT inputs), elementwise between the brackets.
INPUT = np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]])
KERNEL = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
OUTPUT = np.array([[1, 1, 1, 0], [0, 1, -1, -1]])
# Where the parts of a transformed kernel lie in that of the kernel with its taps in reverse.
_TURNED = (3, 1, 2, 0)

# With fewer channels or tiles, the passes that add and subtract cost what the products save, or
# the time that XLA takes to compile them is never won back.
_FEWEST_CHANNELS = 256
_FEWEST_TILES = 256


def suits(layer: keras.layers.Layer, shape: tf.TensorShape) -> bool:
    """Whether a layer's convolution of maps, where it needs no dilation, is faster computed here.

    Args:
        layer: a convolution.
        shape: of its maps.
    """
    if type(layer) is not keras.layers.Conv2D or not shape.is_fully_defined():
        return False
    if (layer.kernel_size, layer.strides, layer.groups) != ((3, 3), (1, 1), 1):
        return False
    images, rows, columns, _ = shape
    return (
        layer.padding == "same"
        and rows % 2 == columns % 2 == 0
        and images * rows * columns // 4 >= _FEWEST_TILES
        and min(layer.kernel.shape[2:]) >= _FEWEST_CHANNELS
    )


def conv2d(x: tf.Tensor, kernel: tf.Tensor, scale: tf.Tensor | None = None) -> tf.Tensor:
    """Convolves as `tf.nn.conv2d` does with stride 1 and padding "SAME", up to rounding.

    Args:
        x: `(B, H, W, I)` of static shape, rows and columns even.
        kernel: `(3, 3, I, O)` of the same dtype.
        scale: `(O,)` that the kernel is multiplied with, if any. It takes no gradient.

    Returns:
        `(B, H, W, O)`. Gradients flow to maps and kernel.
    """

    @tf.custom_gradient
    def with_gradient(x: tf.Tensor, kernel: tf.Tensor) -> tuple:
        def backward(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            return _gradients(x, kernel, scale, upstream)

        return _convolved(x, kernel, scale), backward

    # TensorFlow's optimizer knows no shape of what XLA computes, and would join no sum behind it.
    return tf.reshape(with_gradient(x, kernel), [*x.shape[:3], kernel.shape[3]])


# Traced once per shape, however many layers have it; so are the parts that XLA compiles.
@tf.function(autograph=False)
def _convolved(x: tf.Tensor, kernel: tf.Tensor, scale: tf.Tensor | None) -> tf.Tensor:
    # In its turn: where maps are recomputed, the kernels of many layers are there from the start.
    with order.after(x):
        taps = _transformed_kernel(kernel, scale)
    return _outputs(_products(_transformed_inputs(x), taps), tuple(x.shape[1:3]))


@tf.function(autograph=False)
def _gradients(
    x: tf.Tensor, kernel: tf.Tensor, scale: tf.Tensor | None, upstream: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Computes the gradients of maps and kernel."""
    # What can be made of maps alone would be made, and kept, long before.
    with tf.control_dependencies([upstream]):
        inputs = _transformed_inputs(x)
    taps = _taps(_products(inputs, _transformed_slopes(upstream), transpose_a=True), scale)
    taps = tf.reshape(tf.stack(tf.nest.flatten(taps)), kernel.shape)
    # One after the other: the transforms of both are several times the size of what they come of.
    with tf.control_dependencies([taps]):
        # What a position gave to its neighbours comes back: the kernel turned by 180 degrees.
        whole = _transformed_kernel(kernel, scale)
        turned = [[whole[i][j] for j in _TURNED] for i in _TURNED]
        products = _products(_transformed_inputs(upstream), turned, transpose_b=True)
        return _outputs(products, tuple(x.shape[1:3])), taps


def _compiled(function: Callable) -> Callable:
    """Has XLA join what a function does into few passes."""
    return tf.function(function, jit_compile=True, autograph=False)


@_compiled
def _transformed_inputs(x: tf.Tensor) -> Grid:
    """Transforms the 4x4 inputs of every tile of 2x2 outputs, to `(tiles, channels)` each."""
    rows, columns, channels = x.shape[1:]
    x = tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]])
    return _transformed(
        INPUT,
        [
            [
                tf.reshape(x[:, i : i + rows - 1 : 2, j : j + columns - 1 : 2], [-1, channels])
                for j in range(4)
            ]
            for i in range(4)
        ],
    )


@_compiled
def _transformed_kernel(kernel: tf.Tensor, scale: tf.Tensor | None) -> Grid:
    """Transforms a kernel, to `(I, O)` each."""
    kernel = folding.scaled(kernel, scale)
    return _transformed(KERNEL, [tf.unstack(row) for row in tf.unstack(kernel)])


@_compiled
def _transformed_slopes(y: tf.Tensor) -> Grid:
    """Transforms the gradients of the 2x2 outputs of every tile, to `(tiles, channels)` each."""
    tiles = [[tf.reshape(y[:, i::2, j::2], [-1, y.shape[-1]]) for j in range(2)] for i in range(2)]
    return _transformed(OUTPUT.T, tiles)


@_compiled
def _taps(products: Grid, scale: tf.Tensor | None) -> Grid:
    """Makes the gradient of a kernel of those of the transformed kernel."""
    # Not stacked by XLA, which goes through a stack one number at a time.
    taps = _transformed(KERNEL.T, products)
    return taps if scale is None else [[tap * scale for tap in row] for row in taps]


@_compiled
def _outputs(products: Grid, size: tuple[int, int]) -> tf.Tensor:
    """Makes maps `(B, rows, columns, O)` of the products of all tiles."""
    rows, columns = size
    tiles = _transformed(OUTPUT, products)
    channels = tiles[0][0].shape[-1]
    tiles = [[tf.reshape(y, [-1, rows // 2, columns // 2, channels]) for y in r] for r in tiles]
    # (B, H / 2, 2, W / 2, 2, O)
    interleaved = tf.stack([tf.stack(row, axis=3) for row in tiles], axis=2)
    return tf.reshape(interleaved, [-1, rows, columns, channels])


@_compiled
def _products(
    first: Grid, second: Grid, transpose_a: bool = False, transpose_b: bool = False
) -> Grid:
    """Multiplies the matrices at the same places of two grids."""
    return [
        [tf.matmul(a, b, transpose_a, transpose_b) for a, b in zip(*rows, strict=True)]
        for rows in zip(first, second, strict=True)
    ]


def _transformed(matrix: np.ndarray, grid: Grid) -> Grid:
    """Computes `matrix @ grid @ matrix.T` of a grid of tensors."""
    columns = [_combined(matrix, column) for column in zip(*grid, strict=True)]
    return [_combined(matrix, row) for row in zip(*columns, strict=True)]


def _combined(matrix: np.ndarray, parts: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    """Computes `matrix @ parts`, leaving out what is multiplied with 0."""
    return [
        functools.reduce(operator.add, [f * x for f, x in zip(row, parts, strict=True) if f])
        for row in matrix
    ]

"""How a layer of a training step is computed, and how the positions of its maps are arranged.

- A dilated convolution goes through `tf.nn.convolution`, which rearranges the image into a batch of
  smaller ones that are convolved without dilation, and back. Layers that act on each position by
  itself do not care how positions are arranged, so here they stay rearranged from the first to the
  last dilated layer.
- On CPUs, convolutions of many channels take less time as products of matrices: 3x3 ones by
  `c3tf.nets.winograd`, 1x1 ones as they are.
"""

import dataclasses
import math

import keras
import tensorflow as tf

from c3tf.nets import folding, winograd

# How the positions of a map are arranged: factors by which it was cut into interleaved smaller
# maps, one cut after the other. Their product is the dilation that a plain kernel then has.
Cuts = tuple[int, ...]

# With so many channels oneDNN takes less time for the gradient of a matrix than for that of a
# kernel of one tap, and as much for the rest (docs/performance.md).
_FEWEST_CHANNELS_OF_PRODUCT = 512

_POINTWISE = (keras.layers.Activation, keras.layers.ReLU, keras.layers.Add)


@dataclasses.dataclass
class Map:
    """A map by its arrangements; those it was not computed in are made when they are asked for.

    Attributes:
        computed: `(B, H, W, C)` as it was computed, B times the square of the cuts' product.
        cuts: the arrangement of that.
    """

    computed: tf.Tensor
    cuts: Cuts = ()
    _others: dict[Cuts, tf.Tensor] = dataclasses.field(default_factory=dict)

    def arranged(self, cuts: Cuts) -> tf.Tensor:
        """Returns the map in an arrangement."""
        if cuts == self.cuts:
            return self.computed
        if cuts not in self._others:
            common = len(cuts) if self.cuts[: len(cuts)] == cuts else 0
            if cuts[: len(self.cuts)] == self.cuts:
                common = len(self.cuts)
            x = self.computed
            for factor in reversed(self.cuts[common:]):
                x = tf.batch_to_space(x, [factor, factor], [[0, 0], [0, 0]])
            for factor in cuts[common:]:
                x = tf.space_to_batch(x, [factor, factor], [[0, 0], [0, 0]])
            self._others[cuts] = x
        return self._others[cuts]


def call(layer: keras.layers.Layer, sources: list[Map]) -> Map:
    """Runs a layer that is no convolution, in the arrangement that suits it."""
    cuts = max((x.cuts for x in sources), key=math.prod) if type(layer) in _POINTWISE else ()
    inputs = [x.arranged(cuts) for x in sources]
    return Map(layer(inputs[0] if len(inputs) == 1 else inputs, training=True), cuts)


def convolve(
    layer: keras.layers.Layer,
    source: Map,
    kernel: tf.Tensor,
    scale: tf.Tensor | None = None,
    bias: tf.Tensor | None = None,
) -> Map:
    """Runs a convolution with the weights that it and its batch norm have."""
    if _has_few_outputs(layer):
        cuts, x = (), _shift_and_add(layer, source, _folded(layer, kernel, scale))
    else:
        cuts = _cuts_for(layer, source)
        x = tf.cast(source.arranged(cuts), layer.compute_dtype)
        x = _operation(layer, x, (1, 1) if cuts else layer.dilation_rate, kernel, scale)
    if bias is not None:
        x = tf.nn.bias_add(x, tf.cast(bias, x.dtype))
    return Map(layer.activation(x), cuts)


def _folded(layer: keras.layers.Layer, kernel: tf.Tensor, scale: tf.Tensor | None) -> tf.Tensor:
    """Returns a kernel with its batch norm, rounded once to the layer's dtype."""
    return tf.cast(folding.scaled(kernel, scale), layer.compute_dtype)


def _operation(
    layer: keras.layers.Layer,
    x: tf.Tensor,
    dilations: tuple[int, int],
    kernel: tf.Tensor,
    scale: tf.Tensor | None,
) -> tf.Tensor:
    """Convolves as a layer does, but with the given dilation and weights."""
    if dilations == (1, 1) and _favours_products(x) and winograd.suits(layer, x.shape):
        return winograd.conv2d(x, kernel, scale)
    kernel, padding = _folded(layer, kernel, scale), layer.padding.upper()
    if _acts_on_positions(layer):
        return _at_each_position(x, kernel)
    if isinstance(layer, keras.layers.DepthwiseConv2D):
        strides = [1, *layer.strides, 1]
        return tf.nn.depthwise_conv2d(x, kernel, strides, padding, dilations=dilations)
    # Not `tf.nn.conv2d`: TensorFlow has no gradient of a dilated convolution on every processor.
    return tf.nn.convolution(x, kernel, layer.strides, padding, dilations=dilations)


def _favours_products(x: tf.Tensor) -> bool:
    """Whether products of matrices are faster than convolutions where they do the same.

    Measured on CPUs in float32. On GPUs, TensorFlow's library chooses among such ways by itself.
    """
    return x.dtype in (tf.float32, tf.float64) and not tf.config.list_logical_devices("GPU")


def _acts_on_positions(layer: keras.layers.Layer) -> bool:
    """Whether each output is of one position alone."""
    plain = type(layer) is keras.layers.Conv2D and layer.groups == 1
    return plain and (layer.kernel_size, layer.strides) == ((1, 1), (1, 1))


def _at_each_position(x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """Multiplies the channels of every position with a kernel of one tap."""
    inputs, outputs = kernel.shape[2:]
    if min(inputs, outputs) < _FEWEST_CHANNELS_OF_PRODUCT or not _favours_products(x):
        return tf.nn.conv2d(x, kernel, 1, "VALID")
    product = tf.matmul(tf.reshape(x, [-1, inputs]), kernel[0, 0])
    return tf.reshape(product, [-1, *x.shape[1:3], outputs])


def _cuts_for(layer: keras.layers.Layer, source: Map) -> Cuts:
    """Chooses the arrangement in which a convolution needs no dilation, where there is one."""
    if max(layer.strides) > 1:
        return ()
    if max(layer.kernel_size) == 1:
        return source.cuts
    if layer.padding != "same":
        return ()
    dilation, done = layer.dilation_rate[0], math.prod(source.cuts)
    rows, columns = source.computed.shape[1:3]
    if dilation == 1 or set(layer.dilation_rate) != {dilation} or not _is_centred(layer):
        return ()
    # A map that the cuts do not divide would need a margin of zeros kept zero.
    if rows * done % dilation or columns * done % dilation:
        return ()
    further, left = divmod(dilation, done)
    if left:
        return (dilation,)
    return source.cuts if further == 1 else (*source.cuts, further)


def _has_few_outputs(layer: keras.layers.Layer) -> bool:
    """Whether a dilated kernel makes fewer maps, over all its taps, than it reads."""
    if isinstance(layer, keras.layers.DepthwiseConv2D) or layer.padding != "same":
        return False
    rows, columns, inputs, outputs = layer.kernel.shape
    dilated = max(layer.dilation_rate) > 1 and max(layer.strides) == 1
    one_group = layer.groups == 1 and _is_centred(layer)
    return dilated and one_group and rows * columns * outputs < inputs


def _is_centred(layer: keras.layers.Layer) -> bool:
    """Whether padding is the same on both sides of a position."""
    return all(size % 2 for size in layer.kernel_size)


def _shift_and_add(layer: keras.layers.Layer, source: Map, kernel: tf.Tensor) -> tf.Tensor:
    """Convolves with a dilated kernel: its taps as one product of each position, then shifted.

    The shifts move the few maps that come out, where rearranging would move the many that go in.
    """
    rows, columns, inputs, outputs = kernel.shape
    taps = tf.reshape(kernel, [rows * columns, inputs, outputs])
    taps = tf.reshape(tf.transpose(taps, [1, 0, 2]), [1, 1, inputs, -1])
    x = tf.cast(source.computed, kernel.dtype)
    products = Map(_at_each_position(x, taps), source.cuts).arranged(())
    height, width = products.shape[1:3]
    parts = []
    for tap, product in enumerate(tf.split(products, rows * columns, axis=3)):
        down = (tap // columns - rows // 2) * layer.dilation_rate[0]
        right = (tap % columns - columns // 2) * layer.dilation_rate[1]
        if abs(down) < height and abs(right) < width:
            parts.append(_shifted(product, down, right))
    return tf.add_n(parts)


def _shifted(x: tf.Tensor, down: int, right: int) -> tf.Tensor:
    """Returns the map whose position p shows position p + (down, right), zeros from outside."""
    height, width = x.shape[1:3]
    top, left = max(down, 0), max(right, 0)
    part = x[:, top : height + min(down, 0), left : width + min(right, 0)]
    margins = [[max(-down, 0), top], [max(-right, 0), left]]
    return tf.pad(part, [[0, 0], *margins, [0, 0]])

"""The sums of Eq. 5 over pairs of an anchor and a key, block by block, with their gradient."""

from typing import NamedTuple

import tensorflow as tf

# Blocks that may be computed at a time: one fills the gaps that another leaves on the device.
_PARALLEL_BLOCKS = 2


class _Blocks(NamedTuple):
    """Anchors and keys in order of class, cut into blocks of anchors of one class.

    Attributes:
        order: `(N,)` int32, which anchor stands where.
        anchor_ids: `(N,)` in that order, or None.
        keys: `(M, D)`.
        key_ids: `(M,)`, or None.
        bounds: `(T, 4)` int32, per block its first anchor and the one after its last, and the
            same for the keys of its class.
    """

    order: tf.Tensor
    anchor_ids: tf.Tensor | None
    keys: tf.Tensor
    key_ids: tf.Tensor | None
    bounds: tf.Tensor


def losses(
    anchors: tf.Tensor,
    anchor_classes: tf.Tensor,
    keys: tf.Tensor,
    key_classes: tf.Tensor,
    *,
    anchor_ids: tf.Tensor | None,
    key_ids: tf.Tensor | None,
    block_pairs: int,
) -> tf.Tensor:
    """Computes the contrastive loss of anchors against keys.

    The gradient is found with the loss, while a block's similarities are at hand: the products of
    a plain forward and backward pass, without keeping or repeating the first of them. There is no
    second derivative.

    Args:
        anchors: `(N, D)`; a similarity is the plain product of an anchor and a key.
        anchor_classes: `(N,)` int32.
        keys: `(M, D)`, no gradient flows to them.
        key_classes: `(M,)` int32.
        anchor_ids: `(N,)` identities, or None.
        key_ids: `(M,)` identities, or None; a key is no positive of the anchor of its identity.
        block_pairs: similarities to hold at a time.

    Returns:
        `(N,)` mean of softplus(log S_i - s_ij) over the positives j of each anchor i.
    """
    rows = tf.maximum(block_pairs // tf.maximum(tf.shape(keys)[0], 1), 1)
    blocks = _blocks(anchor_classes, anchor_ids, keys, key_classes, key_ids, rows)

    @tf.custom_gradient
    def with_gradient(anchors: tf.Tensor) -> tuple:
        values, slopes = _all_blocks(tf.gather(anchors, blocks.order), blocks)
        back = tf.math.invert_permutation(blocks.order)

        def backward(upstream: tf.Tensor) -> tf.Tensor:
            return tf.convert_to_tensor(upstream)[:, None] * tf.gather(slopes, back)

        return tf.gather(values, back), backward

    return with_gradient(anchors)


def _blocks(
    anchor_classes: tf.Tensor,
    anchor_ids: tf.Tensor | None,
    keys: tf.Tensor,
    key_classes: tf.Tensor,
    key_ids: tf.Tensor | None,
    rows: tf.Tensor,
) -> _Blocks:
    """Sorts anchors and keys by class, so that an anchor's positives lie side by side."""
    order = tf.argsort(anchor_classes, stable=True)
    # On one device the keys are those of the anchors' own pixels, and sorted alike.
    alike = key_classes is anchor_classes
    key_order = order if alike else tf.argsort(key_classes, stable=True)
    classes, key_classes = tf.gather(anchor_classes, order), tf.gather(key_classes, key_order)
    place = tf.range(tf.shape(classes)[0])
    first_of_class = tf.searchsorted(classes, classes, side="left")
    start = tf.boolean_mask(place, (place - first_of_class) % rows == 0)
    own_class = tf.gather(classes, start)
    bounds = [
        start,
        tf.minimum(start + rows, tf.searchsorted(classes, own_class, side="right")),
        tf.searchsorted(key_classes, own_class, side="left"),
        tf.searchsorted(key_classes, own_class, side="right"),
    ]
    return _Blocks(
        order,
        None if anchor_ids is None else tf.gather(anchor_ids, order),
        tf.gather(keys, key_order),
        None if key_ids is None else tf.gather(key_ids, key_order),
        tf.stack(bounds, axis=1),
    )


def _all_blocks(anchors: tf.Tensor, blocks: _Blocks) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns every anchor's loss `(N,)` and its gradient for that anchor `(N, D)`."""
    number = tf.shape(blocks.bounds)[0]

    def parts(*shape: int | None) -> tf.TensorArray:
        array = tf.TensorArray(
            anchors.dtype, number + 1, infer_shape=False, element_shape=[None, *shape]
        )
        # Without anchors there is no block, but `concat` needs a part.
        return array.write(number, tf.zeros([0, *shape], anchors.dtype))

    def step(index: tf.Tensor, values: tf.TensorArray, slopes: tf.TensorArray) -> tuple:
        value, slope = _block(anchors, blocks, *tf.unstack(tf.gather(blocks.bounds, index)))
        return index + 1, values.write(index, value), slopes.write(index, slope)

    _, values, slopes = tf.while_loop(
        lambda index, values, slopes: index < number,
        step,
        (0, parts(), parts(anchors.shape[1])),
        parallel_iterations=_PARALLEL_BLOCKS,
    )
    return values.concat(), slopes.concat()


def _block(
    anchors: tf.Tensor,
    blocks: _Blocks,
    start: tf.Tensor,
    stop: tf.Tensor,
    begin: tf.Tensor,
    end: tf.Tensor,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Computes losses `(n,)` and gradients `(n, D)` of the anchors from start to stop.

    The keys of their class lie from begin to end.
    """
    keys = blocks.keys
    similarity = tf.matmul(anchors[start:stop], keys, transpose_b=True)
    # Without negatives log S_i is so low that softplus and its gradient are exactly 0.
    nothing = tf.constant(-1e9, similarity.dtype)
    place = tf.range(tf.shape(keys)[0])
    negative = similarity + tf.where((place >= begin) & (place < end), nothing, 0)
    top = tf.maximum(tf.reduce_max(negative, axis=1, keepdims=True), nothing)
    negative = tf.exp(negative - top)
    total = tf.reduce_sum(negative, axis=1, keepdims=True)

    excess = top + tf.math.log(total) - similarity[:, begin:end]
    loss, pull = tf.nn.softplus(excess), tf.sigmoid(excess)
    if blocks.anchor_ids is None or blocks.key_ids is None:
        count = tf.cast(end - begin, similarity.dtype)
    else:
        other = blocks.anchor_ids[start:stop, None] != blocks.key_ids[None, begin:end]
        counted = tf.cast(other, similarity.dtype)
        loss, pull = loss * counted, pull * counted
        count = tf.reduce_sum(counted, axis=1, keepdims=True)
    count = tf.maximum(count, 1)
    # Each positive draws its anchor by `pull`; what it takes, the negatives share.
    push = tf.math.divide_no_nan(tf.reduce_sum(pull, axis=1, keepdims=True), total)
    slope = push * tf.matmul(negative, keys) - tf.matmul(pull, keys[begin:end])
    return tf.reduce_sum(loss / count, axis=1), slope / count

"""Compiled arithmetic, kept bit for bit equal to the arithmetic that is written."""

import tensorflow as tf


def rounded(product: tf.Tensor) -> tf.Tensor:
    """Keeps a product from being fused with the addition that follows it.

    XLA contracts `a * b + c` into one instruction that rounds once, where it sees fit. Pillow
    rounds twice, and its truncation to bytes turns the last bit into a grey level; and two
    compiled functions must not disagree about the same coordinate. A maximum with the smallest
    number changes no value and cannot be contracted.
    """
    return tf.maximum(product, product.dtype.min)

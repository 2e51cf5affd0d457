"""What a train step takes from the teacher."""

from typing import NamedTuple

import tensorflow as tf


class Targets(NamedTuple):
    """What the teacher says of the unlabeled images.

    Attributes:
        probabilities: `(B, H, W, C)` softmax.
        predicted: `(B, H, W)` int32, the most probable class.
        confident: `(B, H, W)` bool, the region that DCRS keeps.
    """

    probabilities: tf.Tensor
    predicted: tf.Tensor
    confident: tf.Tensor

"""Seeds of the input's random draws: functions of (seed, stream, place) and nothing else."""

import tensorflow as tf

from c3tf.config import Config

# Streams of random numbers; each draw names its own.
_STREAMS = 8
ORDER_LABELED, ORDER_UNLABELED, VIEW_LABELED, VIEW_UNLABELED, MIX, STEP = range(6)


def stream_seed(config: Config, stream: int) -> int:
    """Returns the seed of one stream of random numbers: no two runs or streams share one."""
    return config.training.seed * _STREAMS + stream


def draw_seed(config: Config, stream: int, place: tf.Tensor) -> tf.Tensor:
    """Returns the stateless seed, int64 `(2,)`, of the draw at a position or step, int64."""
    return tf.stack([tf.constant(stream_seed(config, stream), tf.int64), place])

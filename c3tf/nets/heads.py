"""Heads on a backbone's features: DeepLab v2, DeepLab v3+, and the projection head.

The projection head reads what the classes are read from, so that a pixel's embedding and its
logits lie on one grid and see the same: a backbone's features (DeepLab v2), or those that the
decoder has made of them (DeepLab v3+). Dropout of features, where a method has it, acts on what
leaves the backbone (`parts.split`): the last features, and with DeepLab v3+ those at stride 4 too.
"""

from collections.abc import Sequence
from typing import Any

import keras

from c3tf.nets import backbones, upsampling

# What the branches of ASPP are called, and a number.
BRANCH = "aspp_branch"
# What the layers are called that enlarge DeepLab v3+'s features to the grid of its decoder.
DECODER = "decoder_"
# DeepLab v3+ as published: channels, those of the features at stride 4, and the dilations at output
# stride 16, which are doubled at 8.
_CHANNELS, _LOW_LEVEL_CHANNELS = 256, 48
_RATES = (6, 12, 18)
_EPSILON, _MOMENTUM = 1e-5, 0.9


def deeplab_v2(
    features: Any, num_classes: int, dilations: Sequence[int], seed: int, name_of_logits: str
) -> Any:
    """Adds ASPP: one dilated 3x3 convolution to the classes per branch, summed.

    Source: DeepLab v2 (Chen et al., 2017).
    """
    branches = []
    for index, dilation in enumerate(dilations, start=1):
        name = f"{BRANCH}{index}"
        branches.append(
            keras.layers.Conv2D(
                num_classes,
                3,
                padding="same",
                dilation_rate=dilation,
                kernel_initializer=_small(name, seed),
                name=name,
            )(features)
        )
    if len(branches) == 1:
        return _as_output(branches[0], name_of_logits)
    dtype = keras.config.dtype_policy().variable_dtype
    return keras.layers.Add(dtype=dtype, name=name_of_logits)(branches)


def deeplab_v3plus(
    features: backbones.Features, output_stride: int, train_batch_norm: bool, seed: int
) -> Any:
    """Adds ASPP with image pooling and the decoder.

    Args:
        features: of an image whose sides are multiples of the output stride.
        output_stride: of the last ones.
        train_batch_norm: trains the head's batch norm, its moments taken over all replicas; or
            leaves it at mean 0 and variance 1, where it does nothing.
        seed: draws the initial kernels.

    Returns:
        `(B, H / 4, W / 4, 256)`, of which the classes are read (`classifier`).

    Source: DeepLab v3+ (Chen et al., 2018), without its dropout.
    """

    def block(x: Any, channels: int, kernel: int, name: str, dilation: int = 1) -> Any:
        return _block(x, channels, kernel, name, dilation, train_batch_norm, seed)

    x = features.last
    branches = [block(x, _CHANNELS, 1, f"{BRANCH}0")]
    for index, rate in enumerate(_RATES, start=1):
        dilation = rate * 16 // output_stride
        branches.append(block(x, _CHANNELS, 3, f"{BRANCH}{index}", dilation))
    pooled = keras.layers.GlobalAveragePooling2D(keepdims=True, name="aspp_pooling")(x)
    pooled = block(pooled, _CHANNELS, 1, "aspp_pooled")
    # One position for the whole map: added to a map of zeros, it stands everywhere. No built-in
    # layer repeats to a size that is known only at the call.
    zeros = keras.layers.Rescaling(0.0, name="aspp_zeros")(branches[0])
    branches.append(keras.layers.Add(name="aspp_everywhere")([zeros, pooled]))
    x = keras.layers.Concatenate(name="aspp_concat")(branches)
    x = block(x, _CHANNELS, 1, "aspp_output")
    x = upsampling.upsampled(x, output_stride // backbones.LOW_LEVEL_STRIDE, DECODER)
    low = block(features.low_level, _LOW_LEVEL_CHANNELS, 1, "decoder_low_level")
    x = keras.layers.Concatenate(name="decoder_concat")([x, low])
    x = block(x, _CHANNELS, 3, "decoder_block1")
    return block(x, _CHANNELS, 3, "decoder_block2")


def classifier(features: Any, num_classes: int, seed: int, name: str) -> Any:
    """Adds DeepLab v3+'s last layer, which reads the classes of each position."""
    logits = keras.layers.Conv2D(
        num_classes,
        1,
        kernel_initializer=_small("decoder_classes", seed),
        name="decoder_classes",
    )(features)
    return _as_output(logits, name)


def projection(features: Any, embedding_dim: int, seed: int, name: str) -> Any:
    """Adds Conv-ReLU-Conv on single positions.

    The paper leaves the hidden width open; it is that of the features (2048 for ResNets with
    DeepLab v2), as in the pixel-contrast work that the paper builds on (its reference 46).
    """
    hidden = keras.layers.Conv2D(
        features.shape[-1],
        1,
        activation="relu",
        kernel_initializer=keras.initializers.HeNormal(
            seed=backbones.layer_seed("projection_hidden", seed)
        ),
        name="projection_hidden",
    )(features)
    embedding = keras.layers.Conv2D(
        embedding_dim,
        1,
        kernel_initializer=keras.initializers.GlorotNormal(
            seed=backbones.layer_seed("projection_output", seed)
        ),
        name="projection_output",
    )(hidden)
    return _as_output(embedding, name)


def _as_output(x: Any, name: str) -> Any:
    """Names an output and brings it to the variables' precision, in which losses are taken."""
    dtype = keras.config.dtype_policy().variable_dtype
    return keras.layers.Activation("linear", dtype=dtype, name=name)(x)


def _block(
    x: Any,
    channels: int,
    kernel: int,
    name: str,
    dilation: int,
    train_batch_norm: bool,
    seed: int,
) -> Any:
    """Adds a convolution, batch norm and ReLU."""
    x = keras.layers.Conv2D(
        channels,
        kernel,
        padding="same",
        dilation_rate=dilation,
        use_bias=False,
        kernel_initializer=keras.initializers.HeNormal(
            seed=backbones.layer_seed(f"{name}_conv", seed)
        ),
        name=f"{name}_conv",
    )(x)
    x = keras.layers.BatchNormalization(
        momentum=_MOMENTUM,
        epsilon=_EPSILON,
        trainable=train_batch_norm,
        synchronized=train_batch_norm,
        name=f"{name}_bn",
    )(x)
    return keras.layers.Activation("relu", name=f"{name}_relu")(x)


def _small(name: str, seed: int) -> keras.initializers.Initializer:
    return keras.initializers.RandomNormal(stddev=0.01, seed=backbones.layer_seed(name, seed))

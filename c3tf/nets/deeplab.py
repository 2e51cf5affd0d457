"""DeepLab v2 with a projection head: the one network of student and teacher."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras

from c3tf.nets import backbones, weights

LOGITS = "logits"
EMBEDDING = "embedding"
_BRANCH = "aspp_branch"
# Name of the layer that ends a network whose logits are resized with aligned corners. A layer's
# name survives archives, checkpoints, clones and cuts, so whoever resizes can ask the network.
LOGITS_ALIGN_CORNERS = "logits_align_corners"

# Summed branches of DeepLab v2's "ASPP-L". The authors' code of C3-SemiSeg keeps only (6, 12).
ASPP_DILATIONS = (6, 12, 18, 24)


def build(
    backbone: str,
    num_classes: int,
    output_stride: int = 8,
    embedding_dim: int | None = 256,
    backbone_weights: str = "imagenet",
    train_batch_norm: bool = False,
    seed: int = 0,
    name: str = "student",
    aspp_dilations: Sequence[int] = ASPP_DILATIONS,
    stride_kernel: int | None = None,
    max_pool_ceil: bool = False,
    align_corners: bool = False,
) -> keras.Model:
    """Builds the segmentation network with its backbone weights loaded.

    The result is functional and holds built-in Keras layers only. It describes itself fully:
    input scaling and stride placement, which depend on the weights, are in its configuration. To
    restore a trained network keep `model.to_json()` beside the variables, and do not call this
    function with other weights.

    Args:
        backbone: `"resnet101"`, `"resnet50"` or `"efficientnet_lite0"`.
        num_classes: number of classes C.
        output_stride: 8 or 16, input pixels per output position.
        embedding_dim: width D of the projection head's output; `None` leaves the head away.
        backbone_weights: `"imagenet"`, `"random"`, or the path of a weights file.
        train_batch_norm: trains batch norm (its moments over all replicas) instead of using the
            moving statistics that come with the weights.
        seed: draws every initial value that no file provides.
        name: the model's name.
        aspp_dilations: dilation of each summed 3x3 branch of the segmentation head.
        stride_kernel: 1 or 3, the convolution of a ResNet stage's first block that has the stride;
            None leaves it where the weights had it. EfficientNet-Lite has no such choice.
        max_pool_ceil: round the size of a ResNet's max-pooling up, which adds a row and a column
            of features to an image whose size the output stride divides.
        align_corners: mark the logits as resized with aligned corners (`aligns_corners`).

    Returns:
        A model from RGB images `(B, H, W, 3)` in 0..255 (uint8 or float) to a dict:
        `"logits"` `(B, h, w, C)` and, unless `embedding_dim` is `None`, `"embedding"`
        `(B, h, w, D)`, not normalised; h = ceil(H / output_stride), w likewise (with
        `max_pool_ceil`, floor(H / output_stride) + 1 for ResNets and even H). Both are in the
        variables' precision (float32 also under a mixed policy).

    Raises:
        ValueError: an argument is out of range.
        c3tf.nets.weights.WeightsError: the weights cannot be had or do not fit.

    Source: Section 4.1 of C3-SemiSeg ("Network Structure"); DeepLab v2 (Chen et al., 2017).
    """
    backbones.check_name(backbone)
    _check_positive("num_classes", num_classes)
    if embedding_dim is not None:
        _check_positive("embedding_dim", embedding_dim)
    if not aspp_dilations:
        raise ValueError(f"`aspp_dilations` must not be empty. Received: {aspp_dilations}")
    for dilation in aspp_dilations:
        _check_positive("aspp_dilations", dilation)
    if (layout := keras.config.image_data_format()) != "channels_last":
        raise ValueError(
            "keras.config.image_data_format() must be 'channels_last', which networks are built "
            f"for. Received: {layout!r}, from keras.json or set by this program"
        )
    base = backbones.reference(backbone)
    loaded = weights.resolve(backbone, backbone_weights, base)
    image = keras.Input(
        (None, None, 3), dtype=keras.config.dtype_policy().variable_dtype, name="image"
    )
    layout = loaded.layout
    if stride_kernel is not None:
        layout = dataclasses.replace(layout, stride_kernel=stride_kernel)
    features = backbones.build(
        image, backbone, base, output_stride, layout, train_batch_norm, seed, max_pool_ceil
    )
    name_of_logits = LOGITS_ALIGN_CORNERS if align_corners else LOGITS
    outputs = {
        LOGITS: _segmentation_head(features, num_classes, aspp_dilations, seed, name_of_logits)
    }
    if embedding_dim is not None:
        outputs[EMBEDDING] = _projection_head(features, embedding_dim, seed)
    model = keras.Model(image, outputs, name=name)
    weights.assign(model, loaded)
    return model


def aligns_corners(network: keras.Model) -> bool:
    """Tells whether corner features belong on corner pixels, not in the middle of their pixels."""
    return any(layer.name == LOGITS_ALIGN_CORNERS for layer in network.layers)


def features(network: keras.Model) -> Any:
    """Returns the symbolic features `(B, h, w, D)` of a network made by `build`: its heads' input.

    Raises:
        ValueError: the network was not made by `build`.
    """
    return network.get_layer(f"{_BRANCH}1").input


def is_backbone(variable: keras.Variable) -> bool:
    """Tells whether a variable of a network made by `build` belongs to its backbone."""
    return any(part.startswith(backbones.PREFIX) for part in variable.path.split("/"))


def is_projection(variable: keras.Variable) -> bool:
    """Tells whether a variable of a network made by `build` belongs to its projection head."""
    return any(part.startswith("projection_") for part in variable.path.split("/"))


def _segmentation_head(
    features: Any, num_classes: int, dilations: Sequence[int], seed: int, name_of_logits: str
) -> Any:
    """Adds ASPP: one dilated 3x3 convolution to the classes per branch, summed."""
    branches = []
    for index, dilation in enumerate(dilations, start=1):
        name = f"{_BRANCH}{index}"
        branches.append(
            keras.layers.Conv2D(
                num_classes,
                3,
                padding="same",
                dilation_rate=dilation,
                kernel_initializer=keras.initializers.RandomNormal(
                    stddev=0.01, seed=backbones.layer_seed(name, seed)
                ),
                name=name,
            )(features)
        )
    if len(branches) == 1:
        return _as_output(branches[0], name_of_logits)
    dtype = keras.config.dtype_policy().variable_dtype
    return keras.layers.Add(dtype=dtype, name=name_of_logits)(branches)


def _projection_head(features: Any, embedding_dim: int, seed: int) -> Any:
    """Adds Conv-ReLU-Conv on single positions.

    The paper leaves the hidden width open; it is the backbone's own (2048 for ResNets), as in the
    pixel-contrast work that the paper builds on (its reference 46).
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
    return _as_output(embedding, EMBEDDING)


def _as_output(x: Any, name: str) -> Any:
    """Names an output and brings it to the variables' precision, in which losses are taken."""
    dtype = keras.config.dtype_policy().variable_dtype
    return keras.layers.Activation("linear", dtype=dtype, name=name)(x)


def _check_positive(argument: str, value: Any) -> None:
    """Refuses whatever is not a positive integer."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"`{argument}` must be a positive integer. Received: {argument}={value!r}")

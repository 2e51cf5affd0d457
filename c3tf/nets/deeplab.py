"""A backbone, a DeepLab head and a projection head: the one network of student and teacher."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras

from c3tf.config.networks import BACKBONES, DEEPLAB_V2, DEEPLAB_V3PLUS, HEADS
from c3tf.nets import backbones, heads, upsampling, weights

LOGITS = "logits"
EMBEDDING = "embedding"
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
    head: str = DEEPLAB_V2,
    train_head_batch_norm: bool = True,
) -> keras.Model:
    """Builds the segmentation network with its backbone weights loaded.

    The result is functional and holds built-in Keras layers only. It describes itself fully:
    input scaling and stride placement, which depend on the weights, are in its configuration. To
    restore a trained network keep `model.to_json()` beside the variables, and do not call this
    function with other weights.

    Args:
        backbone: one of `backbones.NAMES`.
        num_classes: number of classes C.
        output_stride: 8 or 16, input pixels per position of the backbone's features.
        embedding_dim: width D of the projection head's output; `None` leaves the head away.
        backbone_weights: `"imagenet"`, `"random"`, or the path of a weights file.
        train_batch_norm: trains the backbone's batch norm (its moments over all replicas) instead
            of using the moving statistics that come with the weights.
        seed: draws every initial value that no file provides.
        name: the model's name.
        aspp_dilations: dilation of each summed 3x3 branch of DeepLab v2. DeepLab v3+ has the
            published ones.
        stride_kernel: 1 or 3, the convolution of a ResNet stage's first block that has the stride;
            None leaves it where the weights had it. Other networks have no such choice.
        max_pool_ceil: round the size of a ResNet's max-pooling up, which adds a row and a column
            of features to an image whose size the output stride divides.
        align_corners: mark the logits as resized with aligned corners (`aligns_corners`).
        head: one of `c3tf.config.networks.HEADS`.
        train_head_batch_norm: trains the batch norm of DeepLab v3+; DeepLab v2 has none.

    Returns:
        A model from RGB images `(B, H, W, 3)` in 0..255 (uint8 or float) to a dict:
        `"logits"` `(B, h, w, C)` and, unless `embedding_dim` is `None`, `"embedding"`
        `(B, h, w, D)`, not normalised; h = ceil(H / output_stride), w likewise (with
        `max_pool_ceil`, floor(H / output_stride) + 1 for ResNets and even H). With DeepLab v3+
        H and W must be multiples of the output stride, and h = H / 4. Both are in the variables'
        precision (float32 also under a mixed policy).

    Raises:
        ValueError: an argument is out of range.
        c3tf.nets.weights.WeightsError: the weights cannot be had or do not fit.
        c3tf.nets.flat.BackboneError: the backbone cannot be dilated to this output stride.

    Source: Section 4.1 of C3-SemiSeg ("Network Structure"); `heads` names those of the heads.
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
    _check_parts(backbone, head, train_batch_norm, max_pool_ceil, align_corners)
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
    if head == DEEPLAB_V2:
        read = features.last
        name_of_logits = LOGITS_ALIGN_CORNERS if align_corners else LOGITS
        logits = heads.deeplab_v2(read, num_classes, aspp_dilations, seed, name_of_logits)
    else:
        read = heads.deeplab_v3plus(features, output_stride, train_head_batch_norm, seed)
        logits = heads.classifier(read, num_classes, seed, LOGITS)
    outputs = {LOGITS: logits}
    if embedding_dim is not None:
        outputs[EMBEDDING] = heads.projection(read, embedding_dim, seed, EMBEDDING)
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
    # DeepLab v3+ has a convolution and batch norm in every branch.
    names = {layer.name for layer in network.layers}
    branch = f"{heads.BRANCH}1"
    return network.get_layer(f"{branch}_conv" if f"{branch}_conv" in names else branch).input


def image_multiple(network: keras.Model, stride: int) -> int:
    """Returns what an image's sides must be multiples of.

    Args:
        network: made by `build`.
        stride: pixels per position of its logits.
    """
    return stride * upsampling.factor_of(network, heads.DECODER)


def is_backbone(variable: keras.Variable) -> bool:
    """Tells whether a variable of a network made by `build` belongs to its backbone."""
    return any(part.startswith(backbones.PREFIX) for part in variable.path.split("/"))


def is_projection(variable: keras.Variable) -> bool:
    """Tells whether a variable of a network made by `build` belongs to its projection head."""
    return any(part.startswith("projection_") for part in variable.path.split("/"))


def _check_positive(argument: str, value: Any) -> None:
    """Refuses whatever is not a positive integer."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"`{argument}` must be a positive integer. Received: {argument}={value!r}")


def _check_parts(
    backbone: str, head: str, train_batch_norm: bool, max_pool_ceil: bool, align_corners: bool
) -> None:
    """Refuses parts that do not go together."""
    if head not in HEADS:
        raise ValueError(f"`head` must be one of {HEADS}. Received: head={head!r}")
    stretched = {"max_pool_ceil": max_pool_ceil, "align_corners": align_corners}
    for name, value in stretched.items():
        if head == DEEPLAB_V3PLUS and value:
            raise ValueError(
                f"`{name}` must be False with head={head!r}, whose decoder joins maps that lie on "
                f"blocks of pixels. Received: {name}=True"
            )
    if train_batch_norm and not BACKBONES[backbone].batch_norm:
        raise ValueError(
            f"`train_batch_norm` must be False for {backbone}, which has layer norm and no batch "
            "norm. Received: train_batch_norm=True"
        )

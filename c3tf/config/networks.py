"""What runs may be built of: the backbones, each with what it can do, and the heads."""

import dataclasses

DEEPLAB_V2, DEEPLAB_V3PLUS = "deeplab_v2", "deeplab_v3plus"
HEADS = (DEEPLAB_V2, DEEPLAB_V3PLUS)

OUTPUT_STRIDES = (8, 16)


@dataclasses.dataclass(frozen=True)
class Backbone:
    """What a configuration must know of a backbone.

    Attributes:
        output_strides: where its last strides can be undone. DenseNet halves its maps by averages
            of two by two positions, for which there is no dilation.
        batch_norm: it has batch norm; ConvNeXt normalises each position over its channels instead.
    """

    output_strides: tuple[int, ...] = OUTPUT_STRIDES
    batch_norm: bool = True


_AVERAGING = Backbone(output_strides=(16,))
_LAYER_NORM = Backbone(batch_norm=False)

# By the names that `--backbone` takes. `c3tf.nets.backbones` says where each comes from.
BACKBONES = {
    "resnet101": Backbone(),
    "resnet50": Backbone(),
    "efficientnet_lite0": Backbone(),
    "resnet152": Backbone(),
    "resnet50v2": Backbone(),
    "resnet101v2": Backbone(),
    "resnet152v2": Backbone(),
    "mobilenet": Backbone(),
    "mobilenetv2": Backbone(),
    "mobilenetv3_small": Backbone(),
    "mobilenetv3_large": Backbone(),
    "efficientnet_lite1": Backbone(),
    "efficientnet_lite2": Backbone(),
    "efficientnet_lite3": Backbone(),
    "efficientnet_lite4": Backbone(),
    "efficientnetv2_b0": Backbone(),
    "efficientnetv2_b1": Backbone(),
    "efficientnetv2_b2": Backbone(),
    "efficientnetv2_b3": Backbone(),
    "efficientnetv2_s": Backbone(),
    "efficientnetv2_m": Backbone(),
    "efficientnetv2_l": Backbone(),
    "convnext_tiny": _LAYER_NORM,
    "convnext_small": _LAYER_NORM,
    "convnext_base": _LAYER_NORM,
    "convnext_large": _LAYER_NORM,
    "densenet121": _AVERAGING,
    "densenet169": _AVERAGING,
    "densenet201": _AVERAGING,
}

# Those whose PyTorch checkpoints can be converted.
CONVERTIBLE = (
    *(f"resnet{depth}" for depth in (50, 101, 152)),
    *(f"efficientnet_lite{number}" for number in range(5)),
)

"""Networks of keras.applications with fewer and narrower blocks, made by its own code."""

from keras.src.applications import convnext as applications_convnext
from keras.src.applications import densenet as applications_densenet
from keras.src.applications import efficientnet_v2 as applications_efficientnet_v2
from keras.src.applications import resnet


def convnext():
    return applications_convnext.ConvNeXt(
        depths=[1, 1, 2, 1],
        projection_dims=[8, 12, 16, 24],
        include_preprocessing=False,
        include_top=False,
        input_shape=(None, None, 3),
        name="small",
    )


def densenet():
    return applications_densenet.DenseNet([2, 1, 2, 2], False, None, input_shape=(None, None, 3))


def resnet_v2():
    def stack(x):
        for index, stride in ((2, 2), (3, 2), (4, 2), (5, 1)):
            x = resnet.stack_residual_blocks_v2(x, 8 * index, 2, stride, name=f"conv{index}")
        return x

    return resnet.ResNet(
        stack, True, True, include_top=False, weights=None, input_shape=(None, None, 3)
    )


def efficientnet_v2():
    return applications_efficientnet_v2.EfficientNetV2(
        0.25,
        0.5,
        224,
        name="efficientnetv2-b0",
        include_top=False,
        weights=None,
        input_shape=(None, None, 3),
        include_preprocessing=False,
    )

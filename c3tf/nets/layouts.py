"""What weights expect of the network that they are loaded into, by who published them."""

import dataclasses

import numpy as np

_BYTE = float(np.iinfo(np.uint8).max)


@dataclasses.dataclass(frozen=True)
class Layout:
    """What a set of weights expects of the network that it is loaded into.

    Attributes:
        scale: per-channel (RGB) factor applied to the 0..255 input.
        offset: per-channel (RGB) term added after scaling.
        stride_kernel: 1 or 3, the kernel size of the convolution that carries the stride in a
            ResNet stage's first block (the original and keras.applications: 1; torchvision: 3).
            EfficientNet-Lite strides its depthwise convolution whatever this says.
        epsilon: batch norm's epsilon.
    """

    scale: tuple[float, float, float]
    offset: tuple[float, float, float]
    stride_kernel: int
    epsilon: float

    def __post_init__(self) -> None:
        if self.stride_kernel not in (1, 3):
            raise ValueError(
                f"`stride_kernel` must be 1 or 3. Received: stride_kernel={self.stride_kernel}"
            )
        for field in ("scale", "offset"):
            values = getattr(self, field)
            if len(values) != 3 or not np.all(np.isfinite(values)):
                raise ValueError(
                    f"`{field}` must be three finite numbers. Received: {field}={values}"
                )
        if not 0.0 < self.epsilon < 1.0:
            raise ValueError(f"`epsilon` must be in (0, 1). Received: epsilon={self.epsilon}")


# keras.applications expects BGR minus the mean; its first kernel is flipped when it is loaded, so
# that the graph sees RGB throughout.
KERAS_RESNET = Layout(
    scale=(1.0, 1.0, 1.0),
    offset=(-123.68, -116.779, -103.939),
    stride_kernel=1,
    epsilon=1.001e-5,
)
_TORCH_MEAN = (0.485, 0.456, 0.406)
_TORCH_STD = (0.229, 0.224, 0.225)
TORCH_RESNET = Layout(
    scale=tuple(1.0 / (_BYTE * std) for std in _TORCH_STD),
    offset=tuple(-mean / std for mean, std in zip(_TORCH_MEAN, _TORCH_STD, strict=True)),
    stride_kernel=3,
    epsilon=1e-5,
)
EFFICIENTNET_LITE = Layout(
    scale=(1.0 / 128.0,) * 3,
    offset=(-127.0 / 128.0,) * 3,
    stride_kernel=3,
    epsilon=1e-3,
)


# One byte to [-1, 1].
SIGNED = Layout(scale=(1.0 / 127.5,) * 3, offset=(-1.0,) * 3, stride_kernel=3, epsilon=1e-3)
KERAS_RESNET_V2 = dataclasses.replace(SIGNED, epsilon=1.001e-5)
KERAS_DENSENET = dataclasses.replace(TORCH_RESNET, epsilon=1.001e-5)
NORMALISED = dataclasses.replace(TORCH_RESNET, epsilon=1e-3)
EFFICIENTNET_V2 = Layout(
    scale=(1.0 / 128.0,) * 3, offset=(-1.0,) * 3, stride_kernel=3, epsilon=1e-3
)

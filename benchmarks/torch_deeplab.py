"""DeepLab v2 in PyTorch, layer by layer what `c3tf.nets.deeplab` builds, as its users write it.

Convolutions and batch norms bear the names of their Keras counterparts, so that weights can be
copied one by one.
"""

from collections import OrderedDict
from collections.abc import Mapping

import numpy as np
import torch
from torch import nn
from torch.nn import functional

_RESNET_BLOCKS = {"resnet50": (3, 4, 6, 3), "resnet101": (3, 4, 23, 3)}
# EfficientNet-Lite0 up to the stage that feeds the heads: kernel, blocks, channels, expansion.
_LITE_STAGES = ((3, 1, 16, 1), (3, 2, 24, 6), (5, 2, 40, 6), (3, 3, 80, 6), (5, 3, 112, 6))
# Input pixels per position at the input and the output of each stage, without dilation.
_RESNET_GRIDS = ((4, 4), (4, 8), (8, 16), (16, 32))
_LITE_GRIDS = ((2, 2), (2, 4), (4, 8), (8, 16), (16, 16))


class DeepLab(nn.Module):
    """Maps uint8 images `(B, H, W, 3)` to class maps uint8 `(B, H, W)`."""

    def __init__(
        self,
        backbone: str,
        num_classes: int,
        output_stride: int,
        scale: tuple[float, float, float],
        offset: tuple[float, float, float],
        epsilon: float,
        dilations: tuple[int, ...] = (6, 12, 18, 24),
    ) -> None:
        """Builds the network.

        Args:
            backbone: `"resnet50"`, `"resnet101"` or `"efficientnet_lite0"`.
            num_classes: classes of the head.
            output_stride: 8 or 16.
            scale: factor of each channel of the 0..255 input.
            offset: term added after scaling.
            epsilon: batch norm's epsilon.
            dilations: of the branches of the head.
        """
        super().__init__()
        self.register_buffer("scale", torch.tensor(scale).reshape(1, 3, 1, 1))
        self.register_buffer("offset", torch.tensor(offset).reshape(1, 3, 1, 1))
        if backbone in _RESNET_BLOCKS:
            self.backbone, features = _resnet(_RESNET_BLOCKS[backbone], output_stride, epsilon)
        else:
            self.backbone, features = _lite(output_stride, epsilon)
        self.head = nn.ModuleDict(
            {
                f"aspp_branch{i}": nn.Conv2d(features, num_classes, 3, padding=d, dilation=d)
                for i, d in enumerate(dilations, start=1)
            }
        )

    def logits(self, images: torch.Tensor) -> torch.Tensor:
        """Computes logits `(B, C, h, w)` at the output stride."""
        x = images.permute(0, 3, 1, 2).float() * self.scale + self.offset
        features = self.backbone(x)
        return sum(branch(features) for branch in self.head.values())

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Computes class maps."""
        logits = functional.interpolate(
            self.logits(images), images.shape[1:3], mode="bilinear", align_corners=False
        )
        return logits.argmax(1).to(torch.uint8)


def assign(network: DeepLab, weights: Mapping[str, np.ndarray]) -> None:
    """Copies weights of the Keras network.

    Args:
        network: receives them.
        weights: arrays by `layer/variable`, layers without the backbone's prefix. All are used.
    """
    left = set(weights)

    def take(target: torch.Tensor, name: str, axes: tuple[int, ...] | None = None) -> None:
        array = weights[name] if axes is None else weights[name].transpose(axes)
        with torch.no_grad():
            target.copy_(torch.from_numpy(np.ascontiguousarray(array)))
        left.discard(name)

    for path, module in network.named_modules():
        name = path.rpartition(".")[2]
        if isinstance(module, nn.Conv2d):
            # Depthwise kernels are (h, w, channel, 1) in Keras, which becomes (channel, 1, h, w).
            axes = (2, 3, 0, 1) if module.groups > 1 else (3, 2, 0, 1)
            take(module.weight, f"{name}/kernel", axes)
            if module.bias is not None:
                take(module.bias, f"{name}/bias")
        elif isinstance(module, nn.BatchNorm2d):
            take(module.weight, f"{name}/gamma")
            take(module.bias, f"{name}/beta")
            take(module.running_mean, f"{name}/moving_mean")
            take(module.running_var, f"{name}/moving_variance")
    if left:
        raise ValueError(f"`weights` holds more than the network takes: {sorted(left)[:3]}")


class _Bottleneck(nn.Module):
    """ResNet's block; the 3x3 convolution carries stride and dilation."""

    def __init__(
        self,
        name: str,
        inputs: int,
        width: int,
        stride: int,
        dilation: int,
        epsilon: float,
        project: bool,
    ) -> None:
        super().__init__()
        outputs = 4 * width

        def unit(index: int, first: int, last: int, **options: int) -> nn.Module:
            layers = _conv_norm(f"{name}_{index}", first, last, epsilon, **options)
            return nn.Sequential(OrderedDict(layers))

        self.shortcut = unit(0, inputs, outputs, kernel=1, stride=stride) if project else None
        self.reduce = unit(1, inputs, width, kernel=1)
        self.spatial = unit(2, width, width, kernel=3, stride=stride, dilation=dilation)
        self.expand = unit(3, width, outputs, kernel=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        shortcut = x if self.shortcut is None else self.shortcut(x)
        x = functional.relu(self.reduce(x), inplace=True)
        x = functional.relu(self.spatial(x), inplace=True)
        return functional.relu(self.expand(x) + shortcut, inplace=True)


class _Inverted(nn.Module):
    """EfficientNet-Lite's block, with a residual where shapes allow."""

    def __init__(
        self,
        name: str,
        inputs: int,
        outputs: int,
        expansion: int,
        kernel: int,
        stride: int,
        dilation: int,
        epsilon: float,
    ) -> None:
        super().__init__()
        width = inputs * expansion
        self.residual = stride == 1 and inputs == outputs
        layers: dict[str, nn.Module] = {}
        if expansion > 1:
            layers |= _conv_norm(f"{name}_expand", inputs, width, epsilon, kernel=1)
            layers["expand_activation"] = nn.ReLU6(inplace=True)
        layers["pad"] = _same_padding(kernel, stride, dilation)
        layers[f"{name}_dwconv"] = nn.Conv2d(
            width, width, kernel, stride, dilation=dilation, groups=width, bias=False
        )
        layers[f"{name}_bn"] = nn.BatchNorm2d(width, epsilon)
        layers["activation"] = nn.ReLU6(inplace=True)
        layers |= _conv_norm(f"{name}_project", width, outputs, epsilon, kernel=1)
        self.layers = nn.Sequential(OrderedDict(layers))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.layers(x) if self.residual else self.layers(x)


def _resnet(
    blocks: tuple[int, ...], output_stride: int, epsilon: float
) -> tuple[nn.Sequential, int]:
    layers = _conv_norm("conv1", 3, 64, epsilon, kernel=7, stride=2)
    layers["activation"] = nn.ReLU(inplace=True)
    layers["pool"] = nn.MaxPool2d(3, 2, padding=1)
    features = 64
    for stage, (count, grid) in enumerate(zip(blocks, _RESNET_GRIDS, strict=True), start=2):
        width = 64 * 2 ** (stage - 2)
        stride, before, after = _placement(*grid, output_stride)
        for index in range(1, count + 1):
            first = index == 1
            layers[f"conv{stage}_block{index}"] = _Bottleneck(
                f"conv{stage}_block{index}",
                features,
                width,
                stride if first else 1,
                before if first else after,
                epsilon,
                first,
            )
            features = 4 * width
    return nn.Sequential(OrderedDict(layers)), features


def _lite(output_stride: int, epsilon: float) -> tuple[nn.Sequential, int]:
    layers: dict[str, nn.Module] = {"pad": _same_padding(3, 2, 1)}
    layers["stem_conv"] = nn.Conv2d(3, 32, 3, 2, bias=False)
    layers["stem_bn"] = nn.BatchNorm2d(32, epsilon)
    layers["activation"] = nn.ReLU6(inplace=True)
    features = 32
    for stage, ((kernel, count, outputs, expansion), grid) in enumerate(
        zip(_LITE_STAGES, _LITE_GRIDS, strict=True), start=1
    ):
        stride, before, after = _placement(*grid, output_stride)
        for index in range(count):
            name = f"block{stage}{'abcd'[index]}"
            layers[name] = _Inverted(
                name,
                features,
                outputs,
                expansion,
                kernel,
                1 if index else stride,
                after if index else before,
                epsilon,
            )
            features = outputs
    return nn.Sequential(OrderedDict(layers)), features


def _placement(before: int, after: int, output_stride: int) -> tuple[int, int, int]:
    """Returns a stage's stride and the dilations of its first and its other blocks."""
    first, others = max(1, before // output_stride), max(1, after // output_stride)
    return (1 if others > first else after // before), first, others


def _conv_norm(
    name: str,
    inputs: int,
    outputs: int,
    epsilon: float,
    kernel: int,
    stride: int = 1,
    dilation: int = 1,
) -> dict[str, nn.Module]:
    padding = dilation * (kernel // 2)
    return {
        f"{name}_conv": nn.Conv2d(inputs, outputs, kernel, stride, padding, dilation, bias=False),
        f"{name}_bn": nn.BatchNorm2d(outputs, epsilon),
    }


def _same_padding(kernel: int, stride: int, dilation: int) -> nn.ZeroPad2d:
    """Pads as TensorFlow's "same" does for sizes that the stride divides."""
    total = dilation * (kernel - 1) + 1 - stride
    low = total // 2
    return nn.ZeroPad2d((low, total - low, low, total - low))

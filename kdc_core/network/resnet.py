"""ResNet 18 to 152 as feature extractors (He et al. 2015), with torchvision's parameter names.

Weights from torchvision can be loaded. ``output_stride`` 16 or 8 replaces the stride of the last
stages by dilation and needs no other weights.
"""

from __future__ import annotations

from torch import Tensor, nn

from kdc_core.errors import InputError

_REPEATS = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}
DEPTHS = tuple(_REPEATS)


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1, dilation: int = 1) -> nn.Conv2d:
    padding = dilation * (kernel // 2)
    return nn.Conv2d(inputs, outputs, kernel, stride, padding, dilation, bias=False)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut, for ResNet-18 and -34."""

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int, dilation: int, first_dilation: int):
        """Create the block; it has a shortcut convolution if the shape changes."""
        super().__init__()
        self.conv1 = _conv(inputs, width, 3, stride, first_dilation)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = _conv(width, width, 3, 1, dilation)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(inputs, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Feature map ``(B, C, H, W)`` → ``(B, C', H / stride, W / stride)``."""
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return self.relu(y + (x if self.downsample is None else self.downsample(x)))


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolutions and a shortcut, for ResNet-50 and deeper."""

    expansion = 4

    def __init__(
        self,
        inputs: int,
        width: int,
        stride: int,
        dilation: int,
        first_dilation: int,
        stride_in_1x1: bool = False,
    ):
        """Create the block; the stride is in the 3x3 (torchvision) or first 1x1 (paper, Keras)."""
        super().__init__()
        first, second = (stride, 1) if stride_in_1x1 else (1, stride)
        self.conv1 = _conv(inputs, width, 1, first)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = _conv(width, width, 3, second, first_dilation)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = _conv(width, width * 4, 1)
        self.bn3 = nn.BatchNorm2d(width * 4)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(inputs, width * 4, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Feature map ``(B, C, H, W)`` → ``(B, C', H / stride, W / stride)``."""
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return self.relu(y + (x if self.downsample is None else self.downsample(x)))


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Sequential | None:
    if stride == 1 and inputs == outputs:
        return None
    return nn.Sequential(_conv(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))


class ResNet(nn.Module):
    """Features of the four stages at strides 4, 8, 16, 32, at most ``output_stride``."""

    mean = (123.675, 116.28, 103.53)  # RGB 0…255, as torchvision
    std = (58.395, 57.12, 57.375)
    layer1: nn.Sequential
    layer2: nn.Sequential
    layer3: nn.Sequential
    layer4: nn.Sequential

    def __init__(self, depth: int, output_stride: int = 32, stride_in_1x1: bool = False):
        """Create the network with random weights.

        Args:
            depth: one of ``DEPTHS``.
            output_stride: 8, 16 or 32.
            stride_in_1x1: True for the variant of the paper, see ``Bottleneck``.

        Raises:
            InputError: the depth or the output stride is unknown.
        """
        super().__init__()
        if depth not in _REPEATS or output_stride not in (8, 16, 32):
            raise InputError(
                f"ResNet: expected depth in {DEPTHS} and output stride 8, 16 or 32, "
                f"got {depth} and {output_stride}"
            )
        self.output_stride, self.stride_in_1x1 = output_stride, stride_in_1x1
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        block = Bottleneck if depth >= 50 else BasicBlock
        self._inputs, self._stride, self._dilation = 64, 4, 1
        for index, repeats in enumerate(_REPEATS[depth]):
            stage = self._stage(block, 64 * 2**index, repeats, 1 if index == 0 else 2)
            self.add_module(f"layer{index + 1}", stage)
        self.channels = tuple(64 * 2**index * block.expansion for index in range(4))

    def _stage(
        self, block: type[BasicBlock] | type[Bottleneck], width: int, repeats: int, stride: int
    ) -> nn.Sequential:
        first_dilation = self._dilation  # the first block still reads the finer grid
        if self._stride * stride > self.output_stride:
            self._dilation, stride = self._dilation * stride, 1
        self._stride *= stride
        options = {"stride_in_1x1": self.stride_in_1x1} if block is Bottleneck else {}
        blocks = []
        for repeat in range(repeats):
            dilations = (self._dilation, first_dilation if repeat == 0 else self._dilation)
            blocks.append(block(self._inputs, width, stride, *dilations, **options))
            self._inputs, stride = width * block.expansion, 1
        return nn.Sequential(*blocks)

    def up_to(self, stride: int) -> list[nn.Module]:
        """Return the modules up to the feature map of ``stride`` 4 or 8; an empty list for 0."""
        parts: list[nn.Module] = [self.conv1, self.bn1, self.layer1, self.layer2]
        return parts[: {0: 0, 4: 3, 8: 4}[stride]]

    def forward(self, x: Tensor) -> list[Tensor]:
        """Normalised image ``(B, 3, H, W)``, sides multiples of 32 → maps of the four stages."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        features = []
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
            features.append(x)
        return features

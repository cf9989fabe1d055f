"""The network: backbone, feature pyramids, two trunks, heads, and a finer branch for the mask.

``KdcNet`` takes RGB 0…255 and returns logits. ``Inference`` adds the sigmoids and combines image
scales. ``skeleton.HEADS`` defines the channels.
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
HEAT_PRIOR = 0.02  # share of cells inside a disk; starting at 0.5 would waste the first steps
SEG_PRIOR = 0.2  # share of person pixels
TYPICAL_SIGMA = 21.0  # input pixels: 0.212 of a person with sqrt(area) = 100 (CentroidConfig)


@dataclass(frozen=True)
class NetworkConfig:
    """Architecture of the network, stored in checkpoints."""

    backbone: str = "efficientnet_lite2"  # the strongest with which two cores need only 30 ms
    output_stride: int = 32  # of the backbone; 16 and 8 (dilated, ResNets only) for ``paper``
    neck_channels: int = 128  # pyramid and trunks; 0: no neck, heads on the last block (``paper``)
    trunk_depth: int = 3  # separable 5x5 blocks per trunk: context around a limb
    seg_channels: int = 64  # mask branch at stride 4, where a channel costs 4 times more
    seg_depth: int = 2  # separable 5x5 blocks of the mask branch: sharp borders after upsampling
    stride: int = 8  # input pixels per cell of the offset fields: offsets are smooth
    seg_stride: int = 2  # input pixels per cell of the mask: borders are not
    radius: float = 16.0  # R, input pixels: the unit of all offsets
    #: number of image scales, each half of the previous one. Near people, who are larger than those
    #: on which the backbone was trained, come from the smaller scales: see ``Inference``
    octaves: int = 1

    def __post_init__(self) -> None:
        if self.stride != 8 or self.seg_stride not in (2, 4, 8):
            raise InputError(
                f"network: expected stride 8 and seg_stride 2, 4 or 8, "
                f"got {self.stride} and {self.seg_stride}"
            )
        if self.octaves not in HANDOVER_SIGMAS:
            raise InputError(f"network: expected 1 to 3 octaves, got {self.octaves}")

    def info(self, preset: str, longest: int) -> ModelInfo:
        """Return the metadata that the decoder needs."""
        return ModelInfo(
            preset, self.backbone, longest, self.stride, self.seg_stride, self.radius, self.octaves
        )


#: σ, in pixels of a scale, above which the next smaller scale takes over (51: people of about 240
#: pixels), by number of scales; and the slope of the sigmoid over log σ. Two scales are for a
#: longest side of 640, where people of 220 to 260 pixels and slopes of 4 to 6 were equally good on
#: the tuning split. Three scales are for 640 to 1,024 pixels.
HANDOVER_SIGMAS, HANDOVER_SLOPE = {1: (), 2: (51.0,), 3: (45.0, 60.0)}, 5.0
#: factor on the heat of the half-size image, whose disks have a radius of 2R and cast 4 times the
#: votes
COARSE_HEAT = 0.7

#: input pixels of the longest side, by preset
LONGEST = {"lite": 640, "lite-movenet": 640, "base": 640, "paper": 401}


def preset(name: str) -> NetworkConfig:
    """Return the architecture of a preset.

    ``lite`` is for two CPU cores, ``base`` for a GPU, ``paper`` as published (401x401, R = 32).
    ``lite-movenet`` is ``lite`` on a backbone trained on small people; it uses two octaves.

    Raises:
        InputError: the name is unknown.
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
    """Return the architecture for inference: ``paper`` trains at output stride 16 and runs at 8."""
    return replace(config, output_stride=8) if config.output_stride == 16 else config


class KdcNet(nn.Module):
    """Compute the logits of all fields and of the mask."""

    mean: Tensor
    inverse_std: Tensor

    def __init__(self, config: NetworkConfig):
        """Create the network with random weights; ``load_published`` fills ``backbone``."""
        super().__init__()
        self.config = config
        self.backbone = build_backbone(config.backbone, config.output_stride)
        # constants of the backbone are no weights, so they are not in the state_dict
        mean, std = (
            torch.tensor(v).view(1, 3, 1, 1) for v in (self.backbone.mean, self.backbone.std)
        )
        self.register_buffer("mean", mean, persistent=False)
        self.register_buffer("inverse_std", 1 / std, persistent=False)
        heads = PlainHeads if config.neck_channels == 0 else PyramidHeads
        self.heads = heads(config, self.backbone.channels)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """RGB 0…255 ``(B, 3, H, W)`` → logits ``(B, 188, H/8, W/8)``, ``(B, 1, H/s, W/s)``.

        Raises:
            ValueError: a side is not a multiple of 32.
        """
        if not torch.jit.is_tracing() and (  # type: ignore[no-untyped-call]
            image.shape[2] % COARSEST or image.shape[3] % COARSEST
        ):
            raise ValueError(
                f"network input: expected sides that are multiples of {COARSEST}, "
                f"got {tuple(image.shape)}"
            )
        return self.heads(self.backbone((image - self.mean) * self.inverse_std))


class Pyramid(nn.Module):
    """Feature pyramid (Lin et al. 2017): merges the backbone's maps into one map at stride 8."""

    def __init__(self, channels: tuple[int, ...], width: int):
        """Take ``channels`` of the backbone at strides 8, 16, 32; merge to ``width`` channels."""
        super().__init__()
        self.lateral8, self.lateral16, self.lateral32 = (
            conv_norm(inputs, width) for inputs in channels
        )
        # cheap at these strides, and the only layers in which a cell sees a whole large person
        self.context32, self.context16 = separable(width), separable(width)

    def forward(self, features: list[Tensor]) -> Tensor:
        """Backbone maps at strides 8, 16, 32 → the merged map at stride 8."""
        at8, at16, at32 = features
        x = self.context32(self.lateral32(at32))
        x = self.context16(self.lateral16(at16) + upsample2(x))
        return self.lateral8(at8) + upsample2(x)


class PyramidHeads(nn.Module):
    """A pyramid with two trunks for the fields, and a pyramid for the mask.

    Fields and mask share only the backbone. The many loss terms of the poses dominate a shared
    pyramid, and the mask, a single channel, learns little from it.
    """

    def __init__(self, config: NetworkConfig, channels: tuple[int, ...]):
        """Take ``channels`` of the backbone at strides 4, 8, 16, 32."""
        super().__init__()
        width, fine = config.neck_channels, config.seg_channels
        self.seg_stride = config.seg_stride

        def trunk() -> nn.Sequential:
            return nn.Sequential(*(separable(width) for _ in range(config.trunk_depth)))

        self.people = Pyramid(channels[1:], width)
        # two trunks: keypoints (heat, short, mid, vis), and the person of a pixel (anchor, σ)
        self.pose, self.owner = trunk(), trunk()
        self.fields = nn.Conv2d(2 * width, CHANNELS, 1)
        init_fields(self.fields, config.radius)
        self.foreground, self.inside = Pyramid(channels[1:], width), trunk()
        if config.seg_stride < 8:
            self.seg_in, self.lateral4 = conv_norm(width, fine), conv_norm(channels[0], fine)
            self.seg_mix = nn.Sequential(*(separable(fine) for _ in range(config.seg_depth)))
        # for stride 2 each cell at stride 4 predicts its four sub-cells (pixel shuffle)
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
            x = self.seg_mix(upsample2(self.seg_in(x)) + self.lateral4(features[0]))
        seg = self.seg(x)
        return F.pixel_shuffle(seg, 2) if self.seg_stride == 2 else seg


class PlainHeads(nn.Module):
    """Heads of the paper: 1x1 convolutions on the last block, upsampled bilinearly."""

    def __init__(self, config: NetworkConfig, channels: tuple[int, ...]):
        """Create the heads; one convolution computes all fields."""
        super().__init__()
        # the factors are integers, because the backbone's grid is never finer than the fields'
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
    """``KdcNet`` with the sigmoids of ``skeleton.HEADS`` and its octaves, for export and inference.

    With several octaves, each cell takes its fields from the image scale in which the person has
    the better size. The transition at ``HANDOVER_SIGMAS`` is soft.
    """

    factor: Tensor
    shift: Tensor

    def __init__(self, net: KdcNet):
        """Wrap ``net`` without copying it."""
        super().__init__()
        self.net = net
        factor, shift = torch.ones(CHANNELS), torch.zeros(CHANNELS)
        where = channel_slices()
        for head in ("short", "mid", "anchor"):
            factor[where[head]] = 2  # a pixel of the half-size image is two pixels of the image
        factor[where["heat"]] = COARSE_HEAT
        shift[where["log_sigma"]] = math.log(2)
        for name, value in (("factor", factor), ("shift", shift)):
            self.register_buffer(name, value.view(1, -1, 1, 1), persistent=False)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """RGB 0…255 ``(B, 3, H, W)`` → fields and mask; sigmoid heads are probabilities.

        H and W are multiples of 32 in the smallest scale: of 64 with two octaves, 128 with three.
        """
        images, handover = [image], HANDOVER_SIGMAS[self.net.config.octaves]
        for _ in handover:
            images.append(F.avg_pool2d(images[-1], 2))
        fields, seg = self.forward_scale(images.pop())
        for image, sigma in zip(reversed(images), reversed(handover), strict=True):
            fields, seg = self._combine(self.forward_scale(image), (fields, seg), sigma)
        return fields, seg

    def _combine(
        self, fine: tuple[Tensor, Tensor], coarse: tuple[Tensor, Tensor], sigma: float
    ) -> tuple[Tensor, Tensor]:
        """Mix the fields of two scales by the size of the person, on the grids of the finer one."""
        fields, seg = fine
        coarse_fields = _bilinear(coarse[0] * self.factor + self.shift, 2)
        coarse_seg = _bilinear(coarse[1], 2)
        log_sigma = channel_slices()["log_sigma"]
        size = 0.5 * (fields[:, log_sigma] + coarse_fields[:, log_sigma])
        share = torch.sigmoid(HANDOVER_SLOPE * (size - math.log(sigma / self.net.config.radius)))
        share_fine = _bilinear(share, self.net.config.stride // self.net.config.seg_stride)
        return fields + share * (coarse_fields - fields), seg + share_fine * (coarse_seg - seg)

    def forward_scale(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Compute fields and mask of one image scale."""
        logits, seg = self.net(image)
        parts, start = [], 0
        for activation, heads in groupby(HEADS, key=lambda head: head.activation):
            stop = start + sum(head.channels for head in heads)
            part = logits[:, start:stop]
            parts.append(torch.sigmoid(part) if activation == "sigmoid" else part)
            start = stop
        return torch.cat(parts, dim=1), torch.sigmoid(seg)


def conv_norm(inputs: int, outputs: int, kernel: int = 1, groups: int = 1) -> nn.Sequential:
    """Return convolution, batch norm (folded at export) and ReLU."""
    conv = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, groups=groups, bias=False)
    nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


def separable(channels: int) -> nn.Sequential:
    """Return a depthwise 5x5 and a 1x1: half the CPU time of a 3x3, and a wider receptive field."""
    return nn.Sequential(
        conv_norm(channels, channels, kernel=5, groups=channels), conv_norm(channels, channels)
    )


def upsample2(x: Tensor) -> Tensor:
    """Double the resolution by nearest neighbour, which is exact on every engine."""
    return F.interpolate(x, scale_factor=2.0, mode="nearest")


def init_fields(conv: nn.Conv2d, radius: float) -> None:
    """Set small weights, and biases at the priors, so that the first losses are small and equal."""
    assert conv.bias is not None
    nn.init.normal_(conv.weight, std=0.01)
    nn.init.zeros_(conv.bias)
    where = channel_slices()
    with torch.no_grad():
        conv.bias[where["heat"]] = _logit(HEAT_PRIOR)
        conv.bias[where["log_sigma"]] = math.log(TYPICAL_SIGMA / radius)


def init_seg(conv: nn.Conv2d) -> None:
    """Set small weights, and the bias at the prior."""
    assert conv.bias is not None
    nn.init.normal_(conv.weight, std=0.01)
    nn.init.constant_(conv.bias, _logit(SEG_PRIOR))


def _bilinear(x: Tensor, factor: int) -> Tensor:
    if factor == 1:
        return x
    return F.interpolate(x, scale_factor=float(factor), mode="bilinear", align_corners=False)


def _logit(p: float) -> float:
    return math.log(p / (1 - p))

"""What the network should answer: a batch of labels becomes a value and a weight for every cell.

Weights are explicit: a weight of 0 means "unknown here", and values are finite everywhere.
All of it is dense, batched torch without a synchronisation, so it runs on the training device.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F

from kdc_core.config import CentroidConfig, ModelInfo
from kdc_core.errors import InputError
from kdc_core.letterbox import Letterbox, cell_centres
from kdc_core.skeleton import CENTRE, DIRECTED, A, K
from kdc_core.types import Fields
from kdc_lab.training.batch import OVERLAP, POSE_UNKNOWN, SEG_UNKNOWN, Batch

MIN_PIXELS = 16  # input pixels² of a mask whose mean is worth learning: a quarter of a cell
MIN_SCALE = 4.0  # input pixels, smallest s_j: as in ``Poses.scale``
BORDER = 0.1  # weight of the 3x3 neighbours when a cell looks for its owner


@dataclass(frozen=True)
class Targets:
    """Values and weights on the offset grid (h, w) and the mask grid (h2, w2); P people.

    Offsets are target - cell, (x, y), in units of R. Positions are input pixels.
    """

    heat: torch.Tensor  # (B, 18, h, w) 0 or 1
    heat_weight: torch.Tensor  # (B, 18, h, w)
    short: torch.Tensor  # (B, 18, 2, h, w), 0 outside the disks
    short_weight: torch.Tensor  # (B, 18, h, w)
    mid: torch.Tensor  # (B, 40, 2, h, w), 0 where the weight is
    mid_weight: torch.Tensor  # (B, 40, h, w)
    vis: torch.Tensor  # (B, 17, h, w) 0 or 1
    vis_weight: torch.Tensor  # (B, 17, h, w)
    anchor: torch.Tensor  # (B, 18, 2, h, w), 0 where ``anchor_known`` is
    anchor_known: (
        torch.Tensor
    )  # (B, 18, h, w) m_{j,k} of the owner: 1 annotated, 0 not, between: pseudo
    owner: torch.Tensor  # (B, h, w) int64 person row, -1 nobody
    owner_weight: torch.Tensor  # (B, h, w) how far the owner is to be believed
    seg: torch.Tensor  # (B, 1, h2, w2) share of the cell that is a person
    seg_weight: torch.Tensor  # (B, 1, h2, w2)
    points: torch.Tensor  # (B, P, 18, 2), 0 where not known
    known: torch.Tensor  # (B, P, 18) 1 annotated, 0 not, between: pseudo; CENTRE: mask_weight
    visible: torch.Tensor  # (B, P, 18) bool, v == 2; CENTRE False
    scale: torch.Tensor  # (B, P) s_j = sqrt(mask area), at least MIN_SCALE
    box: torch.Tensor  # (B, P, 4) int64: cells x1, y1, x2, y2 of (h, w) that hold a mask and one
    #: cell around; x2 and y2 are one beyond the last; all 0 where there is no mask


@torch.no_grad()
def make_targets(batch: Batch, info: ModelInfo) -> Targets:
    """Values and weights for every cell, eq. 1 and PersonLab §3; on the batch's device.

    Raises ValueError if the pictures' sides are not multiples of the strides.
    """
    height, width = batch.owner.shape[1:]
    if height % info.stride or width % info.stride:
        raise InputError(
            f"targets: expected pictures with sides that are multiples of {info.stride} pixels, "
            f"got {width}x{height}; letterbox or crop them first"
        )
    batch = _at_least_one_row(batch)
    cells = grid(height // info.stride, width // info.stride, info.stride, batch.owner.device)
    cover, centre, pixels = coverage(batch.owner, batch.area.shape[1], info.stride)
    points, known, visible = _anchor_points(batch, centre, pixels)
    nearest, inside = _nearest(points, known, cells, info.radius)
    owner, owner_weight = _owner(batch, cover, info.stride)
    seg, seg_weight = _seg(batch, info.seg_stride)
    anchor, anchor_known = _anchor_field(points, known, owner, cells, info.radius)
    short_weight = inside * _pick(known.transpose(1, 2), nearest)
    short = _offsets(points.permute(0, 2, 3, 1), nearest, cells, info.radius)
    mid, mid_weight = _mid(points, known, nearest, inside, cells, info.radius)
    human = (known[..., :K] == 1).float().transpose(1, 2)  # a network does not see what is hidden
    vis_weight = inside[:, :K] * _pick(human, nearest[:, :K])
    return Targets(
        heat=inside.float(),
        heat_weight=_heat_weight(batch, inside, short_weight, info.stride),
        short=short * inside[:, :, None],
        short_weight=short_weight,
        mid=mid,
        mid_weight=mid_weight,
        vis=_pick(visible[..., :K].float().transpose(1, 2), nearest[:, :K]) * vis_weight,
        vis_weight=vis_weight,
        anchor=anchor,
        anchor_known=anchor_known,
        owner=owner,
        owner_weight=owner_weight,
        seg=seg,
        seg_weight=seg_weight,
        points=points,
        known=known,
        visible=visible,
        scale=batch.area.clamp_min(MIN_SCALE**2).sqrt(),
        box=_boxes(cover[:, :-1]),
    )


def coverage(
    owner: torch.Tensor, people: int, stride: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Share of every cell that each of P people has, and the mean of their pixels (eq. 1).

    Returns the shares (B, P + 1, h, w), overlaps last; means (B, P, 2) and pixel counts (B, P).
    """
    b, height, width = owner.shape
    h, w = height // stride, width // stride
    slot = owner.long()
    slot = torch.where(slot <= people, slot, people + 1)  # OVERLAP comes after the people
    y = torch.arange(height, device=owner.device)[:, None]
    x = torch.arange(width, device=owner.device)[None, :]
    index = (slot * (h * w) + (y // stride) * w + x // stride).flatten(1)

    def total(values: torch.Tensor) -> torch.Tensor:
        # sums of small integers: exact in float32 in any order, so repeatable on a GPU as well
        sums = torch.zeros(b, (people + 2) * h * w, device=owner.device)
        values = values.float().expand(height, width).reshape(1, -1).expand(b, -1)
        return sums.scatter_add_(1, index, values).view(b, people + 2, h, w)[:, 1:]

    count = total(torch.ones_like(x))
    own = count[:, :people]
    pixels = own.sum((2, 3))
    left = torch.arange(w, device=owner.device) * stride
    top = torch.arange(h, device=owner.device)[:, None] * stride
    sums = [
        (own * origin + total(place % stride)[:, :people]).sum((2, 3))
        for origin, place in ((left, x), (top, y))
    ]
    centre = torch.stack(sums, -1) / pixels.clamp_min(1)[..., None]
    return count / stride**2, centre, pixels


def oracle_fields(batch: Batch, info: ModelInfo, letterbox: Letterbox) -> Fields:
    """The targets of one picture (B = 1) as the fields of a perfect network, for the decoder.

    A network says something where nothing is annotated, too: there, the field of an anchor points
    at the person's CENTRE. "Here" would be close to any neighbour's keypoint.

    Raises ValueError for a batch of any other size.
    """
    if len(batch) != 1:
        raise InputError(f"oracle: expected a batch of one picture, got {len(batch)}")
    targets = make_targets(batch, info)
    sigma = CentroidConfig().sigma_fallback * targets.scale / info.radius
    log_sigma = torch.log(sigma).gather(1, targets.owner.clamp_min(0).flatten(1))
    known = targets.anchor_known[:, :, None] > 0
    anchor = torch.where(known, targets.anchor, targets.anchor[:, CENTRE:])

    def array(tensor: torch.Tensor) -> np.ndarray:
        return np.ascontiguousarray(tensor[0].cpu().numpy(), dtype=np.float32)

    return Fields(
        heat=array(targets.heat * 0.98 + 0.01),  # a sigmoid never quite reaches 0 and 1
        short=array(targets.short),
        mid=array(targets.mid),
        anchor=array(anchor),
        log_sigma=array(log_sigma.view_as(targets.owner)),
        vis=array(targets.vis * 0.98 + 0.01),
        seg=array(targets.seg[:, 0]),
        stride=info.stride,
        seg_stride=info.seg_stride,
        radius=info.radius,
        letterbox=letterbox,
    )


@lru_cache(maxsize=8)
def grid(h: int, w: int, stride: int, device: torch.device) -> torch.Tensor:
    """Positions (h, w, 2) of the cells; kept, for a copy to the GPU would wait for its queue."""
    return torch.from_numpy(cell_centres(h, w, stride)).to(device)


@lru_cache(maxsize=8)
def _edge_ends(device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    source, end = zip(*DIRECTED, strict=True)
    return torch.tensor(source, device=device), torch.tensor(end, device=device)


def _at_least_one_row(batch: Batch) -> Batch:
    """A batch without any person gets one empty row: minima over no people do not exist."""
    if batch.area.shape[1]:
        return batch
    b, area = len(batch), batch.area
    return Batch(
        image=batch.image, owner=batch.owner, ignore=batch.ignore,
        keypoints=batch.keypoints.new_zeros(b, 1, K, 3), area=area.new_zeros(b, 1),
        mask_weight=area.new_zeros(b, 1),
    )  # fmt: skip


def _anchor_points(
    batch: Batch, centre: torch.Tensor, pixels: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Position, weight and visibility of the 18 anchors; unknown ones lie at 0 with weight 0."""
    v = batch.keypoints[..., 2].clamp_max(1)  # a pseudo keypoint has its weight, which is below 1
    has_centre = (pixels >= MIN_PIXELS) * batch.mask_weight
    known = torch.cat([v, has_centre[..., None]], -1)
    points = torch.cat([batch.keypoints[..., :2], centre[:, :, None]], 2)
    points = torch.where(known[..., None] > 0, points, 0.0)
    visible = torch.cat(
        [batch.keypoints[..., 2] == 2, torch.zeros_like(has_centre[..., None], dtype=torch.bool)],
        -1,
    )
    return points, known, visible


def _nearest(
    points: torch.Tensor, known: torch.Tensor, cells: torch.Tensor, radius: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Per type and cell: row of the nearest person's keypoint, and whether it is within R."""
    nearest, inside = [], []
    for k in range(A):  # one type at a time: (B, P, h, w) is all the memory it takes
        dx = points[:, :, k, 0, None] - cells[0, :, 0]
        dy = points[:, :, k, 1, None] - cells[:, 0, 1]
        dy = dy.square().masked_fill_(known[:, :, k, None] <= 0, torch.inf)
        square, row = (dy[..., None] + dx.square()[:, :, None]).min(1)
        nearest.append(row)
        inside.append(square <= radius**2)
    return torch.stack(nearest, 1), torch.stack(inside, 1)


def _pick(table: torch.Tensor, row: torch.Tensor) -> torch.Tensor:
    """``table`` (B, N, P) read at the person rows of every cell (B, N, h, w)."""
    return table.gather(2, row.flatten(2)).view(row.shape)


def _boxes(cover: torch.Tensor) -> torch.Tensor:
    """Cells that a mask touches and one around, (B, P, 4), from its shares (B, P, h, w)."""
    ends = []
    for axis in (2, 3):  # what lies along the other axis
        touched = (cover.amax(axis) > 0).long()
        size = touched.shape[2]
        low = touched.argmax(2) - 1
        high = size - touched.flip(2).argmax(2) + 1
        exists = touched.amax(2)
        ends.append((low.clamp_min(0) * exists, high.clamp_max(size) * exists))
    (left, right), (top, bottom) = ends
    return torch.stack([left, top, right, bottom], -1)


def _offsets(
    table: torch.Tensor, row: torch.Tensor, cells: torch.Tensor, radius: float
) -> torch.Tensor:
    """From every cell to the points ``table`` (B, N, 2, P) of its person row, in R."""
    b, n, h, w = row.shape
    index = row.view(b, n, 1, h * w).expand(-1, -1, 2, -1)
    return (table.gather(3, index).view(b, n, 2, h, w) - cells.permute(2, 0, 1)) / radius


def _mid(
    points: torch.Tensor, known: torch.Tensor, nearest: torch.Tensor, inside: torch.Tensor,
    cells: torch.Tensor, radius: float,
) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
    """Inside the source's disk, to the other end on the same person, if both are annotated."""
    source, end = _edge_ends(points.device)
    row = nearest[:, source]
    both = (known[:, :, source] * known[:, :, end]).transpose(1, 2)
    weight = inside[:, source] * _pick(both, row)
    offsets = _offsets(points[:, :, end].permute(0, 2, 3, 1), row, cells, radius)
    return offsets * (weight > 0)[:, :, None], weight


def _owner(batch: Batch, cover: torch.Tensor, stride: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Which person a cell belongs to, one cell beyond the border as well, and how surely.

    Bilinear sampling at a border pixel reads cells that lie just outside the person, so these must
    say the same. A cell's own pixels decide; its neighbours decide for cells without any.
    """
    score = cover + BORDER * F.avg_pool2d(cover, 3, 1, 1)
    best, owner = score[:, :-1].max(1)
    beyond = cover[:, :-1].gather(1, owner[:, None])[:, 0] == 0
    sure = (best > 0) & (score[:, -1] <= best)
    sure &= ~(beyond & _any_bit(batch.ignore, SEG_UNKNOWN, stride))  # perhaps another person's
    weight = batch.mask_weight.gather(1, owner.flatten(1)).view(owner.shape) * sure
    return torch.where(best > 0, owner, -1), weight


def _anchor_field(
    points: torch.Tensor, known: torch.Tensor, owner: torch.Tensor, cells: torch.Tensor,
    radius: float,
) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
    """From every owned cell to its person's anchors, and which of them are annotated.

    An unannotated keypoint is unknown, not at 0: its weight is 0 for this anchor alone.
    """
    row = owner.clamp_min(0)[:, None].expand(-1, A, -1, -1)
    weight = _pick(known.transpose(1, 2), row) * (owner >= 0)[:, None]
    weight[:, K:] = (weight[:, K:] > 0).float()  # the CENTRE of a mask: its weight is the owner's
    offsets = _offsets(points.permute(0, 2, 3, 1), row, cells, radius)
    return offsets * (weight > 0)[:, :, None], weight


def _heat_weight(
    batch: Batch, inside: torch.Tensor, disk_weight: torch.Tensor, stride: int
) -> torch.Tensor:
    """Disks count where they are annotated, background where nothing is unknown.

    Unknown poses hide keypoints only; people without labelled keypoints but with a mask have a
    CENTRE, so CENTRE is unknown only where the masks are.
    """
    unknown = torch.stack([_any_bit(batch.ignore, POSE_UNKNOWN, stride)] * K
                          + [_any_bit(batch.ignore, SEG_UNKNOWN, stride)], 1)  # fmt: skip
    return torch.where(inside, disk_weight, (~unknown).float())


def _seg(batch: Batch, stride: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Share of each mask cell that is a person, and its weight: the pixels' mean mask weight."""
    person = (batch.owner > 0).float()[:, None]
    table = torch.ones(len(batch), OVERLAP + 2, device=batch.owner.device)
    table[:, 1 : batch.mask_weight.shape[1] + 1] = batch.mask_weight
    weight = table.gather(1, batch.owner.long().flatten(1)).view(person.shape)
    known = ~_any_bit(batch.ignore, SEG_UNKNOWN, stride)[:, None]
    return F.avg_pool2d(person, stride), F.avg_pool2d(weight, stride) * known


def _any_bit(ignore: torch.Tensor, bit: int, stride: int) -> torch.Tensor:
    """Whether any pixel of a cell has ``bit`` set, (B, h, w) bool."""
    return F.max_pool2d((ignore & bit).float()[:, None], stride)[:, 0] > 0

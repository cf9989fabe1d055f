"""Turn the labels of a batch into targets: a value and a weight for every cell.

A weight of 0 means "unknown here", and values are finite everywhere. All operations are dense,
batched torch without a synchronisation, so they run on the training device.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F

from kdc_core.config import CentroidConfig, ModelInfo
from kdc_core.letterbox import Letterbox, cell_centres
from kdc_core.skeleton import CENTRE, DIRECTED, A, K
from kdc_core.types import Fields
from kdc_lab.training.batch import OVERLAP, POSE_UNKNOWN, SEG_UNKNOWN, Batch

MIN_PIXELS = 16  # minimum pixels of a mask with a CENTRE: a quarter of a cell
MIN_SCALE = 4.0  # input pixels, minimum s_j, as in ``Poses.scale``
BORDER = 0.1  # weight of the 3x3 neighbours in the choice of an owner


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
    # (B, 18, h, w) m_{j,k} of the owner: 1 annotated, 0 not, between: pseudo
    anchor_known: torch.Tensor
    owner: torch.Tensor  # (B, h, w) int64 person row, -1 background
    owner_weight: torch.Tensor  # (B, h, w) confidence in the owner
    seg: torch.Tensor  # (B, 1, h2, w2) share of the cell that shows people
    seg_weight: torch.Tensor  # (B, 1, h2, w2)
    points: torch.Tensor  # (B, P, 18, 2), 0 where not known
    known: torch.Tensor  # (B, P, 18) 1 annotated, 0 not, between: pseudo; CENTRE: mask_weight
    visible: torch.Tensor  # (B, P, 18) bool, v == 2; CENTRE False
    scale: torch.Tensor  # (B, P) s_j = sqrt(mask area), at least MIN_SCALE
    # (B, P, 4) int64 cells x1, y1, x2, y2 (exclusive) of (h, w): a mask and one cell around it; all
    # 0 without a mask
    box: torch.Tensor


@torch.no_grad()
def make_targets(batch: Batch, info: ModelInfo) -> Targets:
    """Return values and weights for every cell, eq. 1 and PersonLab §3, on the batch's device.

    Raises:
        ValueError: The sides of the images are not multiples of the strides.
    """
    height, width = batch.owner.shape[1:]
    if height % info.stride or width % info.stride:
        raise ValueError(
            f"targets: expected images with sides that are multiples of {info.stride} pixels, "
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
    human = (
        (known[..., :K] == 1).float().transpose(1, 2)
    )  # a pseudo keypoint tells nothing about visibility
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
    """Return the share of every cell that each person covers, and the mean of its pixels (eq. 1).

    Returns:
        Shares (B, P + 1, h, w) with overlaps last, means (B, P, 2), and pixel counts (B, P).
    """
    b, height, width = owner.shape
    h, w = height // stride, width // stride
    slot = owner.long()
    slot = torch.where(slot <= people, slot, people + 1)  # OVERLAP follows the people
    y = torch.arange(height, device=owner.device)[:, None]
    x = torch.arange(width, device=owner.device)[None, :]
    index = (slot * (h * w) + (y // stride) * w + x // stride).flatten(1)

    def total(values: torch.Tensor) -> torch.Tensor:
        # sums of small integers are exact in float32 in any order, so a GPU repeats them
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
    """Return the targets of one image (B = 1) as the fields of a perfect network.

    A network predicts anchors also where nothing is annotated. There the field of an anchor points
    at the person's CENTRE; an offset of 0 would be close to a keypoint of any neighbour.

    Raises:
        ValueError: The batch has another number of images.
    """
    if len(batch) != 1:
        raise ValueError(f"oracle: expected a batch of one image, got {len(batch)}")
    targets = make_targets(batch, info)
    sigma = CentroidConfig().sigma_fallback * targets.scale / info.radius
    log_sigma = torch.log(sigma).gather(1, targets.owner.clamp_min(0).flatten(1))
    known = targets.anchor_known[:, :, None] > 0
    anchor = torch.where(known, targets.anchor, targets.anchor[:, CENTRE:])

    def array(tensor: torch.Tensor) -> np.ndarray:
        return np.ascontiguousarray(tensor[0].cpu().numpy(), dtype=np.float32)

    return Fields(
        heat=array(targets.heat * 0.98 + 0.01),  # a sigmoid never reaches 0 and 1
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
    """Return the cell positions (h, w, 2); cached, because a copy to the GPU would block."""
    return torch.from_numpy(cell_centres(h, w, stride)).to(device)


@lru_cache(maxsize=8)
def _edge_ends(device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    source, end = zip(*DIRECTED, strict=True)
    return torch.tensor(source, device=device), torch.tensor(end, device=device)


def _at_least_one_row(batch: Batch) -> Batch:
    """Return the batch with an empty row if it has no people, because minima need a row."""
    if batch.area.shape[1]:
        return batch
    b, area = len(batch), batch.area
    return Batch(
        image=batch.image,
        owner=batch.owner,
        ignore=batch.ignore,
        keypoints=batch.keypoints.new_zeros(b, 1, K, 3),
        area=area.new_zeros(b, 1),
        mask_weight=area.new_zeros(b, 1),
    )


def _anchor_points(
    batch: Batch, centre: torch.Tensor, pixels: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return position, weight and visibility of the 18 anchors; all are 0 if unknown."""
    v = batch.keypoints[..., 2].clamp_max(1)  # the v of a pseudo keypoint is its weight, below 1
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
    """Return for each type and cell the row of the nearest keypoint, and if it is within R."""
    nearest, inside = [], []
    for k in range(A):  # one type at a time limits the memory to (B, P, h, w)
        dx = points[:, :, k, 0, None] - cells[0, :, 0]
        dy = points[:, :, k, 1, None] - cells[:, 0, 1]
        dy = dy.square().masked_fill_(known[:, :, k, None] <= 0, torch.inf)
        square, row = (dy[..., None] + dx.square()[:, :, None]).min(1)
        nearest.append(row)
        inside.append(square <= radius**2)
    return torch.stack(nearest, 1), torch.stack(inside, 1)


def _pick(table: torch.Tensor, row: torch.Tensor) -> torch.Tensor:
    """Return ``table`` (B, N, P) at the person rows of every cell (B, N, h, w)."""
    return table.gather(2, row.flatten(2)).view(row.shape)


def _boxes(cover: torch.Tensor) -> torch.Tensor:
    """Return the cells around a mask and one beyond, (B, P, 4), from its shares (B, P, h, w)."""
    ends = []
    for axis in (2, 3):  # the extent along the other axis
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
    """Return offsets in R from each cell to the points ``table`` (B, N, 2, P) of its person row."""
    b, n, h, w = row.shape
    index = row.view(b, n, 1, h * w).expand(-1, -1, 2, -1)
    return (table.gather(3, index).view(b, n, 2, h, w) - cells.permute(2, 0, 1)) / radius


def _mid(
    points: torch.Tensor,
    known: torch.Tensor,
    nearest: torch.Tensor,
    inside: torch.Tensor,
    cells: torch.Tensor,
    radius: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return offsets in a keypoint's disk to the other end of the edge, if both are annotated."""
    source, end = _edge_ends(points.device)
    row = nearest[:, source]
    both = (known[:, :, source] * known[:, :, end]).transpose(1, 2)
    weight = inside[:, source] * _pick(both, row)
    offsets = _offsets(points[:, :, end].permute(0, 2, 3, 1), row, cells, radius)
    return offsets * (weight > 0)[:, :, None], weight


def _owner(batch: Batch, cover: torch.Tensor, stride: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the person that owns each cell, also one cell beyond the border, and the weight.

    Bilinear sampling at a border pixel reads cells just outside the person, so these need the same
    offsets. The pixels of a cell decide; for cells without pixels of people the neighbours decide.
    """
    score = cover + BORDER * F.avg_pool2d(cover, 3, 1, 1)
    best, owner = score[:, :-1].max(1)
    beyond = cover[:, :-1].gather(1, owner[:, None])[:, 0] == 0
    is_certain = (best > 0) & (score[:, -1] <= best)
    is_certain &= ~(
        beyond & _any_bit(batch.ignore, SEG_UNKNOWN, stride)
    )  # these pixels may belong to another person
    weight = batch.mask_weight.gather(1, owner.flatten(1)).view(owner.shape) * is_certain
    return torch.where(best > 0, owner, -1), weight


def _anchor_field(
    points: torch.Tensor,
    known: torch.Tensor,
    owner: torch.Tensor,
    cells: torch.Tensor,
    radius: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return offsets from every owned cell to the anchors of its person, and which are annotated.

    The position of an unannotated keypoint is unknown, so the weight of this anchor alone is 0.
    """
    row = owner.clamp_min(0)[:, None].expand(-1, A, -1, -1)
    weight = _pick(known.transpose(1, 2), row) * (owner >= 0)[:, None]
    weight[:, K:] = (weight[:, K:] > 0).float()  # the weight of a CENTRE is that of the owner
    offsets = _offsets(points.permute(0, 2, 3, 1), row, cells, radius)
    return offsets * (weight > 0)[:, :, None], weight


def _heat_weight(
    batch: Batch, inside: torch.Tensor, disk_weight: torch.Tensor, stride: int
) -> torch.Tensor:
    """Return the weight of the heatmaps: disks if annotated, background if nothing is unknown.

    Unknown poses hide keypoints only. People with a mask but without keypoints have a CENTRE, so
    CENTRE is unknown only where masks are unknown.
    """
    unknown = torch.stack(
        [_any_bit(batch.ignore, POSE_UNKNOWN, stride)] * K
        + [_any_bit(batch.ignore, SEG_UNKNOWN, stride)],
        1,
    )
    return torch.where(inside, disk_weight, (~unknown).float())


def _seg(batch: Batch, stride: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the share of each mask cell that shows people, and the mean mask weight of it."""
    person = (batch.owner > 0).float()[:, None]
    table = torch.ones(len(batch), OVERLAP + 2, device=batch.owner.device)
    table[:, 1 : batch.mask_weight.shape[1] + 1] = batch.mask_weight
    weight = table.gather(1, batch.owner.long().flatten(1)).view(person.shape)
    known = ~_any_bit(batch.ignore, SEG_UNKNOWN, stride)[:, None]
    return F.avg_pool2d(person, stride), F.avg_pool2d(weight, stride) * known


def _any_bit(ignore: torch.Tensor, bit: int, stride: int) -> torch.Tensor:
    """Return (B, h, w) bool: True if any pixel of a cell has ``bit`` set."""
    return F.max_pool2d((ignore & bit).float()[:, None], stride)[:, 0] > 0

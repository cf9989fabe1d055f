"""Compute the terms of the training loss, eq. 2 and 3 of the paper among them.

All arithmetic is float32, also under autocast. Every mean is sum(w * value) / max(sum(w), 1), so
batches without people or masks have finite losses and gradients.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F

from kdc_core.config import AssignConfig, CentroidConfig, ModelInfo
from kdc_core.skeleton import CENTRE, DIRECTED, A, K, channel_slices
from kdc_lab.training.batch import Batch
from kdc_lab.training.targets import Targets, grid, make_targets


@dataclass(frozen=True)
class LossConfig:
    """Weight of each term, then the parameters of the terms."""

    heat: float = 1.0  # a sum per disk cell, which starts near 8; PersonLab's 4 is for a mean
    short: float = 1.0  # position of a keypoint: half a cell of error costs 0.25 per axis
    mid: float = 0.5  # grouping needs the direction more than the pixel
    seg: float = 8.0  # borders are a small share of the cells
    dice: float = 4.0  # around each person, so small people count as much as large ones
    pseudo: float = 0.3  # factor on seg and dice of pseudo masks, whose borders are inexact
    anchor: float = 0.5  # eq. 2; phi trains the same channels
    phi: float = 1.0  # eq. 3, the Jaccard index of the masks that the decoder draws
    sigma_variance: float = 10.0  # one sigma per person; a lower weight lets it follow the border
    sigma_range: float = 1.0  # keeps sigma in the range in which the clamp passes gradients
    vis: float = 0.5  # selects among confident anchors; it is no output of its own
    hard_keypoint: float = 2.0  # factor on disks of labelled but hidden keypoints
    smooth: float = 0.05  # in R; smaller offset errors count quadratically
    max_people: int = 16  # largest people of an image with a phi term; memory P * cells * 18
    centre_only: float = 0.15  # share of people whose centroid is CENTRE alone (SM_c)
    single_keypoint: float = 0.25  # share with one annotated keypoint (literal DM_c)
    drop_keypoint: float = 0.3  # share dropped from the weighted set: any selection must work
    hidden_weight: float = 0.2  # weight of a hidden keypoint; that of a visible one is 1
    jitter: float = 0.03  # standard deviation of peaks in units of s_j


class Loss:
    """Loss of a network's logits on a batch."""

    def __init__(self, info: ModelInfo, config: LossConfig | None = None) -> None:
        self.info = info
        self.config = config or LossConfig()

    def __call__(
        self,
        fields_logits: torch.Tensor,
        seg_logits: torch.Tensor,
        batch: Batch,
        generator: torch.Generator | None = None,
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Return the weighted sum and the unweighted terms (detached, 0-d).

        Args:
            fields_logits: (B, 188, h, w) before the sigmoids.
            seg_logits: (B, 1, h2, w2) before the sigmoid.
            batch: Images and labels.
            generator: Draws the centroids of eq. 3. None uses torch's global generator.
        """
        with torch.autocast(fields_logits.device.type, enabled=False):
            targets = make_targets(batch, self.info)
            parts = self.terms(fields_logits.float(), seg_logits.float(), targets, generator)
            weighted = [getattr(self.config, name) * part for name, part in parts.items()]
            total = torch.stack(weighted).sum()
        return total, {name: part.detach() for name, part in parts.items()}

    def terms(
        self,
        fields_logits: torch.Tensor,
        seg_logits: torch.Tensor,
        targets: Targets,
        generator: torch.Generator | None = None,
    ) -> dict[str, torch.Tensor]:
        """Return every unweighted term; the names are those of the weights in ``LossConfig``."""
        config, info = self.config, self.info
        head = {name: fields_logits[:, where] for name, where in channel_slices().items()}
        short, mid, anchor = (
            torch.unflatten(head[name], 1, (count, 2))
            for name, count in (("short", A), ("mid", len(DIRECTED)), ("anchor", A))
        )
        disk = math.pi * (info.radius / info.stride) ** 2  # cells
        owned = PersonSums(targets)
        log_sigma = head["log_sigma"].flatten(1)  # (B, cells)
        mean_log_sigma = owned.mean(log_sigma)
        bce_seg = F.binary_cross_entropy_with_logits(seg_logits, targets.seg, reduction="none")
        bce_vis = F.binary_cross_entropy_with_logits(head["vis"], targets.vis, reduction="none")
        box = targets.box * (info.stride // info.seg_stride)
        trusted = partial(scale_pseudo, factor=config.pseudo)
        seg_weight = trusted(targets.seg_weight)
        phi = phi_terms(anchor, mean_log_sigma, targets, info, config, generator)
        low, high = _log_sigma_range(targets.scale, info.radius)
        outside = F.relu(low - mean_log_sigma) + F.relu(mean_log_sigma - high)
        spread = (log_sigma - owned.at_cells(mean_log_sigma)).square()
        return {
            "heat": heat_term(head["heat"], targets, config.hard_keypoint, disk),
            "short": offset_term(short, targets.short, targets.short_weight, config.smooth),
            "mid": offset_term(mid, targets.mid, targets.mid_weight, config.smooth),
            "seg": weighted_mean(bce_seg, seg_weight),
            "dice": dice_term(
                seg_logits.sigmoid(), targets.seg, seg_weight, box, trusted(owned.person_weight)
            ),
            "anchor": anchor_term(anchor, targets, owned, info.radius),
            "phi": phi,
            "sigma_variance": weighted_mean(owned.mean(spread), owned.person_weight),
            "sigma_range": weighted_mean(outside, owned.person_weight),
            "vis": weighted_mean(bce_vis, targets.vis_weight),
        }


class PersonSums:
    """Sums over the cells of each person, by a scatter over the owner index."""

    def __init__(self, targets: Targets) -> None:
        people = targets.scale.shape[1]
        owner = targets.owner.flatten(1)
        self.row = torch.where(owner < 0, people, owner)  # the last row takes the background cells
        self.weight = targets.owner_weight.flatten(1)  # (B, cells)
        self.shape = (len(owner), people + 1)
        #: (B, P) weight of a person: that of its mask, 0 without cells
        self.person_weight = torch.zeros(self.shape, device=owner.device).scatter_reduce_(
            1, self.row, self.weight, "amax"
        )[:, :-1]

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """Return the sum of ``values`` (B, cells) for each person, (B, P)."""
        return values.new_zeros(self.shape).scatter_add(1, self.row, values)[:, :-1]

    def mean(self, values: torch.Tensor) -> torch.Tensor:
        """Return each person's mean of ``values`` (B, cells) by the weight of cells, (B, P)."""
        return self.sum(values * self.weight) / self.sum(self.weight).clamp_min(1e-6)

    def at_cells(self, values: torch.Tensor) -> torch.Tensor:
        """Return ``values`` (B, P) of each cell's owner, (B, cells); 0 on the background."""
        return F.pad(values, (0, 1)).gather(1, self.row)


def weighted_mean(values: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Return sum(w * value) / max(sum(w), 1)."""
    return (values * weight).sum() / weight.sum().clamp_min(1.0)


def heat_term(logits: torch.Tensor, targets: Targets, hard: float, disk: float) -> torch.Tensor:
    """Return the binary cross-entropy of all cells per cell of a disk, at least one disk per image.

    Disks cover one cell in 300, so a mean over all cells would hardly change. A focal loss would
    pull probabilities towards 0.5, and the Hough score sums these probabilities.
    """
    weight = targets.heat_weight.clone()
    hidden = targets.vis_weight * (1 - targets.vis)
    weight[:, :K] *= 1 + (hard - 1) * hidden
    loss = F.binary_cross_entropy_with_logits(logits, targets.heat, reduction="none")
    return (loss * weight).sum() / (targets.heat * weight).sum().clamp_min(disk * len(logits))


def offset_term(
    offsets: torch.Tensor, target: torch.Tensor, weight: torch.Tensor, smooth: float
) -> torch.Tensor:
    """Return the smooth L1 loss over both axes of (B, N, 2, h, w), in R, per cell of a disk."""
    return weighted_mean(
        F.smooth_l1_loss(offsets, target, reduction="none", beta=smooth).sum(2), weight
    )


def scale_pseudo(weight: torch.Tensor, factor: float) -> torch.Tensor:
    """Return mask weights with those of pseudo masks (below 1) multiplied by ``factor``."""
    return torch.where(weight < 1, factor * weight, weight)


def dice_term(
    seg: torch.Tensor,
    target: torch.Tensor,
    weight: torch.Tensor,
    box: torch.Tensor,
    person_weight: torch.Tensor,
) -> torch.Tensor:
    """Return 1 - soft Dice inside each person's box (B, P, 4) of mask cells, averaged over people.

    Average precision counts people, not pixels; over whole images small people would have no
    weight. The squares in the denominator make the term 0 at a soft target as well.
    """
    both = _box_sums(weight * seg * target, box)
    sizes = _box_sums(weight * (seg.square() + target.square()), box)
    return weighted_mean(1 - (2 * both + 1) / (sizes + 1), person_weight)


def _box_sums(values: torch.Tensor, box: torch.Tensor) -> torch.Tensor:
    """Return sums (B, P) of ``values`` (B, 1, h, w) inside boxes (B, P, 4) by an integral image."""
    integral = F.pad(values[:, 0].cumsum(1).cumsum(2), (1, 0, 1, 0))
    width = integral.shape[2]
    flat = integral.flatten(1)
    x1, y1, x2, y2 = box.unbind(-1)

    def at(y: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        return flat.gather(1, y * width + x)

    return at(y2, x2) - at(y1, x2) - at(y2, x1) + at(y1, x1)


def anchor_term(
    anchor: torch.Tensor, targets: Targets, owned: PersonSums, radius: float
) -> torch.Tensor:
    """Return eq. 2 over all annotated anchors: L1 in s_j, averaged by person, then over people."""
    known = targets.anchor_known
    error = ((anchor - targets.anchor).abs().sum(2) * known).sum(1)  # (B, h, w)
    weight = owned.weight
    per_person = owned.sum(error.flatten(1) * weight) / owned.sum(
        known.sum(1).flatten(1) * weight
    ).clamp_min(1e-6)
    return weighted_mean(per_person * radius / targets.scale, owned.person_weight)


def phi_terms(
    anchor: torch.Tensor,
    mean_log_sigma: torch.Tensor,
    targets: Targets,
    info: ModelInfo,
    config: LossConfig,
    generator: torch.Generator | None,
) -> torch.Tensor:
    """Return eq. 3 for the largest people of each image, compared with the cells they own.

    The centroid is drawn as a decoder may choose it. The label is the owner among all foreground
    cells. People beyond ``max_people`` still count as people whose cells a centroid must not
    attract.
    """
    size = targets.scale * (targets.known[..., CENTRE] > 0)
    count = min(config.max_people, size.shape[1])
    size, rows = size.topk(count, 1)  # (B, N)
    known, visible = (_take_rows(t, rows) for t in (targets.known, targets.visible))
    points, scale = _take_rows(targets.points, rows), targets.scale.gather(1, rows)
    omega = draw_centroids(known, visible, config, generator)
    noise = _random(torch.randn, points, generator)
    points = points + config.jitter * scale[..., None, None] * noise
    low, high = _log_sigma_range(scale, info.radius)
    sigma = info.radius * mean_log_sigma.gather(1, rows).clamp(low, high).exp()

    owner, weight = targets.owner.flatten(1)[:, None], targets.owner_weight.flatten(1)
    d = centroid_distance(anchor, points, omega, scale, info)
    phi = torch.exp(-d.square() / (2 * sigma.square()[..., None]))  # (B, N, cells)
    label = (owner == rows[..., None]).float()
    per_person = lovasz_hinge(2 * phi - 1, label, (weight > 0).float()[:, None])
    has_cells = ((label * weight[:, None]).amax(2) > 0) & (size > 0)
    return weighted_mean(per_person, has_cells * known[..., CENTRE])


def centroid_distance(
    anchor: torch.Tensor,
    points: torch.Tensor,
    omega: torch.Tensor,
    scale: torch.Tensor,
    info: ModelInfo,
) -> torch.Tensor:
    """Return d_j(x) of every cell to the centroids of N people, (B, N, cells) in input pixels.

    It is the weighted mean over the anchors k of |x + u_k - C_jk|. Anchors that are predicted close
    to the cell count more, because the error of an offset grows with its length.
    """
    h, w = anchor.shape[3:]
    u = anchor.flatten(3) * info.radius  # (B, 18, 2, cells)
    place = u + grid(h, w, info.stride, anchor.device).flatten(0, 1).T
    length = u.detach().square().sum(2).sqrt()  # no gradient through the weights
    near = AssignConfig().near * scale
    gap = (place[:, None] - points[..., None]).square().sum(3).add(1e-6).sqrt()
    a = omega[..., None] / (near[..., None, None] + length[:, None]).square()
    return (a * gap).sum(2) / a.sum(2).clamp_min(1e-12)


def draw_centroids(
    known: torch.Tensor,
    visible: torch.Tensor,
    config: LossConfig,
    generator: torch.Generator | None,
) -> torch.Tensor:
    """Return random centroid weights (B, N, 18) for N people, as a decoder may choose them (eq. 3).

    The 18 anchors are the 17 keypoints and the CENTRE of the person. The weight goes to CENTRE
    alone, to one annotated keypoint, or to all keypoints but a few that are dropped at random.
    CENTRE alone is also used if no keypoint is left.
    """
    quality = torch.where(visible, 1.0, config.hidden_weight)[..., :K] * (known[..., :K] > 0)
    chance = _random(torch.rand, quality, generator)
    # argmax of quality / Exp(1) picks each with a probability proportional to its quality
    race = quality / -torch.log(chance.clamp(1e-7, 1 - 1e-7))
    single = F.one_hot(race.argmax(-1), K) * (quality > 0)
    dropped = _random(torch.rand, quality, generator) < config.drop_keypoint
    mode = _random(torch.rand, quality[..., :1], generator)
    keypoints = torch.where(
        mode < config.centre_only + config.single_keypoint, single, quality * ~dropped
    ) * (mode >= config.centre_only)
    return torch.cat([keypoints, (keypoints.sum(-1, keepdim=True) <= 0).float()], -1)


def lovasz_hinge(logits: torch.Tensor, label: torch.Tensor, counted: torch.Tensor) -> torch.Tensor:
    """Return the Lovász extension of the Jaccard loss on hinge errors, per row of (…, cells).

    Berman et al. 2018, eq. 8 and 9: the errors are sorted, and each is weighted by the growth of
    the Jaccard loss when its cell becomes the next mistake. Cells that are not ``counted`` have no
    error.
    """
    label = label * counted
    error = F.relu(1 - logits * (2 * label - 1)) * counted
    error, order = error.sort(-1, descending=True)
    label = label.gather(-1, order)
    total = label.sum(-1, keepdim=True)
    intersection = total - label.cumsum(-1)
    union = total + (1 - label).cumsum(-1)
    jaccard = 1 - intersection / union.clamp_min(1.0)
    growth = torch.diff(jaccard, dim=-1, prepend=torch.zeros_like(total))
    return (error * growth).sum(-1)


def _take_rows(table: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """Return ``table`` (B, P, …) at the person rows (B, N)."""
    index = rows.view(*rows.shape, *([1] * (table.ndim - 2))).expand(-1, -1, *table.shape[2:])
    return table.gather(1, index)


def _log_sigma_range(scale: torch.Tensor, radius: float) -> tuple[torch.Tensor, torch.Tensor]:
    low, high = CentroidConfig().sigma_range
    return torch.log(low * scale / radius), torch.log(high * scale / radius)


def _random(
    draw: Callable[..., torch.Tensor], like: torch.Tensor, generator: torch.Generator | None
) -> torch.Tensor:
    """Return random numbers in the shape of ``like``; the generator may be on another device."""
    device = generator.device if generator else like.device
    return draw(like.shape, generator=generator, device=device).to(like.device, non_blocking=True)

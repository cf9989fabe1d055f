"""Apply an augmentation plan to pixels: warp, paste, cover, colour; batched torch on any device."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from kdc_core.letterbox import PAD_VALUE
from kdc_lab.training.augment import AugmentConfig, Colour, Plan, draw_plan
from kdc_lab.training.batch import POSE_UNKNOWN, SEG_UNKNOWN, Batch
from kdc_lab.training.data import Pool, Sources


def make_batch(
    pool: Pool, indices: np.ndarray, rng: np.random.Generator, config: AugmentConfig
) -> Batch:
    """Return the augmented batch of the images ``indices``, determined by the generator."""
    plan = draw_plan(pool.labels(indices), rng, config)
    return apply_plan(plan, pool.sources(indices), int(rng.integers(2**62)))


def apply_plan(plan: Plan, sources: Sources, noise_seed: int = 0) -> Batch:
    """Return the batch that a plan makes of images; covered keypoints become hidden."""
    device, crop = sources.image.device, plan.config.crop
    grid = _grid(plan.affine, sources.image.shape[3], crop, device)
    image, maps = _warp_image(sources.image, grid), _warp_maps(sources.maps, grid)
    owner, ignore = maps[:, 0], maps[:, 1]
    keypoints = torch.from_numpy(plan.keypoints).to(device)
    _paste(plan, sources, image, owner, ignore, keypoints)
    _cover(plan, sources, image, owner, ignore, keypoints)
    area = torch.from_numpy(plan.area.astype(np.float32)).to(device)
    weight = torch.from_numpy(plan.mask_weight.astype(np.float32)).to(device)
    keypoints, area, weight = _drop_invisible(
        owner, ignore, keypoints, area, weight, plan.config.min_pixels
    )
    image = _colour(image, plan.colour, noise_seed)
    return Batch(image, owner, ignore, keypoints, area, weight)


def _grid(affine: np.ndarray, side: int, crop: int, device: torch.device) -> torch.Tensor:
    """Return the sampling grid (n, crop, crop, 2) in the source square for ``grid_sample``."""
    bottom = np.broadcast_to(np.array([[[0.0, 0.0, 1.0]]]), (len(affine), 1, 3))
    inverse = np.linalg.inv(np.concatenate([affine, bottom], axis=1))[:, :2]
    inverse = inverse * (2 / side) - [[0, 0, 1], [0, 0, 1]]  # the source square is [-1, 1]²
    a = torch.from_numpy(inverse.astype(np.float32)).to(device)[:, None, None]  # (n, 1, 1, 2, 3)
    centres = torch.arange(crop, device=device, dtype=torch.float32) + 0.5
    across = centres.view(1, 1, -1, 1) * a[..., 0] + a[..., 2]
    return across + centres.view(1, -1, 1, 1) * a[..., 1]


def _sample(values: torch.Tensor, grid: torch.Tensor, mode: str) -> torch.Tensor:
    return F.grid_sample(values, grid, mode=mode, padding_mode="zeros", align_corners=False)


def _warp_image(image: torch.Tensor, grid: torch.Tensor) -> torch.Tensor:
    """Map (n, 3, side, side) uint8 → (n, 3, crop, crop) float32, grey outside."""
    return _sample(image.float().sub_(PAD_VALUE), grid, "bilinear").add_(PAD_VALUE)


def _warp_maps(maps: torch.Tensor, grid: torch.Tensor) -> torch.Tensor:
    """Map (n, 2, side, side) uint8 → (n, 2, crop, crop) uint8, 0 outside."""
    # both maps in one plane: nearest neighbours of 16-bit numbers are exact in float32
    both = maps[:, :1].float().add_(maps[:, 1:].float(), alpha=256)
    both = _sample(both, grid, "nearest").to(torch.int32)
    return torch.cat([(both & 255).to(torch.uint8), (both >> 8).to(torch.uint8)], dim=1)


def _paste(
    plan: Plan,
    sources: Sources,
    image: torch.Tensor,
    owner: torch.Tensor,
    ignore: torch.Tensor,
    keypoints: torch.Tensor,
) -> None:
    """Paste people in front; all tensors are changed in place."""
    paste, crop, device = plan.paste, plan.config.crop, image.device
    if not len(paste.sample):
        return
    sample, donor, person, row = (
        torch.from_numpy(np.ascontiguousarray(index)).to(device)
        for index in (paste.sample, paste.donor, paste.person, paste.row)
    )
    grid = _grid(paste.affine, sources.image.shape[3], crop, device)
    cut = sources.maps[donor, 0] == (person + 1).view(-1, 1, 1)
    alpha = _sample(cut[:, None].float(), grid, "bilinear")
    image[sample] = torch.lerp(image[sample], _warp_image(sources.image[donor], grid), alpha)
    here = alpha[:, 0] > 0.5
    number = (row + 1).to(torch.uint8).view(-1, 1, 1)
    owner[sample] = torch.where(here, number, owner[sample])
    posed = (keypoints[sample, row, :, 2] > 0).any(dim=1)
    mark = torch.where(posed, 0, POSE_UNKNOWN).to(torch.uint8).view(-1, 1, 1)
    ignore[sample] = torch.where(here, mark, ignore[sample])
    _hide_keypoints(keypoints, sample, here, row)


def _cover(
    plan: Plan,
    sources: Sources,
    image: torch.Tensor,
    owner: torch.Tensor,
    ignore: torch.Tensor,
    keypoints: torch.Tensor,
) -> None:
    """Put patches in front; all tensors are changed in place."""
    patches, crop, device = plan.patches, plan.config.crop, image.device
    if not len(patches.sample):
        return
    sample = torch.from_numpy(patches.sample).to(device)
    donor = torch.from_numpy(np.ascontiguousarray(patches.donor)).to(device)
    shape = torch.from_numpy(patches.shape.astype(np.float32)).to(device)
    centres = torch.arange(crop, device=device, dtype=torch.float32) + 0.5
    x, y = centres.view(1, 1, -1), centres.view(1, -1, 1)
    u, v = (
        shape[:, i, 0].view(-1, 1, 1) * x
        + shape[:, i, 1].view(-1, 1, 1) * y
        + shape[:, i, 2].view(-1, 1, 1)
        for i in (0, 1)
    )
    is_round = torch.from_numpy(patches.round).to(device).view(-1, 1, 1)
    here = torch.where(is_round, u * u + v * v, torch.maximum(u.abs(), v.abs())) <= 1
    grid = _grid(patches.texture, sources.image.shape[3], crop, device)
    texture = _warp_image(sources.image[donor], grid)
    # a person in the texture would be a person without a label
    person = _warp_maps(sources.maps[donor], grid).amax(dim=1, keepdim=True) > 0
    colour = torch.from_numpy(patches.colour.astype(np.float32)).to(device).view(-1, 3, 1, 1)
    texture = torch.where(person, colour, texture)
    image[sample] = torch.where(here[:, None], texture, image[sample])
    owner[sample] = owner[sample].masked_fill(here, 0)
    ignore[sample] = ignore[sample].masked_fill(here, 0)
    _hide_keypoints(keypoints, sample, here, None)


def _hide_keypoints(
    keypoints: torch.Tensor,
    sample: torch.Tensor,
    covered: torch.Tensor,
    except_row: torch.Tensor | None,
) -> None:
    """Mark visible keypoints under ``covered`` (n, H, W) of the samples (n,) as hidden."""
    points = keypoints[sample]  # (n, P, 17, 3)
    height, width = covered.shape[1:]
    x = points[..., 0].round().long().clamp(0, width - 1)
    y = points[..., 1].round().long().clamp(0, height - 1)
    which = torch.arange(len(covered), device=covered.device)
    under = covered[which.view(-1, 1, 1), y, x]
    if except_row is not None:
        under[which, except_row] = False
    v = points[..., 2]
    points[..., 2] = torch.where(under & (v == 2), 1.0, v)
    keypoints[sample] = points


def _drop_invisible(
    owner: torch.Tensor,
    ignore: torch.Tensor,
    keypoints: torch.Tensor,
    area: torch.Tensor,
    weight: torch.Tensor,
    min_pixels: int,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Clear the rows of people with almost no visible pixel; their last pixels are ignored."""
    b, p = area.shape
    offset = torch.arange(b, device=owner.device).view(-1, 1, 1) * 256
    counts = torch.bincount((owner + offset).flatten(), minlength=b * 256).view(b, 256)
    v = keypoints[..., 2]
    maskless = (weight == 0) & (v > 0).any(dim=2)
    visible = (counts[:, 1 : p + 1] >= min_pixels) | (v == 2).any(dim=2) | maskless
    keep = (area > 0) & visible
    if bool(((counts[:, 1 : p + 1] > 0) & ~keep).any()):
        gone = torch.zeros((b, 256), dtype=torch.bool, device=owner.device)
        gone[:, 1 : p + 1] = ~keep
        where = torch.gather(gone, 1, owner.flatten(1).long()).view_as(owner)
        owner.masked_fill_(where, 0)
        ignore.masked_fill_(where, SEG_UNKNOWN | POSE_UNKNOWN)
    return keypoints * keep[..., None, None], area * keep, weight * keep


def _colour(image: torch.Tensor, colour: Colour, noise_seed: int) -> torch.Tensor:
    """Return (B, 3, H, W) float32 as uint8 with changed colours."""
    device = image.device
    matrix = torch.from_numpy(colour.matrix.astype(np.float32)).to(device)
    shift = torch.from_numpy(colour.shift.astype(np.float32)).to(device)
    image = torch.bmm(matrix, image.flatten(2)).view_as(image).add_(shift[..., None, None])
    for times in (1, 2):
        which = torch.from_numpy(np.flatnonzero(colour.blur >= times)).to(device)
        if len(which):
            padded = F.pad(image[which], (1, 1, 1, 1), mode="replicate")
            rows = padded[:, :, :-2] + padded[:, :, 2:] + 2 * padded[:, :, 1:-1]
            image[which] = (rows[..., :-2] + rows[..., 2:] + 2 * rows[..., 1:-1]) / 16
    which = np.flatnonzero(colour.noise > 0)
    if len(which):
        generator = torch.Generator(device).manual_seed(noise_seed)
        sigma = torch.from_numpy(colour.noise[which].astype(np.float32)).to(device)
        index = torch.from_numpy(which).to(device)
        grain = torch.randn((len(which), *image.shape[1:]), generator=generator, device=device)
        image[index] += grain * sigma.view(-1, 1, 1, 1)
    return image.round_().clamp_(0, 255).to(torch.uint8)

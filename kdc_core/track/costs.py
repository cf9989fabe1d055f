"""Costs of every pair of track and pose, with gates."""

from __future__ import annotations

import numpy as np

from kdc_core.geometry import length
from kdc_core.skeleton import OKS_SIGMAS, K
from kdc_core.track.appearance import descriptor_distance
from kdc_core.track.body import SURE, bone_distance, is_whole, keypoint_mean
from kdc_core.track.kalman import BODY
from kdc_core.track.observation import Cells, Observation
from kdc_core.track.step import Step
from kdc_core.track.tracks import Tracks

TOLERANCE = (4 * OKS_SIGMAS) ** 2  # twice COCO's κ: people move between frames
OCCLUSION_TIME = 0.3  # seconds, time constant with which ``occluded_cost`` rises


def match_costs(tracks: Tracks, seen: Observation, step: Step) -> np.ndarray:
    """Return the cost (T, P) of each pair, 0 to about 1; inf outside the gates."""
    config = step.config.association
    scale = _pair_scale(tracks, seen)
    similarity = oks(
        tracks.motion.xy[:, :K],
        tracks.motion.variance[:, :K, 0],
        scale,
        seen.poses.xy[:, :K],
        seen.centroids.confidence[:, :K],
    )
    overlap = mask_iou(tracks, seen.cells, len(seen))
    colour = descriptor_distance(tracks.descriptor, seen.descriptor, config.colour_range)
    terms = np.stack([1 - similarity, 1 - overlap, colour])
    shares = np.array([config.skeleton_share, config.mask_share, config.colour_share])
    known = ~np.isnan(terms)
    share = shares[:, None, None] * known
    cost = (np.where(known, terms, 0) * share).sum(axis=0) / np.maximum(share.sum(axis=0), 1e-9)
    unseen = step.stamp - tracks.seen
    occlusion = np.where(unseen > 1.5 * step.dt, 1 - np.exp(-unseen / OCCLUSION_TIME), 0)
    cost = cost + config.occluded_cost * occlusion[:, None]
    reach = (config.reach + config.max_speed * step.dt) * scale
    reach = reach + 3 * np.sqrt(tracks.motion.variance[:, BODY, 0])[:, None]
    allowed = _distance(keypoint_mean(tracks.motion.xy), seen.position) <= reach
    allowed &= _same_size(tracks, seen, config.scale_ratio) & (share[:2].sum(axis=0) > 0)
    return np.where(allowed, cost, np.inf)


def oks(
    track_xy: np.ndarray,
    variance: np.ndarray,
    scale: np.ndarray,
    xy: np.ndarray,
    confidence: np.ndarray,
) -> np.ndarray:
    """Return the object keypoint similarity (T, P) over each pose's visible keypoints.

    It is NaN with fewer than three. The variance of the filters softens it: joints that were not
    seen for long may be farther off.

    Args:
        track_xy: (T, 17, 2) input pixels.
        variance: (T, 17) of the filters' positions, input pixels².
        scale: (T, P) input pixels.
        xy: (P, 17, 2) input pixels.
        confidence: (P, 17).
    """
    away = track_xy[:, None] - xy
    square = away[..., 0] ** 2 + away[..., 1] ** 2
    spread = scale[:, :, None] ** 2 * TOLERANCE + variance[:, None]
    near = np.exp(-square / (2 * spread))
    used = confidence > SURE
    count = used.sum(axis=1)
    mean = (near * used).sum(axis=2) / np.maximum(count, 1)
    return np.where(count >= 3, mean, np.nan)


def mask_iou(tracks: Tracks, cells: Cells, poses: int) -> np.ndarray:
    """Return the IoU (T, P) of each track's last cells, moved with the body, and a pose's cells.

    Tracks without cells have NaN. ``poses`` is P.
    """
    height, width = cells.shape
    owner = np.full(height * width, -1)
    owner[cells.at] = cells.owner
    size = np.bincount(cells.owner + 1, minlength=poses + 1)[1:]
    counts = np.array([len(own) for own in tracks.cells], np.intp)
    row = np.repeat(np.arange(len(tracks)), counts)
    moved = tracks.motion.xy[:, BODY] - tracks.cells_at
    step = np.rint(moved / cells.stride).astype(np.intp)[row]
    at = np.concatenate([*tracks.cells, np.zeros(0, np.intp)]).astype(np.intp)
    x, y = at % width + step[:, 0], at // width + step[:, 1]
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    hit = owner[y[inside] * width + x[inside]]
    index = row[inside] * (poses + 1) + hit + 1
    common = np.bincount(index, minlength=len(tracks) * (poses + 1))
    common = common.reshape(len(tracks), poses + 1)[:, 1:]
    union = counts[:, None] + size[None] - common
    return np.where(counts[:, None] > 0, common / np.maximum(union, 1), np.nan)


def revival_costs(tracks: Tracks, seen: Observation, step: Step) -> np.ndarray:
    """Return the cost (T, P) of lost tracks that reappear as a pose; inf if it is impossible.

    The gate is the distance that a person can walk, never the overlap of masks.
    """
    config = step.config.association
    unseen = (step.stamp - tracks.seen)[:, None]
    scale = tracks.body.scale[:, None]
    predicted = _distance(keypoint_mean(tracks.motion.xy), seen.position)
    nearest = np.minimum(predicted, _distance(tracks.seen_at, seen.position))
    bones = bone_distance(tracks.body, seen.poses.xy, seen.centroids.confidence)
    allowed = nearest <= config.reach * scale + config.max_speed * scale * unseen
    resize = abs(np.log(seen.centroids.scale[None] / scale))
    allowed &= _same_size(tracks, seen, config.revival_ratio)
    allowed &= resize <= np.log(config.partial_ratio)
    allowed &= bones <= config.max_bone_distance
    allowed &= ~seen.centre_only | (nearest <= config.centre_only_reach * scale)
    colour = descriptor_distance(tracks.descriptor, seen.descriptor, config.colour_range)
    colour = np.nan_to_num(colour, nan=config.unknown_colour)
    spread = 0.5 * scale + np.sqrt(tracks.motion.variance[:, BODY, 0])[:, None]
    return np.where(allowed, predicted / spread + bones + resize + colour, np.inf)


def _distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return length(a[:, None] - b)


def _pair_scale(tracks: Tracks, seen: Observation) -> np.ndarray:
    """Return the scale (T, P) of each pair: the track's; the larger if it was never seen whole."""
    own = tracks.body.scale[:, None]
    return np.where(tracks.body.sized[:, None], own, np.maximum(own, seen.centroids.scale))


def _same_size(tracks: Tracks, seen: Observation, ratio: float) -> np.ndarray:
    """Return whether the scales (T, P) agree with the average or with the last pose.

    The last pose counts because people approach. A person who is seen in part may have any scale.
    """
    known = np.stack([tracks.body.scale, tracks.size])[:, :, None]
    change = abs(np.log(seen.centroids.scale / known)).min(axis=0)
    unknown = ~tracks.body.sized[:, None] | ~is_whole(seen.centroids.confidence)
    return unknown | (change <= np.log(ratio))

"""Anchors that no peak was claimed for: where the anchor field says they are, and their votes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from kdc_core.config import GroupConfig
from kdc_core.decode.hough import ONE
from kdc_core.decode.sample import PERSON, person_share, sample
from kdc_core.geometry import length
from kdc_core.skeleton import A, K
from kdc_core.types import Fields, Poses


def refine_unmatched(fields: Fields, poses: Poses, config: GroupConfig) -> Poses:
    """Read the anchors without a peak again from where they lie.

    The error of the anchor field grows with its length, and the claimed peaks may be far away. A
    place moves only while it lies on the person: on somebody's pixels, whose anchors as read there
    miss nobody's claimed peaks less than this person's.
    """
    person, kind = np.nonzero(~poses.matched)
    place = poses.xy[person, kind]
    share = person_share(fields)
    low = (fields.stride - 1) / 2  # input pixels, the first cell's centre
    high = low + fields.stride * (np.array(share.shape[::-1], np.float32) - 1)
    for _ in range(config.unmatched_steps):
        away = np.float32(fields.radius) * sample(fields.anchor, place, fields.stride)
        # outside the picture the border's cell is read: it points from where it lies itself
        anchors = np.clip(place, np.float32(low), high)[:, None] + away
        miss = _misses(anchors, poses)
        own = miss[np.arange(len(place)), person] <= miss.min(axis=1, initial=np.inf)
        own &= sample(share, place, fields.stride) > PERSON
        place = np.where(own[:, None], anchors[np.arange(len(kind)), kind], place)
    xy = poses.xy.copy()
    xy[person, kind] = place
    return replace(poses, xy=xy)


def _misses(anchors: np.ndarray, poses: Poses) -> np.ndarray:
    """Mean distance (N, P) of anchors (N, 18, 2) to the claimed ones of each person."""
    total = np.zeros((len(anchors), len(poses)), np.float32)
    for k in range(A):  # in the kernel's order
        total += length(anchors[:, k, None] - poses.xy[:, k]) * poses.matched[:, k]
    return total / np.maximum(poses.matched.sum(axis=1), 1).astype(np.float32)


def votes_at(heights: np.ndarray, xy: np.ndarray, vote_stride: int) -> np.ndarray:
    """Share of a disk that votes for each anchor (P, 18, 2), (P, 18) float64.

    ``heights`` are the smoothed votes.
    """
    kinds = np.tile(np.arange(A), len(xy))
    read = sample(heights, xy.reshape(-1, 2), vote_stride, kinds).reshape(-1, A)
    return np.minimum(read / np.float32(ONE), 1)


def rank_poses(poses: Poses, anchor_score: np.ndarray, radius: float) -> tuple[Poses, np.ndarray]:
    """Return the poses with ``anchor_score`` (P, 18), best first, and the rows they had."""
    score = instance_scores(poses.xy, anchor_score, radius)
    order = np.argsort(-score, kind="stable")
    return replace(poses, anchor_score=anchor_score.astype(np.float32), score=score)[order], order


def instance_scores(xy: np.ndarray, anchor_score: np.ndarray, radius: float) -> np.ndarray:
    """Share of the votes a skeleton may have that it has, (P,).

    PersonLab's soft NMS: a keypoint counts only for the best person within R / 3 of its place.
    """
    xy, anchor_score = xy[:, :K], anchor_score[:, :K]
    first = np.argsort(-anchor_score.sum(axis=1), kind="stable")
    near = length(xy[first, None] - xy[first]) < radius / 3  # (P, P, 17)
    claimed = (near & np.tri(len(xy), k=-1, dtype=bool)[:, :, None]).any(axis=1)
    score = np.zeros(len(xy), np.float32)
    score[first] = (anchor_score[first] * ~claimed).sum(axis=1) / K
    return score

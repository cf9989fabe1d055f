"""Refine anchors that have no peak, and read the votes at them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from kdc_core.config import GroupConfig
from kdc_core.decode.hough import ONE
from kdc_core.decode.sample import PERSON, person_share, sample
from kdc_core.geometry import length
from kdc_core.skeleton import A
from kdc_core.types import Fields, Poses


def refine_unmatched(fields: Fields, poses: Poses, config: GroupConfig) -> Poses:
    """Return the poses with unmatched anchors read again at their current position.

    The error of the anchor field grows with the length of the offset, and the matched peaks may be
    far away. A step is taken only if the position is on the person's own foreground: if the anchors
    that are read there fit this pose best.
    """
    person, kind = np.nonzero(~poses.matched)
    xy = poses.xy[person, kind]
    share = person_share(fields)
    low = (fields.stride - 1) / 2  # input pixels, centre of the first cell
    high = low + fields.stride * (np.array(share.shape[::-1], np.float32) - 1)
    for _ in range(config.unmatched_steps):
        offset = np.float32(fields.radius) * sample(fields.anchor, xy, fields.stride)
        # outside the image the cell at the border is read: its offsets start at that cell
        anchors = np.clip(xy, np.float32(low), high)[:, None] + offset
        miss = _mean_misses(anchors, poses)
        own = miss[np.arange(len(xy)), person] <= miss.min(axis=1, initial=np.inf)
        own &= sample(share, xy, fields.stride) > PERSON
        xy = np.where(own[:, None], anchors[np.arange(len(kind)), kind], xy)
    refined = poses.xy.copy()
    refined[person, kind] = xy
    return replace(poses, xy=refined)


def _mean_misses(anchors: np.ndarray, poses: Poses) -> np.ndarray:
    """Return the mean distance (N, P) of anchors (N, 18, 2) to each person's matched anchors."""
    total = np.zeros((len(anchors), len(poses)), np.float32)
    for k in range(A):  # in the CUDA kernel's order
        total += length(anchors[:, k, None] - poses.xy[:, k]) * poses.matched[:, k]
    return total / np.maximum(poses.matched.sum(axis=1), 1).astype(np.float32)


def votes_at(heights: np.ndarray, xy: np.ndarray, vote_stride: int) -> np.ndarray:
    """Return the share of a disk that votes for each anchor, (P, 18) float64.

    Args:
        heights: smoothed votes (18, h, w).
        xy: (P, 18, 2) input pixels.
        vote_stride: input pixels per cell of the votes.
    """
    kinds = np.tile(np.arange(A), len(xy))
    read = sample(heights, xy.reshape(-1, 2), vote_stride, kinds).reshape(-1, A)
    return np.minimum(read / np.float32(ONE), 1)

"""Poses, centroids and label image to people in pixels of the original frame."""

from __future__ import annotations

import numpy as np

from kdc_core.config import ScoreConfig
from kdc_core.labels import erase
from kdc_core.letterbox import Letterbox
from kdc_core.skeleton import K
from kdc_core.types import Centroids, InstanceMap, People, Phase, Poses

VISIBLE = 0.5  # soft keypoints of the paper: vis at or above
LEAST_VOTES = 0.02  # of a person who is a CENTRE alone: the logarithm stays finite


def build_people(
    poses: Poses, centroids: Centroids, instances: InstanceMap, letterbox: Letterbox,
    config: ScoreConfig, phase: np.ndarray | None = None,
) -> People:  # fmt: skip
    """Return one row per person; masks smaller than ``min_mask`` are erased.

    Nobody is dropped for a low score: ``kdc_core.session.Session`` decides who is reported.
    """
    count, around = _extents(instances.labels, instances.ids)
    side = np.sqrt(count) * letterbox.scale
    has_mask = (count > 0) & (side**2 >= config.min_mask)
    score = expected(instances.phi, centroids.scale, poses.score, config.oks)
    side = np.maximum(side, 1.0)  # pixel; of who has no mask
    mask_score = expected(instances.phi, side, poses.score, config.iou) * has_mask
    labels = erase(instances.labels, instances.ids[(count > 0) & ~has_mask])
    points = letterbox.to_frame(poses.xy)
    boxes = np.where(has_mask[:, None], around, _boxes(points[:, :K], labels.shape))
    if phase is None:
        phase = np.full(len(poses), Phase.UNTRACKED, np.uint8)
    return People(
        ids=instances.ids,
        score=score,
        mask_score=mask_score,
        keypoints=np.concatenate([points[:, :K], poses.anchor_score[:, :K, None]], axis=2),
        visible=(poses.vis[:, :K] >= VISIBLE) & poses.matched[:, :K],
        boxes=boxes.astype(np.float32),
        centroid=centroids.primary,
        centroid_xy=points[np.arange(len(poses)), centroids.primary],
        labels=labels,
        phase=phase,
    )


def expected(
    phi: np.ndarray, size: np.ndarray, votes: np.ndarray, weights: tuple[float, ...]
) -> np.ndarray:
    """IoU or OKS to expect (P,), by logistic regression.

    Args:
        phi: ``InstanceMap.phi``.
        size: sqrt of the area of the mask or of the skeleton, input pixels: a network misses by a
            few pixels at any size, and the same miss costs a small person more.
        votes: ``Poses.score``.
        weights: of 1, ``phi``, ln ``size`` and ln ``votes``.
    """
    one, by_phi, by_size, by_votes = weights
    logit = one + by_phi * phi + by_size * np.log(size) + by_votes * np.log(votes + LEAST_VOTES)
    return 1 / (1 + np.exp(-logit))


def _extents(labels: np.ndarray, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Number of pixels (P,) of each label, and x1, y1, x2, y2 (P, 4) around them.

    Counted in runs of equal pixels along the rows: of these there are a hundred times fewer.
    """
    height, width = labels.shape
    begins = np.ones(labels.shape, bool)
    np.not_equal(labels[:, 1:], labels[:, :-1], out=begins[:, 1:])
    at = np.flatnonzero(begins)
    label = labels.reshape(-1)[at]
    length = np.diff(at, append=labels.size)
    mine = label > 0
    at, length = at[mine], length[mine]
    order = np.argsort(ids)
    who = order[np.searchsorted(ids, label[mine], sorter=order)]
    row, left = at // width, at % width
    boxes = np.tile((width, height, 0, 0), (len(ids), 1))
    np.minimum.at(boxes[:, 0], who, left)
    np.minimum.at(boxes[:, 1], who, row)
    np.maximum.at(boxes[:, 2], who, left + length)
    np.maximum.at(boxes[:, 3], who, row + 1)
    return np.bincount(who, length, len(ids)).astype(np.intp), boxes


def _boxes(points: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """x1, y1, x2, y2 (P, 4) around keypoints (P, 17, 2) in a picture of this shape."""
    height, width = shape
    boxes = np.concatenate([points.min(axis=1), points.max(axis=1)], axis=1)
    return boxes.clip(0, [width - 1, height - 1, width - 1, height - 1])

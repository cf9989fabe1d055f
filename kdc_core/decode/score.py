"""Poses, centroids and label image to people in pixels of the original frame."""

from __future__ import annotations

import numpy as np

from kdc_core.config import ScoreConfig
from kdc_core.letterbox import Letterbox
from kdc_core.skeleton import K
from kdc_core.types import Centroids, InstanceMap, People, Phase, Poses

VISIBLE = 0.5  # soft keypoints of the paper: vis at or above


def people(
    poses: Poses, centroids: Centroids, instances: InstanceMap, letterbox: Letterbox,
    config: ScoreConfig, phase: np.ndarray | None = None,
) -> People:  # fmt: skip
    """One row per person that reaches ``min_score``.

    Pixels of the others, and masks smaller than ``min_mask``, are taken out of the label image.
    """
    count = np.bincount(instances.labels.ravel(), minlength=int(instances.ids.max(initial=0)) + 1)
    count = count[instances.ids]
    side = np.sqrt(count) * letterbox.scale
    has_mask = (count > 0) & (side**2 >= config.min_mask)
    score = expected_oks(poses.score, centroids.scale, config)
    mask_score = expected_iou(instances.phi, poses.presence, side, config) * has_mask
    sure = np.maximum(score, mask_score) >= config.min_score
    labels = _without(instances.labels, instances.ids[(count > 0) & ~(has_mask & sure)])
    points = letterbox.to_frame(poses.xy)
    if phase is None:
        phase = np.full(len(poses), Phase.UNTRACKED, np.uint8)
    everyone = People(
        ids=instances.ids,
        score=score,
        mask_score=mask_score,
        keypoints=np.concatenate([points[:, :K], poses.disk[:, :K, None]], axis=2),
        visible=(poses.vis[:, :K] >= VISIBLE) & poses.matched[:, :K],
        boxes=_boxes(labels, instances.ids, points[:, :K]),
        centroid=centroids.primary,
        centroid_xy=points[np.arange(len(poses)), centroids.primary],
        labels=labels,
        phase=phase,
    )
    return everyone[sure]


def _without(labels: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """The label image with the pixels of ``ids`` set to nobody."""
    if not len(ids):
        return labels
    keep = np.ones(int(labels.max()) + 1, np.uint16)
    keep[ids] = 0
    return labels * keep[labels]


def expected_oks(score: np.ndarray, scale: np.ndarray, config: ScoreConfig) -> np.ndarray:
    """OKS to expect of a skeleton (P,), from its votes and its size.

    A network misses by a few pixels at any size, and the same miss costs a small person more.
    """
    evidence = score * scale / (scale + config.half_scale)
    return 1 - np.exp(-evidence / config.oks_evidence)


def expected_iou(
    phi: np.ndarray, presence: np.ndarray, side: np.ndarray, config: ScoreConfig
) -> np.ndarray:
    """IoU to expect of a mask (P,); ``side`` is the square root of its area in input pixels."""
    evidence = phi * (0.5 + 0.5 * presence) * side / (side + config.half_scale / 2)
    return np.minimum(config.iou_gain * evidence, 1)


def _boxes(labels: np.ndarray, ids: np.ndarray, points: np.ndarray) -> np.ndarray:
    """x1, y1, x2, y2 around each mask; around the keypoints of a person without one."""
    height, width = labels.shape
    boxes = np.concatenate([points.min(axis=1), points.max(axis=1)], axis=1)
    boxes = boxes.clip(0, [width - 1, height - 1, width - 1, height - 1])
    for j, label in enumerate(ids):
        mine = labels == label
        rows, columns = np.flatnonzero(mine.any(axis=1)), np.flatnonzero(mine.any(axis=0))
        if len(rows):
            boxes[j] = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
    return boxes.astype(np.float32)

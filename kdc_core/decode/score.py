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
    """One row per person; masks smaller than ``min_mask`` are taken out of the label image."""
    labels = instances.labels
    count = np.bincount(labels.ravel(), minlength=int(instances.ids.max(initial=0)) + 1)
    small = count * letterbox.scale**2 < config.min_mask
    small[0] = False
    if small.any():
        labels = np.where(small[labels], 0, labels).astype(np.uint16)
    has_mask = ~small[instances.ids] & (count[instances.ids] > 0)
    side = np.sqrt(count[instances.ids]) * letterbox.scale
    points = letterbox.to_frame(poses.xy)
    rows = np.arange(len(poses))
    return People(
        ids=instances.ids,
        score=expected_oks(poses.score, centroids.scale, config),
        mask_score=expected_iou(instances.phi, poses.presence, side, config) * has_mask,
        keypoints=np.concatenate([points[:, :K], poses.disk[:, :K, None]], axis=2),
        visible=(poses.vis[:, :K] >= VISIBLE) & poses.matched[:, :K],
        boxes=_boxes(labels, instances.ids, points[:, :K]),
        centroid=centroids.primary,
        centroid_xy=points[rows, centroids.primary],
        labels=labels,
        phase=np.full(len(poses), Phase.UNTRACKED, np.uint8) if phase is None else phase,
    )


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

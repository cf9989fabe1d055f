"""Convert poses, centroids and label image to people in pixels of the original frame."""

from __future__ import annotations

import numpy as np

from kdc_core.config import ScoreConfig
from kdc_core.labels import erase
from kdc_core.letterbox import Letterbox
from kdc_core.skeleton import K
from kdc_core.types import Centroids, InstanceMap, People, Phase, Poses

VISIBLE = 0.5  # visibility from which a keypoint is visible ("soft keypoints" of the paper)
MIN_VOTES = 0.02  # is added to the votes: the logarithm stays finite for a CENTRE alone


def build_people(
    poses: Poses,
    centroids: Centroids,
    instances: InstanceMap,
    letterbox: Letterbox,
    config: ScoreConfig,
    phase: np.ndarray | None = None,
) -> People:
    """Return one row per person, in the order of ``poses``.

    Masks smaller than ``min_mask`` are erased. No person is dropped for a low score:
    ``kdc_core.session.Session`` decides which people are reported.

    Args:
        poses: P poses, input pixels.
        centroids: their centroids, same rows.
        instances: label image and ids, same rows.
        letterbox: placement of the frame in the network's input.
        config: weights of the scores and smallest mask.
        phase: (P,) states of the tracks; None = not tracked.
    """
    count, around = extents(instances.labels, instances.ids)
    side = np.sqrt(count) * letterbox.scale
    has_mask = (count > 0) & (side**2 >= config.min_mask)
    score = expected(instances.phi, centroids.scale, poses.score, config.oks)
    side = np.maximum(side, 1.0)  # input pixels: people without a mask have 0
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
    """Return the expected IoU or OKS (P,), by logistic regression.

    Args:
        phi: ``InstanceMap.phi``.
        size: sqrt of the area of the mask or of the skeleton, input pixels. Errors are a few pixels
            at any size, and the same error costs a small person more.
        votes: ``Poses.score``.
        weights: of 1, ``phi``, ln ``size`` and ln ``votes``.
    """
    one, by_phi, by_size, by_votes = weights
    logit = one + by_phi * phi + by_size * np.log(size) + by_votes * np.log(votes + MIN_VOTES)
    return 1 / (1 + np.exp(-logit))


def extents(labels: np.ndarray, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the number of pixels of each label (P,) and its bounding box x1, y1, x2, y2 (P, 4).

    It counts runs of equal pixels instead of pixels: there are a hundred times fewer.
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
    person = order[np.searchsorted(ids, label[mine], sorter=order)]
    row, left = at // width, at % width
    boxes = np.tile((width, height, 0, 0), (len(ids), 1))
    np.minimum.at(boxes[:, 0], person, left)
    np.minimum.at(boxes[:, 1], person, row)
    np.maximum.at(boxes[:, 2], person, left + length)
    np.maximum.at(boxes[:, 3], person, row + 1)
    return np.bincount(person, length, len(ids)).astype(np.intp), boxes


def _boxes(points: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return x1, y1, x2, y2 (P, 4) around keypoints (P, 17, 2), clipped to an image (H, W)."""
    height, width = shape
    boxes = np.concatenate([points.min(axis=1), points.max(axis=1)], axis=1)
    return boxes.clip(0, [width - 1, height - 1, width - 1, height - 1])

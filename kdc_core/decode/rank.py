"""Rank skeletons by their votes and suppress duplicates."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from kdc_core.geometry import length
from kdc_core.skeleton import K
from kdc_core.types import Poses


def rank_poses(poses: Poses, anchor_score: np.ndarray, radius: float) -> tuple[Poses, np.ndarray]:
    """Return the poses with new scores, best first, and the rows that they had before.

    Args:
        poses: P poses.
        anchor_score: (P, 18) new scores of the anchors, 0 to 1.
        radius: R, input pixels.
    """
    score = instance_scores(poses.xy, anchor_score, radius)
    order = np.argsort(-score, kind="stable")
    return replace(poses, anchor_score=anchor_score.astype(np.float32), score=score)[order], order


def instance_scores(xy: np.ndarray, anchor_score: np.ndarray, radius: float) -> np.ndarray:
    """Return the mean score (P,) of each skeleton's keypoints after PersonLab's soft NMS.

    Of several people with a keypoint of one type within R / 3, only the best person's counts.
    """
    xy, keypoint_score = xy[:, :K], anchor_score[:, :K]
    best_first = np.argsort(-keypoint_score.sum(axis=1), kind="stable")
    near = length(xy[best_first, None] - xy[best_first]) < radius / 3  # (P, P, 17)
    suppressed = (near & np.tri(len(xy), k=-1, dtype=bool)[:, :, None]).any(axis=1)
    score = np.zeros(len(xy), np.float32)
    score[best_first] = (keypoint_score[best_first] * ~suppressed).sum(axis=1) / K
    return score


def suppress_duplicates(poses: Poses, duplicate: float) -> np.ndarray:
    """Return the rows of ``poses``, best first, that are no duplicate of a better pose.

    Args:
        poses: P poses, best first.
        duplicate: average distance of the anchors below which two poses are one person, as a
            share of the larger scale.
    """
    scale = poses.scale
    distance = length(poses.xy[:, None] - poses.xy) / np.maximum(scale[:, None], scale)[:, :, None]
    alike = np.exp(-(distance**2) / (2 * duplicate**2)).mean(axis=2) > 0.5
    kept: list[int] = []
    for j in range(len(poses)):
        if not alike[j, kept].any():
            kept.append(j)
    return np.array(kept, np.intp)

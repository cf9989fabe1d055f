"""The decoder's rules, one person and one map of the frame at a time: slow and easy to check.

What is shared with the decoder (``decay``, ``spread``, ``smooth_votes``, ``sample``) has
tests of its own.
"""

from __future__ import annotations

import numpy as np

from kdc_core.config import AssignConfig
from kdc_core.decode.assign import foreground, reach_boxes
from kdc_core.decode.hough import ONE, smooth_votes
from kdc_core.decode.phi import decay
from kdc_core.decode.sample import FrameGrid, sample
from kdc_core.letterbox import cell_centres
from kdc_core.skeleton import A, K
from kdc_core.types import Centroids, Fields, Poses


def membership(
    fields: Fields, centroids: Centroids, cells: np.ndarray, config: AssignConfig, mode: str
) -> np.ndarray:
    """φ (P, N) at every cell in reach."""
    x = cell_centres(*fields.log_sigma.shape, fields.stride).reshape(-1, 2)[cells].T
    u = fields.anchor.reshape(A, 2, -1)[:, :, cells] * np.float32(fields.radius)
    place, away = x + u, np.sqrt(u[:, 0] ** 2 + u[:, 1] ** 2)
    phi = np.zeros((len(centroids), len(cells)), np.float32)
    for j, (x0, y0, x1, y1) in enumerate(reach_boxes(centroids)):
        used = np.flatnonzero(centroids.weight[j] > 0)
        near = (x[0] >= x0) & (x[0] <= x1) & (x[1] >= y0) & (x[1] <= y1)
        miss = place[used] - centroids.xy[j, used, :, None]
        distance = np.sqrt(miss[:, 0] ** 2 + miss[:, 1] ** 2)
        if mode == "nearest":
            distance = np.take_along_axis(distance, away[used].argmin(axis=0)[None], axis=0)[0]
        else:
            soft = np.float32(config.near) * centroids.scale[j] + away[used]
            pull = centroids.weight[j, used, None] / (soft * soft)
            distance = sum((pull * distance)[1:], (pull * distance)[0]) / sum(pull[1:], pull[0])
        sigma = centroids.sigma[j]
        phi[j] = near * decay(distance * distance / (np.float32(2) * sigma * sigma))
    return phi


def paint(
    fields: Fields, phi: np.ndarray, cells: np.ndarray, ids: np.ndarray, config: AssignConfig
) -> tuple[np.ndarray, np.ndarray]:
    """Labels (H, W) and mean P_seg · φ (P,) from maps of the whole frame."""
    width, height = fields.letterbox.frame_size
    everywhere = slice(0, height), slice(0, width)
    person = FrameGrid(fields.letterbox, fields.seg_stride).spread(fields.seg, *everywhere)
    best = np.full((height, width), config.min_phi, np.float32)
    labels = np.zeros((height, width), np.uint16)
    for j, label in enumerate(ids):
        plane = np.zeros(fields.log_sigma.shape, np.float32)
        plane.flat[cells] = phi[j]
        here = FrameGrid(fields.letterbox, fields.stride).spread(plane, *everywhere)
        wins = here > best
        best[wins], labels[wins] = here[wins], label
    labels[person <= config.min_seg] = 0
    parts = np.rint(person * best * np.float32(ONE)).astype(np.float64)
    mean = [parts[labels == i].sum() / (ONE * max(1, (labels == i).sum())) for i in ids]
    return labels, np.array(mean, np.float32)


def assign(
    fields: Fields, centroids: Centroids, ids: np.ndarray, config: AssignConfig, mode: str,
    prior: np.ndarray | None,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Labels and means without looking at the frame's parts."""
    cells = foreground(fields, config)
    phi = membership(fields, centroids, cells, config, mode)
    if prior is not None:
        phi *= prior.reshape(len(prior), fields.log_sigma.size)[:, cells]
    return paint(fields, phi, cells, ids, config)


def extents(labels: np.ndarray, ids: np.ndarray) -> tuple[list[int], list[tuple[int, ...] | None]]:
    """Pixels of each label and the box around them, None where there are none."""
    counts, boxes = [], []
    for label in ids:
        rows, columns = np.nonzero(labels == label)
        counts.append(len(rows))
        some = len(rows) > 0
        boxes.append(
            (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) if some else None
        )
    return counts, boxes


def suppress_duplicates(poses: Poses, duplicate: float) -> list[int]:
    """Rows that lie on no better one."""
    kept: list[int] = []
    for j in range(len(poses)):
        for i in kept:
            scale = np.maximum(poses.scale[i], poses.scale[j])
            apart = np.linalg.norm(poses.xy[i] - poses.xy[j], axis=1) / scale
            if np.exp(-(apart**2) / (2 * duplicate**2)).mean() > 0.5:
                break
        else:
            kept.append(j)
    return kept


def instance_scores(xy: np.ndarray, anchor_score: np.ndarray, radius: float) -> np.ndarray:
    """Each person's votes at keypoints that no better person has."""
    score, better = np.zeros(len(xy), np.float32), []
    for j in np.argsort(-anchor_score[:, :K].sum(axis=1), kind="stable"):
        distance = np.linalg.norm(xy[better, :K] - xy[j, :K], axis=2)
        score[j] = (anchor_score[j, :K] * ~(distance < radius / 3).any(axis=0)).sum() / K
        better.append(j)
    return score


def votes_at(votes: np.ndarray, xy: np.ndarray, vote_stride: int) -> np.ndarray:
    """Votes (P, 18) around each anchor."""
    heights = smooth_votes(votes)
    read = [sample(heights[kind], xy[:, kind], vote_stride) for kind in range(A)]
    return np.minimum(np.stack(read, axis=1) / np.float32(ONE), 1)

"""What one frame offers the tracker: poses, how sure they are, and roughly whose cell is whose."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kdc_core.decode import PERSON, person_share, suppress_duplicates
from kdc_core.letterbox import cell_centres
from kdc_core.skeleton import CENTRE, K
from kdc_core.track import appearance
from kdc_core.track.body import middle
from kdc_core.types import Centroids, Fields, Poses

BEST = 5  # keypoints that a pose is judged by: half a body is as sure as a whole one


@dataclass(frozen=True)
class Cells:
    """Foreground cells of the offset grid, and the pose that each belongs to."""

    at: np.ndarray  # (N,) flat index
    xy: np.ndarray  # (2, N) input pixels
    owner: np.ndarray  # (N,) row of the pose, -1 = none
    shape: tuple[int, int]  # (h, w) of the grid
    stride: int  # input pixels per cell


@dataclass(frozen=True)
class Seen:
    """P poses in an order that does not depend on the order they came in."""

    poses: Poses
    centroids: Centroids
    strength: np.ndarray  # (P,) mean of the best confidences
    double: np.ndarray  # (P,) bool: lies on a better pose: a fragment, or somebody behind
    bare: np.ndarray  # (P,) bool: it is the CENTRE alone that makes it a person
    middle: np.ndarray  # (P, 2) mean of the keypoints
    cells: Cells
    look: np.ndarray  # (P, 2, 24), see ``appearance``

    def __len__(self) -> int:
        return len(self.strength)


def observe(
    fields: Fields, poses: Poses, centroids: Centroids, weak: float, apart: float,
    image: np.ndarray | None = None,
) -> Seen:  # fmt: skip
    """Poses of at least ``weak`` strength, from left to right, with their cells.

    Poses that are less than ``apart`` scales apart on average are doubles of the best of them.
    """
    keypoints, centre = _strength(centroids.confidence)
    strength = np.maximum(keypoints, centre)
    kept = np.flatnonzero(strength >= weak)
    place = middle(poses.xy)[kept]
    kept = kept[np.lexsort((place[:, 1], place[:, 0]))]
    poses, centroids = poses[kept], centroids[kept]
    cells = _cells(fields, poses.xy[:, CENTRE], centroids.sigma)
    best_first = np.argsort(-poses.score, kind="stable")
    double = np.ones(len(poses), bool)
    double[best_first[suppress_duplicates(poses[best_first], apart)]] = False
    bare = (keypoints < centre)[kept]
    look = appearance.unknown(len(poses))
    if image is not None:
        look = appearance.looks(image, fields.letterbox, fields.stride, cells.at,
                                cells.owner, poses)  # fmt: skip
    return Seen(poses, centroids, strength[kept], double, bare, middle(poses.xy), cells, look)


def _strength(confidence: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How surely each pose (P, 18) is a person, by its keypoints and by its CENTRE."""
    best = np.sort(confidence[:, :K], axis=1)[:, -BEST:].mean(axis=1)
    return best, 0.8 * confidence[:, CENTRE]


def _cells(fields: Fields, centre: np.ndarray, sigma: np.ndarray) -> Cells:
    """Whose foreground cells are, by φ with the CENTRE alone: rough, but cheap."""
    height, width = shape = fields.log_sigma.shape
    at = np.flatnonzero(person_share(fields) > PERSON)
    xy = cell_centres(height, width, fields.stride).reshape(-1, 2)[at].T
    offset = fields.anchor[CENTRE].reshape(2, -1)[:, at]
    points_at = xy + fields.radius * offset
    x, y = (along - middle[:, None] for along, middle in zip(points_at, centre.T, strict=True))
    phi = np.exp(-(x * x + y * y) / (2 * sigma[:, None] ** 2))
    best = phi.argmax(axis=0) if len(phi) else np.zeros(len(at), np.intp)
    owner = np.where(phi.max(axis=0, initial=0) > 0.5, best, -1)
    return Cells(at, xy, owner, shape, fields.stride)

"""What one frame offers to the tracker: poses, their strength, and roughly which cell is whose."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kdc_core.decode import PERSON, person_share, phi, suppress_duplicates
from kdc_core.geometry import length
from kdc_core.letterbox import cell_centres
from kdc_core.skeleton import CENTRE, K
from kdc_core.track.appearance import describe, unknown_descriptors
from kdc_core.track.body import keypoint_mean
from kdc_core.track.track_config import AssociationConfig
from kdc_core.types import Centroids, Fields, Poses

BEST = 5  # keypoints by which a pose is judged: half a body is as sure as a whole one
CENTRE_STRENGTH = 0.8  # strength of a CENTRE of confidence 1 without keypoints
OWN_PHI = 0.5  # φ of the CENTRE above which a cell belongs to a pose


@dataclass(frozen=True)
class Cells:
    """Foreground cells of the offset grid, and the pose to which each belongs."""

    at: np.ndarray  # (N,) flat index
    xy: np.ndarray  # (2, N) input pixels
    owner: np.ndarray  # (N,) row of the pose, -1 = none
    shape: tuple[int, int]  # (h, w) of the grid
    stride: int  # input pixels per cell

    def of(self, poses: np.ndarray) -> np.ndarray:
        """Return an object array with the flat cell indices of each of the given poses."""
        cells = np.empty(len(poses), object)
        for i, pose in enumerate(poses):
            cells[i] = self.at[self.owner == pose]
        return cells


@dataclass(frozen=True)
class Observation:
    """P poses of one frame, in an order that does not depend on the order of arrival."""

    poses: Poses
    centroids: Centroids
    strength: np.ndarray  # (P,) mean of the best confidences
    duplicate: np.ndarray  # (P,) bool: lies on a better pose: a fragment, or a person behind
    centre_only: np.ndarray  # (P,) bool: the CENTRE is stronger evidence than the keypoints
    position: np.ndarray  # (P, 2) mean of the keypoints, input pixels
    cells: Cells
    descriptor: np.ndarray  # (P, 2, 24), see ``appearance``

    def __len__(self) -> int:
        return len(self.strength)


def observe(
    fields: Fields,
    poses: Poses,
    centroids: Centroids,
    config: AssociationConfig,
    image: np.ndarray | None = None,
) -> Observation:
    """Return the poses of at least ``config.weak`` strength, from left to right.

    Poses whose anchors are less than ``config.same_person`` scales apart on average are duplicates
    of the best of them.

    Args:
        fields: network output of the frame.
        poses: all poses of the frame.
        centroids: their centroids, same rows.
        config: thresholds.
        image: BGR image (H, W, 3) uint8; None = colours are unknown.
    """
    keypoints, centre = _strength(centroids.confidence)
    strength = np.maximum(keypoints, centre)
    kept = np.flatnonzero(strength >= config.weak)
    position = keypoint_mean(poses.xy)[kept]
    kept = kept[np.lexsort((position[:, 1], position[:, 0]))]
    poses, centroids = poses[kept], centroids[kept]
    cells = _assign_cells(fields, poses.xy[:, CENTRE], centroids.sigma)
    descriptor = unknown_descriptors(len(poses))
    if image is not None:
        descriptor = describe(image, fields.letterbox, fields.stride, cells.at, cells.owner, poses)
    return Observation(
        poses=poses,
        centroids=centroids,
        strength=strength[kept],
        duplicate=_duplicates(poses, config.same_person),
        centre_only=(keypoints < centre)[kept],
        position=keypoint_mean(poses.xy),
        cells=cells,
        descriptor=descriptor,
    )


def _strength(confidence: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the evidence (P,) for each pose (P, 18) by its keypoints and by its CENTRE."""
    best = np.sort(confidence[:, :K], axis=1)[:, -BEST:].mean(axis=1)
    return best, CENTRE_STRENGTH * confidence[:, CENTRE]


def _duplicates(poses: Poses, distance: float) -> np.ndarray:
    """Return which poses lie within ``distance`` scales of a better one, (P,) bool."""
    best_first = np.argsort(-poses.score, kind="stable")
    duplicate = np.ones(len(poses), bool)
    duplicate[best_first[suppress_duplicates(poses[best_first], distance)]] = False
    return duplicate


def _assign_cells(fields: Fields, centre: np.ndarray, sigma: np.ndarray) -> Cells:
    """Return the foreground cells and their poses by φ of the CENTRE alone: rough, but fast.

    Args:
        fields: network output of the frame.
        centre: (P, 2) CENTRE of each pose, input pixels.
        sigma: (P,) input pixels.
    """
    height, width = shape = fields.log_sigma.shape
    at = np.flatnonzero(person_share(fields) > PERSON)
    xy = cell_centres(height, width, fields.stride).reshape(-1, 2)[at].T
    target = xy + fields.radius * fields.anchor[CENTRE].reshape(2, -1)[:, at]
    distance = length(target.T - centre[:, None])  # (P, N)
    member = phi(distance, sigma[:, None])
    best = member.argmax(axis=0) if len(member) else np.zeros(len(at), np.intp)
    owner = np.where(member.max(axis=0, initial=0) > OWN_PHI, best, -1)
    return Cells(at, xy, owner, shape, fields.stride)

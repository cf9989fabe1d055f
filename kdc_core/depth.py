"""Compute keypoints in space from a depth image that is registered to the colour image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from kdc_core.types import People

SAMPLES = 7  # per side of the window around a keypoint
WINDOW = 0.05  # half side of the window, share of the longer side of the box: about a wrist
MIN_SAMPLES = 3  # with a depth; a keypoint with fewer has no position
LEFT_SHOULDER, RIGHT_SHOULDER = 5, 6
SHOULDERS, HIPS = (LEFT_SHOULDER, RIGHT_SHOULDER), (11, 12)
TRUNK = 0.5  # metres from the shoulders to the hips
MIN_SPAN = 0.1  # metres; two points that are closer define no direction
UP = np.array([0.0, -1.0, 0.0])  # of a level camera
AHEAD = np.array([0.0, 0.0, -1.0])  # of a person facing the camera


@dataclass(frozen=True)
class Depth:
    """A depth image of any size, registered to the colour image, and its intrinsics."""

    metres: np.ndarray  # (h, w) float32, NaN = not measured
    focal: tuple[float, float]  # pixels of the depth image
    principal: tuple[float, float]  # pixels of the depth image, 0 = centre of the first pixel


def lift_keypoints(people: People, depth: Depth) -> np.ndarray:
    """Return keypoints (P, 17, 3) in metres in the optical frame (x right, y down, z forward).

    The depth of a keypoint is the median over the person's own pixels around it, which excludes the
    background and people in front. It is NaN if too few of them have a depth.
    """
    if not len(people):
        return np.zeros((0, 17, 3), np.float32)
    height, width = people.labels.shape
    h, w = depth.metres.shape
    sides = people.boxes[:, 2:] - people.boxes[:, :2]
    half = np.maximum(WINDOW * sides.max(axis=1), 2.0)  # (P,) pixels
    steps = np.linspace(-1, 1, SAMPLES)
    window = np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 2)  # (S, 2)
    points = people.keypoints[..., :2]
    at = points[:, :, None] + half[:, None, None, None] * window  # (P, 17, S, 2)
    x, y = np.rint(at[..., 0]).astype(int), np.rint(at[..., 1]).astype(int)
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    x, y = x.clip(0, width - 1), y.clip(0, height - 1)
    mine = inside & (people.labels[y, x] == people.ids[:, None, None])
    metres = depth.metres[(2 * y + 1) * h // (2 * height), (2 * x + 1) * w // (2 * width)]
    metres = np.where(mine & (metres > 0), metres, np.nan)
    z = _median(metres)
    u, v = ((points + 0.5) * (w / width, h / height) - 0.5).transpose(2, 0, 1)
    (fx, fy), (cx, cy) = depth.focal, depth.principal
    return np.stack([(u - cx) / fx * z, (v - cy) / fy * z, z], axis=-1).astype(np.float32)


def body_positions(points: np.ndarray) -> np.ndarray:
    """Return the positions of bodies (P, 3) in metres: the midpoint of the hips (REP 155).

    If one hip is known, it is used alone. Without hips, the position is a trunk's length below the
    shoulders. Without shoulders, it is the median of all keypoints. NaN = unknown.

    Args:
        points: keypoints (P, 17, 3) of ``lift_keypoints``.
    """
    hips, shoulders = _mean(points[:, HIPS]), _mean(points[:, SHOULDERS])
    below = shoulders - TRUNK * UP
    anywhere = np.stack([_median(points[..., i], 1) for i in range(3)], axis=-1)
    found = np.where(np.isfinite(hips), hips, below)
    return np.where(np.isfinite(found), found, anywhere)


def body_orientations(points: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Return the orientations of bodies in the optical frame, quaternions (P, 4) x, y, z, w.

    The axes are those of REP 155: x forward out of the body, y to its left, z towards the head. The
    line from hips to shoulders gives z; without it the body is assumed to be upright before a level
    camera. The shoulders give y; without them the body is assumed to face the camera.

    Args:
        points: keypoints (P, 17, 3) of ``lift_keypoints``.
        positions: (P, 3) of ``body_positions``, without NaN.
    """
    spine = points[:, SHOULDERS].mean(axis=1) - points[:, HIPS].mean(axis=1)
    up = _unit(np.where(_length(spine) > MIN_SPAN, spine, UP))  # NaN compares False
    across = points[:, LEFT_SHOULDER] - points[:, RIGHT_SHOULDER]
    left = across - (across * up).sum(axis=1, keepdims=True) * up
    for forward in (-_unit(positions), UP, AHEAD):  # use the first that is not parallel to the body
        left = np.where(_length(left) > MIN_SPAN, left, np.cross(up, forward))
    left = _unit(left)
    axes = np.stack([np.cross(left, up), left, up], axis=-1)
    return np.asarray(Rotation.from_matrix(axes.reshape(-1, 3, 3)).as_quat())


def _mean(points: np.ndarray) -> np.ndarray:
    """Return the mean (P, 3) of the known ones of points (P, N, 3); NaN if none is known."""
    known = np.isfinite(points).all(axis=2)[..., None]
    count = known.sum(axis=1)
    mean = np.where(known, points, 0).sum(axis=1) / np.maximum(count, 1)
    return np.where(count > 0, mean, np.nan)


def _length(vectors: np.ndarray) -> np.ndarray:
    return np.linalg.norm(vectors, axis=1, keepdims=True)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(_length(vectors), 1e-6)


def _median(values: np.ndarray, least: int = MIN_SAMPLES) -> np.ndarray:
    """Return the median of the finite values along the last axis; NaN if fewer than ``least``."""
    ordered = np.sort(values, axis=-1)  # NaN last
    count = np.isfinite(values).sum(axis=-1, keepdims=True)
    pairs = np.concatenate([np.maximum(count - 1, 0) // 2, count // 2], axis=-1)
    pairs = np.minimum(pairs, values.shape[-1] - 1)
    middle = np.take_along_axis(ordered, pairs, axis=-1).mean(axis=-1)
    return np.where(count[..., 0] >= least, middle, np.nan)

"""Keypoints in space, from a depth picture that is registered to the camera's."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from kdc_core.types import People

SAMPLES = 7  # per side of the window around a keypoint
WINDOW = 0.05  # half side of the window, of the person's box's longer side: about a wrist
LEAST = 3  # samples with a depth that a keypoint needs
LEFT_SHOULDER, RIGHT_SHOULDER = 5, 6
HIPS = (11, 12)
TRUNK = (LEFT_SHOULDER, RIGHT_SHOULDER, *HIPS)
BROAD = 0.1  # metres between shoulders, level, from which they tell where somebody looks
UP = np.array([0.0, -1.0, 0.0])  # of a camera held level


@dataclass(frozen=True)
class Depth:
    """A depth picture and its camera; registered to the colour picture, of any size."""

    metres: np.ndarray  # (h, w) float32, NaN where nothing was measured
    focal: tuple[float, float]  # pixels of the depth picture
    principal: tuple[float, float]  # pixels of the depth picture, 0 = centre of the first pixel


def lift(people: People, depth: Depth) -> np.ndarray:
    """Keypoints (P, 17, 3) in metres in the optical frame (x right, y down, z forward).

    The depth of a keypoint is the median over the person's own pixels around it, so that neither
    the background nor somebody in front is taken; NaN where there are too few of them.
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


def place(points: np.ndarray) -> np.ndarray:
    """Where bodies are (P, 3): between the hips (REP 155).

    Where not both are known, the mean of the trunk's keypoints, else the median of all; NaN:
    unknown.
    """
    trunk = points[:, TRUNK]
    known = np.isfinite(trunk).all(axis=2)
    count = known.sum(axis=1)[:, None]
    mean = np.where(known[..., None], trunk, 0).sum(axis=1) / np.maximum(count, 1)
    near = np.where(count > 0, mean, np.stack([_median(points[..., i], 1) for i in range(3)], -1))
    hips = points[:, HIPS].mean(axis=1)
    return np.where(np.isfinite(hips).all(axis=1, keepdims=True), hips, near)


def turn(points: np.ndarray, places: np.ndarray) -> np.ndarray:
    """How bodies are turned in the optical frame, quaternions (P, 4) x, y, z, w.

    As REP 155 has it: x out of the body, y to its left, z up; the camera is taken to be level. The
    shoulders tell, else somebody looks at the camera.

    Args:
        points: keypoints (P, 17, 3) of ``lift``.
        places: of ``place``, without NaN.
    """
    across = points[:, LEFT_SHOULDER] - points[:, RIGHT_SHOULDER]
    across = np.where([True, False, True], across, 0.0)
    broad = np.linalg.norm(across, axis=1, keepdims=True)
    towards = np.where([True, False, True], -places, 0.0)
    left = np.where(broad > BROAD, across, np.cross(UP, towards))  # NaN is not broad
    left = left / np.maximum(np.linalg.norm(left, axis=1, keepdims=True), 1e-6)
    up = np.broadcast_to(UP, left.shape)
    axes = np.stack([np.cross(left, up), left, up], axis=-1)
    return np.asarray(Rotation.from_matrix(axes.reshape(-1, 3, 3)).as_quat())


def _median(values: np.ndarray, least: int = LEAST) -> np.ndarray:
    """Median along the last axis without NaN; NaN where fewer than ``least`` remain."""
    ordered = np.sort(values, axis=-1)  # NaN last
    count = np.isfinite(values).sum(axis=-1, keepdims=True)
    pairs = np.concatenate([np.maximum(count - 1, 0) // 2, count // 2], axis=-1)
    pairs = np.minimum(pairs, values.shape[-1] - 1)
    middle = np.take_along_axis(ordered, pairs, axis=-1).mean(axis=-1)
    return np.where(count[..., 0] >= least, middle, np.nan)

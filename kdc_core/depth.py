"""Keypoints in space, from a depth picture that is registered to the camera's."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kdc_core.types import People

SAMPLES = 7  # per side of the window around a keypoint
WINDOW = 0.05  # half side of the window, of the person's box's longer side: about a wrist
LEAST = 3  # samples with a depth that a keypoint needs
TRUNK = (5, 6, 11, 12)  # shoulders and hips


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
    """Where bodies are (P, 3): mean of the trunk's keypoints, else median of all; NaN: unknown."""
    trunk = points[:, TRUNK]
    known = np.isfinite(trunk).all(axis=2)
    count = known.sum(axis=1)[:, None]
    mean = np.where(known[..., None], trunk, 0).sum(axis=1) / np.maximum(count, 1)
    return np.where(count > 0, mean, np.stack([_median(points[..., i], 1) for i in range(3)], -1))


def _median(values: np.ndarray, least: int = LEAST) -> np.ndarray:
    """Median along the last axis without NaN; NaN where fewer than ``least`` remain."""
    ordered = np.sort(values, axis=-1)  # NaN last
    count = np.isfinite(values).sum(axis=-1, keepdims=True)
    pairs = np.concatenate([np.maximum(count - 1, 0) // 2, count // 2], axis=-1)
    pairs = np.minimum(pairs, values.shape[-1] - 1)
    middle = np.take_along_axis(ordered, pairs, axis=-1).mean(axis=-1)
    return np.where(count[..., 0] >= least, middle, np.nan)

"""Project points of the world to pixels with a pinhole camera."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Camera:
    """Pinhole at ``eye``. The world's z points up; the camera has x right, y down, z forward."""

    eye: np.ndarray  # (3,) metres
    rotation: np.ndarray  # (3, 3) world → camera
    focal: float  # pixels
    size: tuple[int, int]  # (width, height), pixels

    @classmethod
    def aimed(
        cls, eye: np.ndarray, target: np.ndarray, roll: float, focal: float, size: tuple[int, int]
    ) -> Camera:
        """Return a camera that looks at ``target``, rolled by ``roll`` degrees about its axis."""
        forward = (target - eye) / np.linalg.norm(target - eye)
        right = np.cross(forward, (0.0, 0.0, 1.0))
        right /= np.linalg.norm(right)
        down = np.cross(forward, right)
        c, s = np.cos(np.deg2rad(roll)), np.sin(np.deg2rad(roll))
        rotation = np.stack([c * right + s * down, c * down - s * right, forward])
        return cls(np.asarray(eye, float), rotation, focal, size)

    @property
    def centre(self) -> np.ndarray:
        """Return the principal point (2,): (n - 1) / 2, as pixel centres are whole numbers."""
        return (np.array(self.size) - 1) / 2

    def project(self, points: np.ndarray) -> np.ndarray:
        """Return x, y in pixels and depth in metres of points (..., 3); depth <= 0 is behind."""
        local = (points - self.eye) @ self.rotation.T
        depth = local[..., 2:]
        safe = np.where(np.abs(depth) < 1e-6, 1e-6, depth)
        return np.concatenate([local[..., :2] / safe * self.focal + self.centre, depth], axis=-1)

    def box(self, spheres: np.ndarray) -> np.ndarray:
        """Return the box x1, y1, x2, y2 that spheres (S, 4) in the world cover in the image."""
        projected = self.project(spheres[:, :3])
        radii = (spheres[:, 3] * self.focal / np.maximum(projected[:, 2], 0.1))[:, None]
        low, high = (projected[:, :2] - radii).min(axis=0), (projected[:, :2] + radii).max(axis=0)
        return np.concatenate([low, high]).clip(0, [*self.size, *self.size])

    def rays(self) -> np.ndarray:
        """Return (3, 3): pixel (x, y, 1) → direction in the world of depth 1 m."""
        x, y = self.centre
        inverse = np.array(
            [(1 / self.focal, 0, -x / self.focal), (0, 1 / self.focal, -y / self.focal), (0, 0, 1)]
        )
        return self.rotation.T @ inverse

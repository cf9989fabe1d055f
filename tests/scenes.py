"""Drawn people with exact masks and keypoints: the truth that decoder tests are held against."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from kdc_core.config import ModelInfo
from kdc_core.letterbox import Letterbox
from kdc_core.skeleton import LIMBS, K
from kdc_core.types import Fields

if TYPE_CHECKING:
    from kdc_lab.training.batch import Batch

#: a standing person in units of its height, origin between the feet, y downwards
_STANDING = np.array(
    [
        (0.0, -0.93), (0.02, -0.95), (-0.02, -0.95), (0.04, -0.94), (-0.04, -0.94),
        (0.12, -0.81), (-0.12, -0.81), (0.16, -0.64), (-0.16, -0.64), (0.17, -0.48), (-0.17, -0.48),
        (0.08, -0.51), (-0.08, -0.51), (0.09, -0.28), (-0.09, -0.28), (0.09, -0.04), (-0.09, -0.04),
    ]
)  # fmt: skip


@dataclass(frozen=True)
class Scene:
    """Truth of one picture: who owns which pixel, and where the keypoints are."""

    owner: np.ndarray  # (H, W) uint8, 0 = background, person index + 1
    keypoints: np.ndarray  # (P, 17, 3) x, y, v in pixels

    @property
    def size(self) -> tuple[int, int]:
        """(width, height)."""
        return self.owner.shape[1], self.owner.shape[0]

    @property
    def letterbox(self) -> Letterbox:
        """The scene as a frame that is its own network input."""
        return Letterbox.fit(self.size, max(self.size), 64)

    def fields(self, info: ModelInfo | None = None) -> Fields:
        """Perfect fields of this scene, made by the training targets."""
        from kdc_lab.training.targets import oracle_fields

        return oracle_fields(self.batch(), info or ModelInfo(), self.letterbox)

    def batch(self) -> Batch:
        """The scene as a training batch of one black picture."""
        import torch

        from kdc_lab.training.batch import Batch

        height, width = self.owner.shape
        people = len(self.keypoints)
        area = [float(self.mask(j).sum()) for j in range(people)]
        return Batch(
            image=torch.zeros(1, 3, height, width, dtype=torch.uint8),
            owner=torch.from_numpy(self.owner)[None],
            ignore=torch.zeros(1, height, width, dtype=torch.uint8),
            keypoints=torch.from_numpy(self.keypoints)[None],
            area=torch.tensor([area]),
            mask_weight=torch.ones(1, people),
        )

    def mask(self, person: int) -> np.ndarray:
        """(H, W) bool."""
        return self.owner == person + 1


def draw(
    feet: list[tuple[float, float]], heights: list[float], size: tuple[int, int] = (640, 480),
    sway: float = 0.0, rng: np.random.Generator | None = None,
) -> Scene:  # fmt: skip
    """People standing at ``feet`` (pixels), later ones in front; hidden keypoints get v = 1.

    ``sway`` moves every joint by a normal deviate of that share of the height.
    """
    width, height = size
    owner = np.zeros((height, width), np.uint8)
    keypoints = np.zeros((len(feet), K, 3), np.float32)
    for j, (foot, tall) in enumerate(zip(feet, heights, strict=True)):
        points = np.array(foot) + tall * _STANDING
        if sway and rng is not None:
            points = points + rng.normal(0, sway * tall, points.shape)
        keypoints[j, :, :2] = points
        _draw_body(owner, points, tall, j + 1)
    inside = (keypoints[..., 0] >= 0) & (keypoints[..., 0] <= width - 1)
    inside &= (keypoints[..., 1] >= 0) & (keypoints[..., 1] <= height - 1)
    rows = keypoints[..., 1].clip(0, height - 1).round().astype(int)
    columns = keypoints[..., 0].clip(0, width - 1).round().astype(int)
    seen = owner[rows, columns] == np.arange(1, len(feet) + 1)[:, None]
    keypoints[..., 2] = np.where(inside, np.where(seen, 2, 1), 0)
    keypoints[~inside] = 0
    return Scene(owner, keypoints)


def _draw_body(owner: np.ndarray, points: np.ndarray, tall: float, value: int) -> None:
    pixels = [tuple(int(v) for v in point.round()) for point in points]
    thick = max(2, round(0.09 * tall))
    for a, b in LIMBS:
        cv2.line(owner, pixels[a], pixels[b], value, thick)
    trunk = np.array([pixels[i] for i in (5, 6, 12, 11)], np.int32)
    cv2.fillConvexPoly(owner, trunk, value)
    cv2.circle(owner, pixels[0], max(2, round(0.07 * tall)), value, -1)

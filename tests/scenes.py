"""Drawn people with exact masks and keypoints: the ground truth of decoder tests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kdc_core.config import ModelInfo
from kdc_core.letterbox import Letterbox
from kdc_core.types import Fields
from kdc_lab.synth import draw_people

if TYPE_CHECKING:
    from kdc_lab.training.batch import Batch


@dataclass(frozen=True)
class Scene:
    """Ground truth of one image."""

    owner: np.ndarray  # (H, W) uint8, 0 = background, person index + 1
    keypoints: np.ndarray  # (P, 17, 3) x, y, v in pixels

    @property
    def size(self) -> tuple[int, int]:
        """Return (width, height)."""
        return self.owner.shape[1], self.owner.shape[0]

    @property
    def letterbox(self) -> Letterbox:
        """Return the letterbox of a frame that is its own network input."""
        return Letterbox.fit(self.size, max(self.size), 64)

    def fields(self, info: ModelInfo | None = None) -> Fields:
        """Return perfect fields of the scene, made by the training targets."""
        from kdc_lab.training.targets import oracle_fields

        return oracle_fields(self.batch(), info or ModelInfo(), self.letterbox)

    def batch(self) -> Batch:
        """Return the scene as a training batch of one black image."""
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
        """Return the mask (H, W) bool of a person."""
        return self.owner == person + 1


def draw(
    feet: list[tuple[float, float]],
    heights: list[float],
    size: tuple[int, int] = (640, 480),
    sway: float = 0.0,
    rng: np.random.Generator | None = None,
) -> Scene:
    """Draw people who stand at ``feet`` (pixels), later ones in front; hidden keypoints have v = 1.

    ``sway`` is the standard deviation of each joint as a share of the height.
    """
    return Scene(*draw_people(feet, heights, size, sway, rng))

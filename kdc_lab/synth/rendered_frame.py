"""What the generator hands out: one picture of synthetic people with its exact truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SEEN, HIDDEN, OUTSIDE = 2, 1, 0  # COCO's v


@dataclass(frozen=True)
class RenderedFrame:
    """One picture, columnar truth of P people; rows are people, in no special order."""

    image: np.ndarray  # (H, W, 3) uint8 BGR
    labels: np.ndarray  # (H, W) uint8: 0 nobody, p + 1 where the nearest surface is person p's
    # (P, 17, 3) float32: x, y pixels (half-pixel convention of kdc_core.letterbox) and v: 2 seen,
    # 1 hidden by anything including the own body but inside the picture, 0 outside the picture
    keypoints: np.ndarray
    # (P, 4) float32 x1, y1, x2, y2: amodal, of the whole silhouette; may leave the picture; pixels'
    # corners are whole numbers, as in COCO's boxes
    box: np.ndarray
    hidden: np.ndarray  # (P,) float32: share of the silhouette in the picture that is covered
    ids: np.ndarray  # (P,) int64 > 0: the same person keeps it over a clip
    stamp: float  # seconds

    def __len__(self) -> int:
        """Number of people."""
        return len(self.ids)

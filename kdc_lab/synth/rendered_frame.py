"""Define the output of the generator: one image of synthetic people and its exact truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SEEN, HIDDEN, OUTSIDE = 2, 1, 0  # COCO's v


@dataclass(frozen=True)
class RenderedFrame:
    """One image and the truth of its P people; arrays have one row per person."""

    image: np.ndarray  # (H, W, 3) uint8 BGR
    labels: np.ndarray  # (H, W) uint8: 0 background, p + 1 where person p is the nearest surface
    # (P, 17, 3) float32: x, y in pixels (half-pixel convention of kdc_core.letterbox) and COCO's v:
    # 2 visible, 1 hidden by anything, the person's own body included, 0 outside the image
    keypoints: np.ndarray
    # (P, 4) float32 x1, y1, x2, y2: amodal box of the whole silhouette, which may exceed the image;
    # whole numbers are corners of pixels, as in COCO's boxes
    box: np.ndarray
    hidden: np.ndarray  # (P,) float32: hidden share of the silhouette inside the image
    ids: np.ndarray  # (P,) int64 > 0: constant over a clip
    stamp: float  # seconds

    def __len__(self) -> int:
        """Return the number of people."""
        return len(self.ids)

"""Two hand-made people for tests of outputs."""

from __future__ import annotations

import numpy as np

from kdc_core.types import People, Phase


def two_people() -> People:
    """Return two people: id 7 with a mask, id 3 with a box that exceeds the image."""
    labels = np.zeros((48, 64), np.uint16)
    labels[10:20, 5:9] = 7
    keypoints = np.arange(2 * 17 * 3, dtype=np.float32).reshape(2, 17, 3)
    return People(
        ids=np.array([7, 3]),
        score=np.array([0.25, 0.75], np.float32),
        mask_score=np.array([0.5, 0.0], np.float32),
        keypoints=keypoints,
        visible=np.arange(34).reshape(2, 17) % 3 == 0,
        boxes=np.array([[5, 10, 9, 20], [-3.5, 40.2, 12.1, 60]], np.float32),
        centroid=np.array([17, 15]),
        centroid_xy=np.array([[6.5, 14.5], [3.0, 47.0]], np.float32),
        labels=labels,
        phase=np.array([Phase.CONFIRMED, Phase.OCCLUDED], np.uint8),
    )

"""Edit label images: (H, W) uint16, pixel = id of the person, 0 = background."""

from __future__ import annotations

import numpy as np


def erase(labels: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Return ``labels`` with all pixels of the given ids set to background.

    Args:
        labels: label image (H, W) uint16; it is not modified.
        ids: (N,) labels to erase. With N = 0 the input itself is returned.
    """
    if not len(ids):
        return labels
    keep = np.ones(1 + max(int(labels.max(initial=0)), int(ids.max())), np.uint16)
    keep[ids] = 0
    return labels * keep[labels]

"""Compute with 2D vectors and sizes."""

from __future__ import annotations

import numpy as np


def length(vectors: np.ndarray) -> np.ndarray:
    """Return the Euclidean length of vectors ``(..., 2)``.

    The result equals ``np.linalg.norm``, which is slow along an axis of two.
    """
    x, y = vectors[..., 0], vectors[..., 1]
    return np.sqrt(x * x + y * y)


def round_up(side: int, multiple: int) -> int:
    """Return the smallest multiple of ``multiple`` that is at least ``side``."""
    return -(-side // multiple) * multiple

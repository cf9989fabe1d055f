"""Write a short video."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np


def clip(path: Path, frames: int = 30) -> Path:
    """Write a video in which the brightness of a frame is 8 times its number."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (64, 48))
    rng = np.random.default_rng(0)
    for index in range(frames):
        noise = rng.integers(0, 8, (48, 64, 3))  # so that frames keep a realistic size
        writer.write((noise + 8 * index).astype(np.uint8))
    writer.release()
    return path

"""A short video of real people: the camera pans over the photograph in the documentation."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

PHOTOGRAPH = next(Path(__file__).parents[1].glob("docs/**/overlay.jpg"))


def panned(frames: int) -> list[np.ndarray]:
    """Return images (360, 480, 3) BGR; the people move by 4 pixels from one to the next."""
    photograph = cv2.imread(str(PHOTOGRAPH))
    return [photograph[40:400, 4 * i : 4 * i + 480].copy() for i in range(frames)]


def write_clip(path: Path, frames: int = 8, fps: float = 10.0) -> Path:
    """Write the images as a video."""
    codec = "MJPG" if path.suffix == ".avi" else "mp4v"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), fps, (480, 360))
    for image in panned(frames):
        writer.write(image)
    writer.release()
    return path

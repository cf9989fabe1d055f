"""Labels of a picture: which keypoints are seen, hidden or outside, and how much is covered."""

from __future__ import annotations

import numpy as np

from kdc_core.skeleton import K
from kdc_lab.synth.pinhole import Camera
from kdc_lab.synth.rendered_frame import HIDDEN, OUTSIDE, SEEN
from kdc_lab.synth.renderer import Picture

#: how far inside the own surface a keypoint may lie and still be seen, metres for 1.7 m of height:
#: about the thickness of the flesh, and less than the way through the body
FLESH = np.array(
    [0.05, 0.035, 0.035, 0.05, 0.05, 0.13, 0.13, 0.09, 0.09, 0.07, 0.07, 0.20, 0.20, 0.12, 0.12,
     0.09, 0.09]
)  # fmt: skip
MARGIN = 0.02  # metres in front of a keypoint at which something else already hides it


def label_keypoints(
    points: np.ndarray, heights: np.ndarray, picture: Picture, camera: Camera
) -> np.ndarray:
    """World keypoints (P, 17, 3) → x, y, v (P, 17, 3) float32; ``heights`` (P,) metres."""
    projected = camera.project(points)
    width, height = camera.size
    column, row = (np.floor(projected[..., axis] + 0.5) for axis in (0, 1))
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    inside &= projected[..., 2] > 0
    at = (np.where(inside, row, 0).astype(int), np.where(inside, column, 0).astype(int))
    own = picture.labels[at] == np.arange(len(points))[:, None] + 1
    flesh = FLESH * heights[:, None] / 1.7
    slack = np.where(own, flesh, MARGIN)
    free = picture.depth[at] >= projected[..., 2] - slack
    result = np.empty((len(points), K, 3), np.float32)
    result[..., :2] = projected[..., :2]
    result[..., 2] = np.where(inside, np.where(free, SEEN, HIDDEN), OUTSIDE)
    return result


def covered(picture: Picture) -> np.ndarray:
    """Share (P,) of each person's silhouette in the picture that something nearer covers."""
    visible = np.bincount(picture.labels.ravel(), minlength=len(picture.whole) + 1)[1:]
    return (1 - visible / np.maximum(picture.whole, 1)).astype(np.float32)

"""Label keypoints as visible, hidden or outside the image, and measure how much is hidden."""

from __future__ import annotations

import numpy as np

from kdc_core.skeleton import K
from kdc_lab.synth.pinhole import Camera
from kdc_lab.synth.rendered_frame import HIDDEN, OUTSIDE, SEEN
from kdc_lab.synth.renderer import Rendering

#: depth below the person's own surface up to which a keypoint counts as visible, metres at 1.7 m of
#: height: about the thickness of the flesh, and less than the way through the body
FLESH_THICKNESS = np.array(
    [
        0.05,
        0.035,
        0.035,
        0.05,
        0.05,
        0.13,
        0.13,
        0.09,
        0.09,
        0.07,
        0.07,
        0.20,
        0.20,
        0.12,
        0.12,
        0.09,
        0.09,
    ]
)
OCCLUSION_MARGIN = 0.02  # metres in front of a keypoint from which another surface hides it


def label_keypoints(
    points: np.ndarray, heights: np.ndarray, rendering: Rendering, camera: Camera
) -> np.ndarray:
    """Project keypoints and label their visibility.

    Args:
        points: (P, 17, 3) keypoints in the world, metres.
        heights: (P,) heights of the people in metres.
        rendering: Rendered image.
        camera: Camera of the image.

    Returns:
        (P, 17, 3) float32: x and y in pixels, and COCO's v.
    """
    projected = camera.project(points)
    width, height = camera.size
    column, row = (np.floor(projected[..., axis] + 0.5) for axis in (0, 1))
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    inside &= projected[..., 2] > 0
    at = (np.where(inside, row, 0).astype(int), np.where(inside, column, 0).astype(int))
    own = rendering.labels[at] == np.arange(len(points))[:, None] + 1
    flesh = FLESH_THICKNESS * heights[:, None] / 1.7
    slack = np.where(own, flesh, OCCLUSION_MARGIN)
    free = rendering.depth[at] >= projected[..., 2] - slack
    result = np.empty((len(points), K, 3), np.float32)
    result[..., :2] = projected[..., :2]
    result[..., 2] = np.where(inside, np.where(free, SEEN, HIDDEN), OUTSIDE)
    return result


def hidden_share(rendering: Rendering) -> np.ndarray:
    """Return the share (P,) of each person's silhouette in the image that is hidden."""
    visible = np.bincount(rendering.labels.ravel(), minlength=len(rendering.silhouette_area) + 1)[
        1:
    ]
    return (1 - visible / np.maximum(rendering.silhouette_area, 1)).astype(np.float32)

"""Values of people as plain Python numbers, in the order and units of ``kdc_msgs/Person``.

The node and the replay both fill their messages from these rows, so that they agree.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from kdc_core.skeleton import ANCHORS
from kdc_core.types import People


class PersonRow(NamedTuple):
    """One person as the messages of the node and of a replay hold it; pixels of the image."""

    row: int  # of the person in ``People``
    id: int
    phase: int
    score: float
    mask_score: float
    box: tuple[int, int, int, int]  # x, y, width, height
    keypoints: list[list[float]]  # 17 times x, y, score
    visible: list[bool]  # 17
    centroid: int  # index into ``ANCHORS``
    centroid_xy: tuple[float, float]

    @property
    def centroid_name(self) -> str:
        """Name of the anchor that is the centroid."""
        return ANCHORS[self.centroid]


def person_rows(people: People) -> list[PersonRow]:
    """Return one row per person, best score first; equal scores keep their order."""
    order = best_first(people)
    columns = (
        order,
        people.ids[order],
        people.phase[order],
        people.score[order],
        people.mask_score[order],
        whole_boxes(people.boxes[order], people.labels.shape),
        people.keypoints[order],
        people.visible[order],
        people.centroid[order],
        people.centroid_xy[order],
    )
    return [PersonRow(*row) for row in zip(*(c.tolist() for c in columns), strict=True)]


def best_first(people: People) -> np.ndarray:
    """Return row numbers (P,) of people, best score first; equal scores keep their order."""
    return np.argsort(-people.score, kind="stable")


def whole_boxes(boxes: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return boxes as whole pixels inside the image: x, y, width, height (P, 4) int.

    A box grows to the next pixel border, so the box of a mask stays exact.

    Args:
        boxes: x1, y1, x2, y2 (P, 4) in pixels, borders of pixels.
        shape: of the image, (H, W).
    """
    height, width = shape
    corner = np.floor(boxes[:, :2]).clip(0, (width - 1, height - 1))
    opposite = np.ceil(boxes[:, 2:]).clip(corner, (width, height))
    return np.concatenate([corner, opposite - corner], axis=1).astype(int)

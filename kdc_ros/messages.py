"""People → kdc_msgs/PersonArray."""

from __future__ import annotations

import numpy as np
from sensor_msgs.msg import RegionOfInterest
from std_msgs.msg import Header

from kdc_core.skeleton import ANCHORS
from kdc_core.types import People
from kdc_msgs.msg import Keypoint, Person, PersonArray


def person_array(people: People, header: Header) -> PersonArray:
    """Message of everybody in one frame, best score first, in pixels of that frame."""
    height, width = people.labels.shape
    best_first = np.argsort(-people.score, kind="stable")
    persons = [_person(people, int(row)) for row in best_first]
    return PersonArray(header=header, height=height, width=width, people=persons)


def _person(people: People, row: int) -> Person:
    anchor = int(people.centroid[row])
    x, y = people.centroid_xy[row].tolist()
    points = people.keypoints[row].tolist()
    visible = people.visible[row].tolist()
    return Person(
        id=int(people.ids[row]),
        phase=int(people.phase[row]),
        score=float(people.score[row]),
        mask_score=float(people.mask_score[row]),
        box=_box(people.boxes[row], people.labels.shape),
        keypoints=[
            Keypoint(x=x, y=y, confidence=confidence, visible=seen)
            for (x, y, confidence), seen in zip(points, visible, strict=True)
        ],
        centroid=anchor,
        centroid_name=ANCHORS[anchor],
        centroid_x=x,
        centroid_y=y,
    )


def _box(box: np.ndarray, shape: tuple[int, ...]) -> RegionOfInterest:
    """Whole pixels that contain the box, inside the picture; exact for a mask's box."""
    height, width = shape
    x1, y1 = np.floor(box[:2]).clip(0, (width - 1, height - 1)).astype(int).tolist()
    x2, y2 = np.ceil(box[2:]).clip((x1, y1), (width, height)).astype(int).tolist()
    return RegionOfInterest(x_offset=x1, y_offset=y1, width=x2 - x1, height=y2 - y1)

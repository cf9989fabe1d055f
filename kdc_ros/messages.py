"""People → kdc_msgs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from geometry_msgs.msg import Point
from sensor_msgs.msg import Image, RegionOfInterest
from std_msgs.msg import Header

from kdc_core import draw
from kdc_core.skeleton import ANCHORS
from kdc_core.track.visibility import CentroidSwitch as Switch
from kdc_core.types import Frame, People
from kdc_msgs.msg import CentroidSwitch, Keypoint, Person, PersonArray
from kdc_ros.images import to_message


@dataclass(frozen=True)
class Result:
    """All that is known about one picture; outputs take from it what they publish."""

    frame: Frame
    header: Header  # of the picture, for every message about it
    people: People
    points: np.ndarray | None = None  # (P, 17, 3) metres, NaN unknown; None: no depth camera
    switches: tuple[Switch, ...] = ()

    @cached_property
    def overlay(self) -> np.ndarray:
        """The picture with its people on it, drawn once for all who show it."""
        return draw.overlay(self.frame.image, self.people)


def person_array(result: Result, masks: bool = False) -> PersonArray:
    """Message of everybody in one frame, best score first, in pixels of that frame."""
    people = result.people
    height, width = people.labels.shape
    best_first = np.argsort(-people.score, kind="stable").tolist()
    message = PersonArray(header=result.header, height=height, width=width)
    message.people = [_person(people, row) for row in best_first]
    for person, row in zip(message.people, best_first, strict=True):
        if masks:
            person.mask = _cropped(people, person, result.header)
        if result.points is not None:
            person.keypoints_3d = [Point(x=x, y=y, z=z) for x, y, z in result.points[row].tolist()]
    return message


def events(result: Result) -> list[CentroidSwitch]:
    """One message for every centroid that moved in this frame."""
    return [
        CentroidSwitch(
            header=result.header, id=int(switch.id), from_anchor=int(switch.before),
            to_anchor=int(switch.after), reason=switch.reason,
        )
        for switch in result.switches
    ]  # fmt: skip


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


def _cropped(people: People, person: Person, header: Header) -> Image:
    box = person.box
    rows = slice(box.y_offset, box.y_offset + box.height)
    columns = slice(box.x_offset, box.x_offset + box.width)
    mine = people.labels[rows, columns] == person.id
    return to_message(mine.astype(np.uint8) * np.uint8(255), "mono8", header)

"""People → kdc_msgs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from geometry_msgs.msg import Point
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from kdc_core.io import overlay as draw_overlay
from kdc_core.skeleton import ANCHORS
from kdc_core.track import CentroidSwitch as Switch
from kdc_core.types import Frame, People
from kdc_msgs.msg import CentroidSwitch, Person, PersonArray
from kdc_ros.image_messages import to_message

_NO_MASK = Image()


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
        return draw_overlay(self.frame.image, self.people)


def body_id(tag: str, identity: int) -> str:
    """Name of a person as a body of REP 155: short, of letters and digits, a letter first.

    Args:
        tag: four letters drawn when the node is configured, because neither another node nor this
            one, which counts from 1 again, must use a name a second time; then the camera's letter.
        identity: of the person, in ``~/persons``.
    """
    return f"{tag}{identity}"


def person_array(
    result: Result, masks: bool = False, kept: list[Person] | None = None
) -> PersonArray:
    """Message of everybody in one frame, best score first, in pixels of that frame.

    ``kept`` are messages of people to fill again, more are added as needed: making one costs as
    much as filling three. They are those of the last array, too, which must be published by now.
    """
    people = result.people
    height, width = people.labels.shape
    best_first = np.argsort(-people.score, kind="stable")
    persons = [] if kept is None else kept
    persons.extend(Person() for _ in range(len(persons), len(people)))
    message = PersonArray(header=result.header, height=height, width=width)
    message.people = persons[: len(people)]
    for person, row in zip(message.people, _rows(people, best_first), strict=True):
        _fill(person, row)
    for person, row in zip(message.people, best_first.tolist(), strict=True):
        person.mask = _cropped(people, person, result.header) if masks else _NO_MASK
        places = [] if result.points is None else result.points[row].tolist()
        person.keypoints_3d = [Point(x=x, y=y, z=z) for x, y, z in places]
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


def _rows(people: People, order: np.ndarray) -> Iterator[tuple]:
    """Columns as Python values, person by person, as ``_fill`` takes them."""
    columns = (
        people.ids, people.phase, people.score, people.mask_score,
        _boxes(people.boxes, people.labels.shape), people.keypoints, people.visible,
        people.centroid, people.centroid_xy,
    )  # fmt: skip
    return zip(*(column[order].tolist() for column in columns), strict=True)


def _fill(person: Person, row: tuple) -> None:
    person.id, person.phase, person.score, person.mask_score, box, points, visible = row[:7]
    person.box.x_offset, person.box.y_offset, person.box.width, person.box.height = box
    for keypoint, (x, y, confidence), seen in zip(person.keypoints, points, visible, strict=True):
        keypoint.x, keypoint.y, keypoint.confidence, keypoint.visible = x, y, confidence, seen
    person.centroid, (person.centroid_x, person.centroid_y) = row[7:]
    person.centroid_name = ANCHORS[person.centroid]


def _boxes(boxes: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """x, y, width, height (P, 4): whole pixels inside the picture; exact for a mask's box."""
    height, width = shape
    corner = np.floor(boxes[:, :2]).clip(0, (width - 1, height - 1))
    opposite = np.ceil(boxes[:, 2:]).clip(corner, (width, height))
    return np.concatenate([corner, opposite - corner], axis=1).astype(int)


def _cropped(people: People, person: Person, header: Header) -> Image:
    box = person.box
    rows = slice(box.y_offset, box.y_offset + box.height)
    columns = slice(box.x_offset, box.x_offset + box.width)
    mine = people.labels[rows, columns] == person.id
    return to_message(mine.astype(np.uint8) * np.uint8(255), "mono8", header)

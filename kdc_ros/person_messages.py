"""People as messages of kdc_msgs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from geometry_msgs.msg import Point
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from kdc_core.io import overlay as draw_overlay
from kdc_core.person_rows import PersonRow, person_rows
from kdc_core.track import CentroidSwitch as Switch
from kdc_core.types import Frame, People
from kdc_msgs.msg import CentroidSwitch, Person, PersonArray
from kdc_ros.image_messages import to_message

_NO_MASK = Image()


@dataclass(frozen=True)
class FrameResult:
    """Everything known about one frame; each output takes from it what it publishes."""

    frame: Frame
    header: Header  # of the image, copied into every message about it
    people: People
    points: np.ndarray | None = None  # (P, 17, 3) metres, NaN = unknown; None without depth
    switches: tuple[Switch, ...] = ()

    @cached_property
    def overlay(self) -> np.ndarray:
        """The image with its people drawn on it, drawn once for all outputs."""
        return draw_overlay(self.frame.image, self.people)


def body_id(tag: str, identity: int) -> str:
    """Return the name of a person as a body of REP 155: letters and digits, a letter first.

    Args:
        tag: four random letters and the letter of the camera. They are drawn when the node is
            configured: neither another node nor this one, which counts from 1 again, may use a
            name twice.
        identity: id of the person in ``~/persons``.
    """
    return f"{tag}{identity}"


def person_array(
    result: FrameResult, masks: bool = False, reused: list[Person] | None = None
) -> PersonArray:
    """Return the message with all people of one frame, best score first.

    Args:
        result: of the frame.
        masks: include the mask of each person, cropped to the box.
        reused: messages of people to fill again; more are appended as needed. Making a message
            costs as much as filling three. They belong to the last array as well, which must have
            been published.
    """
    people = result.people
    height, width = people.labels.shape
    persons = [] if reused is None else reused
    persons.extend(Person() for _ in range(len(persons), len(people)))
    message = PersonArray(header=result.header, height=height, width=width)
    message.people = persons[: len(people)]
    for person, row in zip(message.people, person_rows(people), strict=True):
        _fill(person, row)
        person.mask = _cropped(people, row, result.header) if masks else _NO_MASK
        points = [] if result.points is None else result.points[row.row].tolist()
        person.keypoints_3d = [Point(x=x, y=y, z=z) for x, y, z in points]
    return message


def events(result: FrameResult) -> list[CentroidSwitch]:
    """Return one message for every centroid that moved in this frame."""
    return [
        CentroidSwitch(
            header=result.header,
            id=int(switch.id),
            from_anchor=int(switch.before),
            to_anchor=int(switch.after),
            reason=switch.reason,
        )
        for switch in result.switches
    ]


def _fill(person: Person, row: PersonRow) -> None:
    person.id, person.phase = row.id, row.phase
    person.score, person.mask_score = row.score, row.mask_score
    person.box.x_offset, person.box.y_offset, person.box.width, person.box.height = row.box
    for keypoint, (x, y, score), visible in zip(
        person.keypoints, row.keypoints, row.visible, strict=True
    ):
        keypoint.x, keypoint.y, keypoint.confidence, keypoint.visible = x, y, score, visible
    person.centroid, person.centroid_name = row.centroid, row.centroid_name
    person.centroid_x, person.centroid_y = row.centroid_xy


def _cropped(people: People, row: PersonRow, header: Header) -> Image:
    x, y, width, height = row.box
    own = people.labels[y : y + height, x : x + width] == row.id
    return to_message(own.astype(np.uint8) * np.uint8(255), "mono8", header)

"""People to messages, by hand-made figures."""

from __future__ import annotations

import numpy as np
from std_msgs.msg import Header

from kdc_core.skeleton import ANCHORS, KEYPOINTS
from kdc_core.types import People, Phase
from kdc_msgs.msg import Keypoint, Person
from kdc_ros.messages import person_array


def people() -> People:
    """Two people: id 7 with a mask, id 3 with a box that sticks out of the picture."""
    labels = np.zeros((48, 64), np.uint16)
    labels[10:20, 5:9] = 7
    keypoints = np.arange(2 * 17 * 3, dtype=np.float32).reshape(2, 17, 3)
    return People(
        ids=np.array([7, 3]),
        score=np.array([0.25, 0.75], np.float32),
        mask_score=np.array([0.5, 0.0], np.float32),
        keypoints=keypoints,
        visible=np.arange(34).reshape(2, 17) % 3 == 0,
        boxes=np.array([[5, 10, 9, 20], [-3.5, 40.2, 12.1, 60]], np.float32),
        centroid=np.array([17, 15]),
        centroid_xy=np.array([[6.5, 14.5], [3.0, 47.0]], np.float32),
        labels=labels,
        phase=np.array([Phase.CONFIRMED, Phase.OCCLUDED], np.uint8),
    )


def test_every_value_arrives_best_person_first():
    header = Header(frame_id="eye")
    message = person_array(people(), header)
    assert message.header is header
    assert (message.width, message.height) == (64, 48)
    second, first = message.people
    assert (second.id, first.id) == (3, 7)
    assert (first.score, first.mask_score) == (0.25, 0.5)
    assert (first.phase, second.phase) == (Person.CONFIRMED, Person.OCCLUDED)
    keypoint = first.keypoints[Keypoint.LEFT_KNEE]
    assert (keypoint.x, keypoint.y, keypoint.confidence) == (39.0, 40.0, 41.0)
    assert [k.visible for k in first.keypoints] == [k % 3 == 0 for k in range(17)]
    assert (first.centroid, first.centroid_name) == (Person.CENTRE, "centre")
    assert (second.centroid, second.centroid_name) == (Keypoint.LEFT_ANKLE, "left_ankle")
    assert (second.centroid_x, second.centroid_y) == (3.0, 47.0)


def test_a_box_is_the_masks_pixels_and_stays_in_the_picture():
    second, first = (person.box for person in person_array(people(), Header()).people)
    assert (first.x_offset, first.y_offset, first.width, first.height) == (5, 10, 4, 10)
    assert (second.x_offset, second.y_offset, second.width, second.height) == (0, 40, 13, 8)


def test_nobody_is_an_empty_list():
    empty = people()
    nobody = People(
        **{
            name: getattr(empty, name)[:0]
            for name in empty.__dataclass_fields__
            if name != "labels"
        },
        labels=np.zeros((48, 64), np.uint16),
    )
    message = person_array(nobody, Header())
    assert message.people == [] and message.width == 64


def test_constants_are_the_cores():
    for index, name in enumerate(KEYPOINTS):
        assert getattr(Keypoint, name.upper()) == index
    assert ANCHORS[Person.CENTRE] == "centre"
    for phase in Phase:
        assert getattr(Person, phase.name) == phase

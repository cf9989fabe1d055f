"""Messages of people that were made by hand."""

from __future__ import annotations

import numpy as np

from kdc_core.skeleton import ANCHORS, KEYPOINTS
from kdc_core.track import CentroidSwitch
from kdc_core.types import People, Phase
from kdc_msgs.msg import Keypoint, Person
from kdc_ros.person_messages import events, person_array
from tests.people import two_people
from tests.ros.results import result


def test_person_array_has_every_value_best_score_first():
    made = result()
    message = person_array(made)
    assert message.header is made.header
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


def test_person_array_boxes_are_whole_pixels_inside_the_image():
    second, first = (person.box for person in person_array(result()).people)
    assert (first.x_offset, first.y_offset, first.width, first.height) == (5, 10, 4, 10)
    assert (second.x_offset, second.y_offset, second.width, second.height) == (0, 40, 13, 8)


def test_person_array_of_no_people_is_empty():
    two = two_people()
    empty = People(
        **{name: getattr(two, name)[:0] for name in two.__dataclass_fields__ if name != "labels"},
        labels=np.zeros((48, 64), np.uint16),
    )
    message = person_array(result(empty), masks=True)
    assert message.people == [] and message.width == 64


def test_person_array_has_masks_and_3d_keypoints_on_request():
    plain = person_array(result()).people[0]
    assert plain.mask.width == 0 and not plain.keypoints_3d
    points = np.arange(2 * 17 * 3, dtype=np.float32).reshape(2, 17, 3)
    second, first = person_array(result(points=points), masks=True).people
    assert (first.mask.width, first.mask.height, first.mask.encoding) == (4, 10, "mono8")
    assert set(first.mask.data) == {255} and first.mask.header.frame_id == "eye"
    assert (second.mask.width, second.mask.height) == (13, 8) and set(second.mask.data) == {0}
    knee = first.keypoints_3d[Keypoint.LEFT_KNEE]
    assert (knee.x, knee.y, knee.z) == (39.0, 40.0, 41.0)
    assert second.keypoints_3d[0].x == 51.0


def test_person_array_reused_messages_keep_nothing_of_the_last_frame():
    kept = []
    points = np.ones((2, 17, 3), np.float32)
    first = person_array(result(points=points), masks=True, reused=kept)
    assert len(kept) == 2 and first.people[0] is kept[0]
    again = person_array(result(), reused=kept)
    assert again.people == person_array(result()).people
    assert again.people[0] is kept[0] and len(kept) == 2


def test_events_have_one_message_per_switch():
    switch = CentroidSwitch(id=7, before=15, after=0, reason="left_ankle 0.7 -> 0.2", stamp=3.0)
    (event,) = events(result(switches=(switch,)))
    assert (event.id, event.from_anchor, event.to_anchor) == (7, Keypoint.LEFT_ANKLE, Keypoint.NOSE)
    assert event.reason == switch.reason and event.header.frame_id == "eye"


def test_message_constants_equal_those_of_the_core():
    for index, name in enumerate(KEYPOINTS):
        assert getattr(Keypoint, name.upper()) == index
    assert ANCHORS[Person.CENTRE] == "centre"
    for phase in Phase:
        assert getattr(Person, phase.name) == phase

"""People as vision_msgs and as bodies of ROS4HRI, from people that were made by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from std_msgs.msg import Header

from tests.people import two_people
from tests.ros.fakes import FakeNode
from tests.ros.results import result

pytestmark = pytest.mark.usefixtures("environment")


def people_with(**columns: object):
    """Return two people, id 7 and id 3, with some columns replaced."""
    return replace(two_people(), **columns)


def test_detections_are_sorted_by_score_and_keep_ids() -> None:
    from kdc_ros.detections import detections

    array = detections(result())
    assert [one.id for one in array.detections] == ["3", "7"]
    hypothesis = [one.results[0].hypothesis for one in array.detections]
    assert [h.score for h in hypothesis] == [0.75, 0.25]
    assert {h.class_id for h in hypothesis} == {"1"}
    assert {one.header.frame_id for one in (array, *array.detections)} == {"eye"}


@pytest.mark.parametrize(
    ("box", "centre", "size"),
    [
        ((5, 10, 9, 20), (6.5, 14.5), (4, 10)),  # 0 is the centre of the first pixel
        ((0, 0, 1, 1), (0.0, 0.0), (1, 1)),  # a single pixel
        ((-3.5, 40.25, 12.5, 60), (4.0, 49.625), (16, 19.75)),  # not clipped
    ],
)
def test_detections_box(box, centre, size) -> None:
    from kdc_ros.detections import detections

    people = people_with(boxes=np.float32([box, box]))
    made = detections(result(people)).detections[0].bbox
    assert (made.center.position.x, made.center.position.y) == centre
    assert (made.size_x, made.size_y) == size


def test_label_info_names_the_class_and_the_score() -> None:
    from kdc_ros.detections import label_info

    made = label_info(Header(frame_id="eye"), 0.25)
    assert [(one.class_id, one.class_name) for one in made.class_map] == [(1, "person")]
    assert made.threshold == 0.25 and made.header.frame_id == "eye"


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((16, 12, 32, 24), (0.25, 0.25, 0.5, 0.5)),  # of 64x48 pixels
        ((-8, -8, 80, 60), (0, 0, 1, 1)),  # clipped to the image
    ],
)
def test_hri_roi(box, expected) -> None:
    from kdc_ros.hri import roi

    made = roi(result(people_with(boxes=np.float32([box, box]), score=np.float32([1.5, 0.5]))), 0)
    assert (made.xmin, made.ymin, made.xmax, made.ymax) == expected
    assert made.c == 1.0, "clipped"


@pytest.mark.parametrize(
    ("box", "size"),
    [
        ((5, 10, 9, 20), (4, 10)),
        ((60, 40, 80, 60), (4, 8)),  # clipped to the image
        ((70, 60, 80, 80), (1, 1)),  # outside: the nearest pixel
        ((5, 10, 5, 10), (1, 1)),  # empty: one pixel
    ],
)
def test_hri_cropped(box, size) -> None:
    from kdc_ros.hri import cropped

    made = cropped(result(people_with(boxes=np.float32([box, box]))), 0)
    assert (made.width, made.height) == size


@pytest.mark.parametrize(("left", "right"), [(0.9, 0.3), (0.3, 0.9)])
def test_hri_skeleton_neck_is_between_the_shoulders_with_the_smaller_score(left, right) -> None:
    from hri_msgs.msg import Skeleton2D

    from kdc_ros.hri import skeleton

    people = two_people()
    people.keypoints[0, 5] = (40, 20, left)
    people.keypoints[0, 6] = (20, 10, right)
    neck = skeleton(result(people), 0).skeleton[Skeleton2D.NECK]
    assert (neck.x, neck.y) == pytest.approx((30.5 / 64, 15.5 / 48))
    assert neck.c == pytest.approx(0.3)


def test_hri_skeleton_points_outside_the_image_are_zero() -> None:
    from hri_msgs.msg import Skeleton2D

    from kdc_ros.hri import skeleton

    people = two_people()
    people.keypoints[0, 0] = (-5, 20, 0.9)
    nose = skeleton(result(people), 0).skeleton[Skeleton2D.NOSE]
    assert (nose.x, nose.y, nose.c) == (0, 0, 0)


def test_hri_bodies_appear_and_disappear_with_the_people() -> None:
    from kdc_ros.hri import Bodies

    node = FakeNode()
    bodies = Bodies(node, "abcda")
    bodies.publish(result(), ["wxyzb9"])
    tracked = node.publishers["/humans/bodies/tracked"].published
    assert tracked[-1].ids == ["wxyzb9", "abcda7", "abcda3"]
    assert {f"/humans/bodies/abcda7/{name}" for name in ("roi", "cropped", "skeleton2d")} <= set(
        node.publishers
    )
    node.publishers["/humans/bodies/abcda7/roi"].subscribers = 1
    bodies.publish(result(), [])
    published = {name: len(one.published) for name, one in node.publishers.items()}
    assert published.pop("/humans/bodies/abcda7/roi") == 1
    assert published.pop("/humans/bodies/tracked") == 2
    assert not any(published.values()), "no subscribers"
    bodies.clear(["wxyzb9"])
    assert tracked[-1].ids == ["wxyzb9"] and bodies.ids == []
    assert set(node.publishers) == {"/humans/bodies/tracked"}
    bodies.destroy()
    assert not node.publishers

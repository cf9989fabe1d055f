"""Skeletons for RViz of people that were made by hand."""

from __future__ import annotations

import numpy as np
import pytest
from visualization_msgs.msg import Marker

from kdc_core.io import FAINT
from kdc_core.skeleton import LIMBS
from kdc_ros.markers import THICKNESS, skeletons
from tests.people import two_people
from tests.ros.results import result


def test_skeletons_have_the_frame_of_the_image_and_ids_of_people():
    markers = skeletons(result()).markers
    assert markers[0].action == Marker.DELETEALL
    assert {m.header.frame_id for m in markers} == {"eye"}
    assert {m.id for m in markers[1:]} == {7, 3}
    assert len({(m.ns, m.id) for m in markers[1:]}) == len(markers) - 1
    texts = [m.text for m in markers if m.type == Marker.TEXT_VIEW_FACING]
    assert texts == ["7", "3"]


def test_skeletons_without_depth_are_in_the_image_plane():
    found = two_people()
    found.keypoints[0, :, :] = [63.0, 47.0, 1.0]  # the last pixel of 64 x 48
    joints = next(m for m in skeletons(result(found)).markers if m.ns == "joints" and m.id == 7)
    at = joints.points[0]
    assert (at.x, at.y, at.z) == pytest.approx((31.5 / 64, 23.5 / 64, 1.0))
    assert len(joints.points) == 17


def test_skeletons_with_depth_are_in_space_without_unknown_joints():
    points = np.ones((2, 17, 3), np.float32) * 3
    points[0, 9] = np.nan
    markers = skeletons(result(points=points)).markers
    joints, limbs = (
        next(m for m in markers if m.ns == ns and m.id == 7) for ns in ("joints", "limbs")
    )
    assert len(joints.points) == 16 and joints.points[0].z == 3.0
    assert len(limbs.points) == 2 * sum(9 not in pair for pair in LIMBS)


def test_skeletons_skip_a_person_without_joints():
    found = two_people()
    found.keypoints[1, :, 2] = 0.0
    assert {m.id for m in skeletons(result(found)).markers[1:]} == {7}


def test_skeletons_put_the_id_above_the_highest_joint():
    points = np.ones((2, 17, 3), np.float32) * 3
    points[0, 5, 1] = 1.0  # y points down
    markers = skeletons(result(points=points)).markers
    label = next(m for m in markers if m.type == Marker.TEXT_VIEW_FACING and m.id == 7)
    assert label.pose.position.y == pytest.approx(1.0 - 6 * THICKNESS)
    assert (label.pose.position.x, label.pose.position.z) == (3.0, 3.0)


@pytest.mark.parametrize(("confidence", "count"), [(FAINT, 1), (0.99 * FAINT, 0)])
def test_skeletons_show_joints_from_a_confidence_on(confidence, count):
    found = two_people()
    found.keypoints[0, :, 2] = 0.0
    found.keypoints[0, 3, 2] = confidence
    joints = [m for m in skeletons(result(found)).markers if m.ns == "joints" and m.id == 7]
    assert sum(len(marker.points) for marker in joints) == count

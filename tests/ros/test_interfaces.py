"""Outputs in foreign message types: REP 155, vision_msgs, TF; and depth."""

from __future__ import annotations

import re

import numpy as np
import pytest
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from scipy.spatial.transform import Rotation
from sensor_msgs.msg import CameraInfo, Image

from kdc_core.types import Frame, People, Phase
from kdc_msgs.msg import PersonArray
from kdc_ros.image_messages import to_message
from kdc_ros.params import NodeConfig
from kdc_ros.person_messages import FrameResult
from tests.ros.blobs import boxes_image
from tests.ros.harness import Running, header, image_message, stamp_anew

RELIABLE = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
BOXES = ((40, 60, 80, 180), (200, 120, 240, 160))
pytestmark = pytest.mark.timeout(300)  # the first time it compiles


@pytest.fixture(scope="module")
def node(environment):
    with Running.blobs(
        environment, publish_hri="true", depth_topic="/depth", depth_info_topic="/depth_info"
    ) as node:
        yield node


def test_detections_carry_ids_and_label_info_is_latched(probe, node):
    from vision_msgs.msg import Detection2DArray, LabelInfo

    detections = probe.listen(Detection2DArray, "/kdc/detections")
    persons = probe.listen(PersonArray, "/kdc/persons")
    labels = []
    probe.node.create_subscription(LabelInfo, "/kdc/label_info", labels.append, LATCHED)
    probe.until(lambda: labels, "a latched message does not come late")
    camera = probe.advertise(Image, "/image_raw", RELIABLE)
    probe.show(camera, image_message(boxes_image(*BOXES), 4), detections)
    probe.until(lambda: persons, "no persons")
    found = detections[-1].detections
    assert [one.id for one in found] == [str(p.id) for p in persons[-1].people] == ["1", "2"]
    box = found[1].bbox
    assert (box.size_x, box.size_y) == (40, 40)
    assert (box.center.position.x, box.center.position.y) == (219.5, 139.5)
    hypothesis = found[1].results[0].hypothesis
    assert hypothesis.score == pytest.approx(200 / 255)
    (person,) = labels[-1].class_map
    assert (str(person.class_id), person.class_name) == (hypothesis.class_id, "person")
    usual = NodeConfig().min_score
    assert labels[-1].threshold == pytest.approx(usual)
    for threshold in (0.5, usual):
        assert probe.set("min_score", threshold).successful
        probe.until(lambda t=threshold: labels[-1].threshold == pytest.approx(t), "not told")


@pytest.mark.parametrize(("encoding", "unit"), [("16UC1", 1000), ("32FC1", 1)])
def test_depth_gives_3d_keypoints_and_tf_frames(probe, node, encoding, unit):
    from hri_msgs.msg import IdsList
    from tf2_msgs.msg import TFMessage

    persons = probe.listen(PersonArray, "/kdc/persons")
    frames = probe.listen(TFMessage, "/tf")
    tracked = probe.listen(IdsList, "/humans/bodies/tracked")
    depths = probe.node.create_publisher(Image, "/depth", 10)
    infos = probe.node.create_publisher(CameraInfo, "/depth_info", 10)
    camera = probe.advertise(Image, "/image_raw", RELIABLE)
    probe.until(lambda: depths.get_subscription_count(), "depth is not subscribed")
    metres = np.full((120, 160), 2.5)  # half the size of the image
    metres[:, 80:] = 4.0
    values = (metres * unit).astype(np.uint16 if unit == 1000 else np.float32)
    depth = to_message(values, encoding, header(7))
    info = CameraInfo(header=header(7), width=160, height=120)
    info.k = [100.0, 0.0, 79.5, 0.0, 100.0, 59.5, 0.0, 0.0, 1.0]

    def placed():
        infos.publish(info)
        depths.publish(depth)
        probe.show(camera, image_message(boxes_image(*BOXES), 7), persons)
        return persons[-1].people[0].keypoints_3d and frames

    probe.until(placed, "no places")
    near, far = sorted(persons[-1].people, key=lambda p: p.box.x_offset)
    at = near.keypoints_3d[5]
    assert (at.x, at.y, at.z) == pytest.approx(
        ((59.5 / 2 - 0.25 - 79.5) / 100 * 2.5, 0.0, 2.5), abs=0.02
    )
    assert far.keypoints_3d[0].z == 4.0
    names = {one.child_frame_id: one for one in frames[-1].transforms}
    probe.until(lambda: len(tracked[-1].ids) == 2, "no bodies")
    names_of = {int(re.search(r"\d+$", name)[0]): f"body_{name}" for name in tracked[-1].ids}
    assert set(names) == {names_of[near.id], names_of[far.id]}
    body = names[names_of[near.id]]
    assert body.header.frame_id == "optical"
    moved, turned = body.transform.translation, body.transform.rotation
    assert moved.z == pytest.approx(2.5)
    rotation = Rotation.from_quat([turned.x, turned.y, turned.z, turned.w])
    assert rotation.apply([0, 0, 1]) == pytest.approx([0, -1, 0], abs=1e-6), "z up"
    towards = -np.array([moved.x, 0, moved.z])
    assert rotation.apply([1, 0, 0]) == pytest.approx(towards / np.linalg.norm(towards), abs=1e-6)


@pytest.mark.parametrize("reliability", [ReliabilityPolicy.RELIABLE, ReliabilityPolicy.BEST_EFFORT])
def test_depth_subscription_follows_the_publisher(probe, node, reliability):
    probe.until(
        lambda: not probe.node.count_publishers("/depth"),
        "a publisher too many",
    )
    probe.advertise(Image, "/depth", QoSProfile(depth=10, reliability=reliability))


def test_depth_of_another_time_or_frame_keeps_2d_people(probe, node):
    from diagnostic_msgs.msg import DiagnosticArray
    from tf2_msgs.msg import TFMessage

    persons = probe.listen(PersonArray, "/kdc/persons")
    reports = probe.listen(DiagnosticArray, "/diagnostics")
    camera = probe.advertise(Image, "/image_raw", RELIABLE)

    def complained(words, later, **change):
        def told():
            message = image_message(boxes_image(*BOXES))
            stamp_anew(message)
            message.header.stamp.sec += later
            for name, value in change.items():
                setattr(message.header, name, value)
            camera.publish(message)
            probe.spin(0.2)
            return words in reports[-1].status[0].message

        return told

    probe.until(complained("the nearest depth image is", 2), "no complaint about time")
    probe.until(lambda: persons[-1].header.stamp.sec == header(7).stamp.sec + 2, "no answer")
    assert len(persons[-1].people) == 2 and not persons[-1].people[0].keypoints_3d
    probe.until(
        complained("frame 'thermal', got a depth image in frame 'optical'", 0, frame_id="thermal"),
        "no complaint about the frame",
    )
    probe.until(lambda: persons[-1].header.frame_id == "thermal", "no answer")
    assert len(persons[-1].people) == 2
    frames = probe.listen(TFMessage, "/tf")
    probe.until(
        complained("/image_raw: images have no frame_id", 0, frame_id=""), "no complaint about it"
    )
    probe.until(lambda: persons[-1].header.frame_id == "", "no answer")
    assert persons[-1].people[0].keypoints_3d, "places are known"
    assert not [one for told in frames for one in told.transforms if not one.header.frame_id]


def test_skeleton_has_the_order_of_the_message_file(environment):
    from hri_msgs.msg import Skeleton2D

    from kdc_ros.hri import skeleton

    keypoints = np.zeros((1, 17, 3), np.float32)
    keypoints[0, :, 0] = 10 * np.arange(17) + 9.5  # COCO keypoint k is at x = (10 k + 10) / 200
    keypoints[0, :, 1] = 49.5
    keypoints[0, :, 2] = np.linspace(0.1, 0.9, 17)
    one = np.ones(1, np.float32)
    people = People(
        ids=np.array([3]),
        score=one,
        mask_score=one,
        keypoints=keypoints,
        visible=np.ones((1, 17), bool),
        boxes=np.zeros((1, 4), np.float32),
        centroid=np.array([0]),
        centroid_xy=np.zeros((1, 2), np.float32),
        labels=np.zeros((100, 200), np.uint16),
        phase=np.array([Phase.CONFIRMED], np.uint8),
    )
    made = skeleton(FrameResult(Frame(np.zeros((100, 200, 3), np.uint8)), header(1), people), 0)
    order = [
        "NOSE",
        None,
        "RIGHT_SHOULDER",
        "RIGHT_ELBOW",
        "RIGHT_WRIST",
        "LEFT_SHOULDER",
        "LEFT_ELBOW",
        "LEFT_WRIST",
        "RIGHT_HIP",
        "RIGHT_KNEE",
        "RIGHT_ANKLE",
        "LEFT_HIP",
        "LEFT_KNEE",
        "LEFT_ANKLE",
        "LEFT_EYE",
        "RIGHT_EYE",
        "LEFT_EAR",
        "RIGHT_EAR",
    ]
    from kdc_core.skeleton import KEYPOINTS

    for index, name in enumerate(order):
        point = made.skeleton[index]
        assert point.y == pytest.approx(0.5)
        if name is None:  # the neck: mean of the shoulders, 5 and 6
            assert Skeleton2D.NECK == index
            assert point.x == pytest.approx((60 + 70) / 2 / 200)
            assert point.c == pytest.approx(keypoints[0, 5, 2])
        else:
            coco = KEYPOINTS.index(name.lower())
            assert getattr(Skeleton2D, name) == index
            assert point.x == pytest.approx((10 * coco + 10) / 200), name
            assert point.c == pytest.approx(keypoints[0, coco, 2])

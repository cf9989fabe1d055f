"""Bodies of REP 155 appear and disappear: with people, with images, with their node."""

from __future__ import annotations

import importlib.util
import re
import signal
import time
from copy import deepcopy

import pytest
from lifecycle_msgs.msg import Transition
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image

from kdc_ros.image_messages import to_bgr
from kdc_ros.params import NodeConfig
from tests.ros.blobs import boxes_image
from tests.ros.harness import Running, image_message, stamp_anew

RELIABLE = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
BOXES = ((40, 60, 80, 180), (200, 120, 240, 160))
pytestmark = pytest.mark.timeout(300)  # the first time it compiles


def bodies_there(probe) -> set[str]:
    """Return the ids that have topics of their own."""
    names = [name for name, _ in probe.node.get_topic_names_and_types()]
    return {
        name.split("/")[3]
        for name in names
        if name.startswith("/humans/bodies/")
        and name.endswith("/skeleton2d")
        and probe.node.count_publishers(name)
    }


def test_bodies_have_topics_while_people_are_tracked(probe, environment):
    from hri_msgs.msg import IdsList, NormalizedRegionOfInterest2D, Skeleton2D

    with Running.blobs(environment, publish_hri="true"):
        tracked = probe.listen(IdsList, "/humans/bodies/tracked")
        camera = probe.advertise(Image, "/image_raw", RELIABLE)
        one, two = probe.show(camera, image_message(boxes_image(*BOXES), 1), tracked).ids
        assert re.fullmatch("[a-z]{4}a1", one) and two == f"{one[:-1]}2"
        probe.until(lambda: bodies_there(probe) == {one, two}, "no topics of the bodies")
        rois = probe.listen(NormalizedRegionOfInterest2D, f"/humans/bodies/{two}/roi")
        crops = probe.listen(Image, f"/humans/bodies/{two}/cropped")
        skeletons = probe.listen(Skeleton2D, f"/humans/bodies/{two}/skeleton2d")
        second = image_message(boxes_image(*BOXES), 2)
        roi = probe.show(camera, second, rois)
        sent_roi = deepcopy(second.header)
        crop = probe.show(camera, second, crops)
        silent = time.monotonic()
        nose = probe.show(camera, second, skeletons).skeleton[Skeleton2D.NOSE]
        assert (roi.xmin, roi.ymin, roi.xmax, roi.ymax) == pytest.approx(
            (200 / 320, 120 / 240, 240 / 320, 160 / 240)
        )
        assert roi.c == pytest.approx(200 / 255) and roi.header == sent_roi
        assert to_bgr(crop).shape == (40, 40, 3) and (to_bgr(crop) == 200).all()
        assert (nose.x, nose.y, nose.c) == pytest.approx((220 / 320, 140 / 240, 0.5), abs=0.003)

        probe.until(lambda: tracked[-1].ids == [], "bodies stay although no image comes any more")
        assert time.monotonic() - silent > NodeConfig().stale_after
        probe.show(camera, image_message(boxes_image(*BOXES[:1]), 3), tracked)
        probe.until(lambda: tracked[-1].ids == [one], "the second body stays")
        probe.until(lambda: bodies_there(probe) == {one}, "the topics of the second body stay")
        probe.enable(False)
        probe.until(lambda: tracked[-1].ids == [], "bodies are tracked after switching off")
        probe.until(lambda: not bodies_there(probe), "topics of bodies stay")
        probe.enable(True)


@pytest.mark.parametrize("signals", [(signal.SIGINT, signal.SIGINT), (signal.SIGTERM,)])
def test_bodies_are_removed_when_images_fail_and_when_the_node_ends(probe, environment, signals):
    from hri_msgs.msg import IdsList

    tracked = probe.listen(IdsList, "/humans/bodies/tracked")
    with Running.blobs(environment, publish_hri="true", stale_after="0.5") as node:
        camera = probe.advertise(Image, "/image_raw", RELIABLE)
        assert len(probe.show(camera, image_message(boxes_image(*BOXES), 1), tracked).ids) == 2
        unreadable = image_message(boxes_image(*BOXES), 2)
        unreadable.encoding = "theora"

        def gone():
            stamp_anew(unreadable)
            camera.publish(unreadable)
            probe.spin(0.05)
            return tracked[-1].ids == []

        probe.until(gone, "bodies stay although no image can be read", 5.0)
        assert probe.set("stale_after", 60.0).successful  # missing images remove nothing now
        before = set(probe.show(camera, image_message(boxes_image(*BOXES), 3), tracked).ids)
        for transition in "deactivate", "cleanup", "configure", "activate":
            assert probe.change(getattr(Transition, f"TRANSITION_{transition.upper()}"))
        after = set(probe.show(camera, image_message(boxes_image(*BOXES), 4), tracked).ids)
        assert len(before) == len(after) == 2
        assert not before & after, "ids of other bodies are used again"
        code, _, err = node.end(*signals)
        probe.until(lambda: tracked[-1].ids == [], "bodies outlive their node", 5.0)
    assert code == 0 and "Traceback" not in err, err


@pytest.mark.skipif(importlib.util.find_spec("hri_msgs") is not None, reason="hri_msgs is there")
def test_publish_hri_without_hri_msgs_names_the_package():
    with Running.blobs(publish_hri="true") as node:
        code, _, err = node.end()
    assert code == 2 and "publish_hri: needs hri_msgs: apt install" in err, err
    assert "Traceback" not in err

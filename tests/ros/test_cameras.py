"""Several cameras, the switch, people over time, simulated time; over real DDS."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CompressedImage, Image
from visualization_msgs.msg import Marker, MarkerArray

from kdc_core.types import Phase
from kdc_msgs.msg import CentroidSwitch, PersonArray
from kdc_ros.image_messages import compressed_to_bgr
from tests.ros.blobs import boxes_image
from tests.ros.harness import PATIENCE, Running, image_message
from tests.ros.load import Usage, sender, settled, still, values

BLOBS = str(Path(__file__).with_name("blobs.py"))
RELIABLE = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)


def test_node_with_two_cameras_keeps_sizes_stamps_and_ids_apart(probe):
    topics = '["/front/image_raw", "/back/image_raw"]'
    with still(0.02, image_topics=topics):
        heard = {name: probe.listen(PersonArray, f"/{name}/kdc/persons") for name in TWO}
        reports = probe.listen(DiagnosticArray, "/diagnostics")
        cameras = {name: probe.advertise(Image, f"/{name}/image_raw", RELIABLE) for name in TWO}
        for name in TWO:
            blank = image_message(np.zeros((8, 8, 3), np.uint8))
            blank.header.frame_id = "before"
            probe.ask(cameras[name], blank, heard[name])
        start, sent = time.monotonic(), {name: 0 for name in TWO}
        while time.monotonic() < start + 3:
            for name, (size, fps, seconds) in TWO.items():
                if sent[name] < (time.monotonic() - start) * fps:
                    sent[name] += 1
                    message = image_message(np.zeros((size[1], size[0], 3), np.uint8), sent[name])
                    message.header.frame_id, message.header.stamp.sec = name, seconds
                    cameras[name].publish(message)
            probe.executor.spin_once(timeout_sec=0.005)
        counts = [settled(probe, reports, index) for index in range(len(TWO))]
    for name, (_, _, seconds) in TWO.items():
        answers = [m for m in heard[name] if m.header.frame_id != "before"]
        assert len(answers) >= 0.3 * sent[name], (name, len(answers), sent[name])
        assert {m.header.frame_id for m in answers} == {name}
        assert {m.header.stamp.sec for m in answers} == {seconds}
        numbers = [m.header.stamp.nanosec for m in answers]
        assert numbers == sorted(set(numbers)), "each image at most once, in order"
    names = {status.name for status in reports[-1].status}
    assert names == {f"/kdc: /{name}/image_raw" for name in TWO}
    for count, name in zip(counts, TWO, strict=True):
        assert count["images received"] >= 0.7 * sent[name]


#: camera → size, fps, seconds of its stamps
TWO = {"front": ((640, 480), 12, 1000), "back": ((320, 240), 25, 2000)}


def test_node_with_a_fast_camera_does_not_starve_a_slow_one(probe):
    topics = '["/front/image_raw", "/back/image_raw"]'
    with still(0.05, image_topics=topics):  # 20 fps can be processed, 64 fps are sent
        slow = probe.listen(PersonArray, "/front/kdc/persons")
        fast = probe.listen(PersonArray, "/back/kdc/persons")
        for name in TWO:  # results before both sides know each other would be lost
            probe.until(
                lambda name=name: probe.node.count_publishers(f"/{name}/kdc/persons"), "no output"
            )
        probe.spin(1.0)
        with (
            sender(60, 5, "/back/image_raw", "320x240", "reliable") as back,
            sender(4, 5, "/front/image_raw", "640x480", "reliable") as front,
        ):
            for process in (back, front):
                probe.until(lambda p=process: p.process.poll() is not None, "goes on")
            sent = json.loads(front.process.stdout.readline())["sent"]
    assert len(slow) >= 0.7 * sent, (len(slow), sent)
    assert len(fast) >= 15


def test_node_remaps_topics_once(probe):
    swap = ["/front/image_raw:=/back/image_raw", "/back/image_raw:=/front/image_raw"]
    chain = ["/depth:=/front/depth", "/front/depth:=/back/depth"]
    words = [word for rule in (*swap, *chain) for word in ("-r", rule)]
    with Running(
        BLOBS,
        "--ros-args",
        *words,
        "-p",
        'image_topics:=["/front/image_raw"]',
        "-p",
        "depth_topic:=/depth",
        "-p",
        "depth_info_topic:=/info",
    ) as node:
        probe.advertise(Image, "/back/image_raw", RELIABLE)
        probe.advertise(Image, "/front/depth", RELIABLE)
        unwanted = ("/front/image_raw", "/back/depth", "/depth")
        assert not any(map(probe.node.count_subscribers, unwanted))
        code, _, err = node.end(signal.SIGINT)
    assert code == 0 and "waiting for images on /back/image_raw\n" in err, err


@pytest.mark.parametrize(
    ("rule", "topic"),
    [("image_raw:=/eye/rgb", "/eye/rgb/compressed"), ("image_raw/compressed:=/jpeg", "/jpeg")],
)
def test_node_appends_the_suffix_of_the_transport_after_remapping(probe, rule, topic):
    parameters = {"image_transport": "compressed"}
    with Running(BLOBS, "--ros-args", "-r", rule, parameters=parameters) as node:
        probe.advertise(CompressedImage, topic, RELIABLE)
        code, _, err = node.end(signal.SIGINT)
    assert code == 0 and f"waiting for images on {topic}\n" in err, err


def test_node_puts_cameras_of_one_namespace_below_their_topics(probe):
    with Running.blobs(image_topics='["/left", "/right"]'):
        for name in ("left", "right"):
            probe.until(
                lambda name=name: probe.node.count_publishers(f"/{name}/kdc/persons"), "no output"
            )


def test_node_refuses_cameras_whose_outputs_would_collide():
    topics = '["/a", "/b", "/a/image_raw"]'
    with Running.module("node", image_topics=topics) as node:
        code, _, err = node.end()
    assert code == 2 and "would be published in /a/kdc" in err, err
    assert "Traceback" not in err


def test_enable_false_stops_all_work(probe):
    with still(0.05) as node:
        persons = probe.listen(PersonArray, "/kdc/persons")
        reports = probe.listen(DiagnosticArray, "/diagnostics")
        with sender(30, 3 * PATIENCE) as camera:
            probe.until(lambda: len(persons) > 20, "no results")
            probe.until(lambda: int(values(reports[-1])["images dropped"]) > 20, "none dropped")
            probe.enable(False)
            probe.until(lambda: not probe.node.count_subscribers("/image_raw"), "subscribed")
            probe.until(lambda: reports[-1].status[0].message == "disabled", "not disabled")
            probe.spin(0.5)
            quiet, before = len(persons), Usage.of(node.process.pid)
            probe.spin(2.0)
            used = Usage.of(node.process.pid).cpu - before.cpu
            assert len(persons) == quiet
            assert used < 0.05 * 2.0, f"{used / 2:.1%} of a core"
            assert reports[-1].status[0].message == "disabled"
            assert int(values(reports[-1])["images dropped"]) > 20, "as they were"
            probe.enable(True)
            probe.until(lambda: len(persons) > quiet + 20, "no results after switching on")
            probe.until(lambda: reports[-1].status[0].message != "disabled", "disabled")
            counts = {name: int(n) for name, n in values(reports[-1]).items() if "images" in name}
            assert counts["images dropped"] <= counts["images received"], counts
            assert camera.process.poll() is None, "the camera had to go on during the test"


@pytest.mark.timeout(300)
def test_node_keeps_ids_of_crossing_people_and_publishes_switches(probe):
    pytest.importorskip("torch", reason="perfect fields are made by the training targets")
    with Running("tests/ros/actors.py") as node:
        persons = probe.listen(PersonArray, "/kdc/persons")
        events = probe.listen(CentroidSwitch, "/kdc/events")
        reports = probe.listen(DiagnosticArray, "/diagnostics")
        camera = probe.advertise(Image, "/image_raw", RELIABLE)
        blank = np.zeros((240, 320, 3), np.uint8)
        early = image_message(blank)
        early.header.stamp.sec -= 60  # no one is in view yet
        probe.ask(camera, early, persons)

        def answer(message):
            camera.publish(message)
            probe.until(lambda: persons[-1].header == message.header, "no answer")
            return persons[-1]

        crossed = []
        for k in range(34):
            message = image_message(blank, int(k / 15 * 1e6) % 10**6)
            message.header.stamp.sec += int(k / 15)
            crossed.append(answer(message))
        assert node.process.poll() is None
        for threshold, expected in [(0.97, 0), (0.25, 2)]:
            assert probe.set("min_score", threshold).successful
            message.header.stamp.nanosec += 1000
            last = answer(message)
            assert len(last.people) == expected, threshold
        dropped = settled(probe, reports)["images dropped"]
        late = image_message(blank, message.header.stamp.nanosec // 1000 - 1)
        late.header.stamp.sec = message.header.stamp.sec
        camera.publish(late)
        probe.until(lambda: settled(probe, reports)["images dropped"] == dropped + 1, "not late")
        message.header.stamp.nanosec += 1000
        assert [p.id for p in answer(message).people] == [p.id for p in last.people]
        message.header.stamp.sec -= 2
        assert not {p.id for p in answer(message).people} & {1, 2}
        probe.until(lambda: "went back by 2.000 s" in reports[-1].status[0].message, "not said")
    persons = [*crossed, last]
    assert {p.id for m in persons for p in m.people} == {1, 2}
    assert {p.phase for p in persons[-1].people} == {Phase.CONFIRMED}

    def x_of(message):
        return {p.id: p.box.x_offset for p in message.people}

    first, last = x_of(persons[0]), x_of(persons[-1])
    assert first[1] < first[2] and last[1] > last[2], "they have crossed"
    assert events, "in front of each other, other keypoints carry them"
    assert all(event.id in (1, 2) and event.from_anchor != event.to_anchor for event in events)
    assert all(event.reason for event in events)


def test_node_runs_on_simulated_time_that_pauses(probe):
    with Running.blobs(use_sim_time="true"):
        persons = probe.listen(PersonArray, "/kdc/persons")
        reports = probe.listen(DiagnosticArray, "/diagnostics")
        clock = probe.node.create_publisher(Clock, "/clock", 10)
        camera = probe.advertise(Image, "/image_raw", RELIABLE)
        probe.until(lambda: clock.get_subscription_count(), "no subscriber of the clock")
        tick = Clock()
        for second in (100, 101, 101, 101):  # it stands still, images go on
            tick.clock.sec = second
            clock.publish(tick)
            message = image_message(boxes_image((20, 30, 60, 150)))
            assert probe.ask(camera, message, persons).header == message.header

        def followed():
            clock.publish(tick)
            return reports[-1].header.stamp.sec == 101

        probe.until(followed, "diagnostics in other time")


def test_outputs_cropped_masks_overlay_and_markers_of_one_image(probe):
    with Running.blobs(cropped_masks="true"):
        persons = probe.listen(PersonArray, "/kdc/persons")
        skeletons = probe.listen(MarkerArray, "/kdc/skeletons")
        overlays = probe.listen(CompressedImage, "/kdc/overlay/compressed")
        camera = probe.advertise(Image, "/image_raw", RELIABLE)
        message = image_message(boxes_image((20, 30, 60, 150)))
        probe.ask(camera, message, overlays)  # by now all three have found each other
        (person,) = probe.ask(camera, message, persons).people
        probe.until(
            lambda: overlays[-1].header == message.header == skeletons[-1].markers[0].header,
            "a result of this image is missing",
        )
    assert (person.mask.width, person.mask.height) == (40, 120)
    assert set(person.mask.data) == {255}
    assert compressed_to_bgr(overlays[-1]).shape == (240, 320, 3)
    kinds = [marker.type for marker in skeletons[-1].markers[1:]]
    assert kinds == [Marker.LINE_LIST, Marker.SPHERE_LIST, Marker.TEXT_VIEW_FACING]
    assert skeletons[-1].markers[0].action == Marker.DELETEALL

"""The node as a process of its own, over real DDS."""

from __future__ import annotations

import signal
import time

import cv2
import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image
from std_srvs.srv import SetBool

from kdc_msgs.msg import PersonArray
from tests.ros.blobs import boxes_image
from tests.ros.harness import Running, header, image_message, stamp_anew

BOXES = ((20, 30, 60, 150), (200, 40, 230, 90))


def qos(name: str) -> QoSProfile:
    return QoSProfile(depth=1, reliability=ReliabilityPolicy[name.upper()])


@pytest.fixture(scope="class")
def node():
    with Running.blobs() as node:
        yield node


class TestOneNode:
    @pytest.mark.parametrize("reliability", ["reliable", "best_effort"])
    def test_node_publishes_people_mask_and_overlay_of_an_image(self, probe, node, reliability):
        persons = probe.listen(PersonArray, "/kdc/persons")
        masks = probe.listen(Image, "/kdc/mask")
        overlays = probe.listen(Image, "/kdc/overlay")
        camera = probe.advertise(Image, "/image_raw", qos(reliability))
        probe.until(
            lambda: all(
                probe.node.count_publishers(f"/kdc/{name}") for name in ("mask", "overlay")
            ),
            "no outputs",
        )
        sent = image_message(boxes_image(*BOXES))
        probe.ask(camera, sent, overlays)  # by now all three have found each other
        message = probe.ask(camera, sent, persons)
        probe.until(
            lambda: message.header == masks[-1].header == overlays[-1].header,
            "no mask or no overlay of this image",
        )
        assert message.header == sent.header
        assert (message.width, message.height) == (320, 240)
        boxes = sorted(
            (
                p.box.x_offset,
                p.box.y_offset,
                p.box.x_offset + p.box.width,
                p.box.y_offset + p.box.height,
            )
            for p in message.people
        )
        assert tuple(boxes) == BOXES
        mask = masks[-1]
        assert mask.encoding == "mono16"
        labels = np.frombuffer(mask.data, np.uint16).reshape(mask.height, mask.width)
        for person in message.people:
            x1, y1 = person.box.x_offset, person.box.y_offset
            mine = labels[y1 : y1 + person.box.height, x1 : x1 + person.box.width]
            assert (mine == person.id).all()
        assert (labels > 0).sum() == sum((x2 - x1) * (y2 - y1) for x1, y1, x2, y2 in BOXES)
        overlay = overlays[-1]
        assert (overlay.encoding, overlay.width, overlay.height) == ("bgr8", 320, 240)

    def test_node_changes_min_score_live_and_refuses_wrong_values(self, probe, node):
        persons = probe.listen(PersonArray, "/kdc/persons")
        camera = probe.advertise(Image, "/image_raw", qos("reliable"))
        dim = image_message(boxes_image(BOXES[0], value=100))
        assert len(probe.ask(camera, dim, persons).people) == 1
        assert probe.set("min_score", 0.6).successful
        assert len(probe.ask(camera, dim, persons).people) == 0

        for name, value, reason in (
            ("min_score", 1.5, "out of range"),
            ("min_score", "high", "type"),
            ("centroid_mode", "best", "centroid_mode: expected one of static, "),
            ("engine", "torch", "engine is read only when the node is configured"),
        ):
            result = probe.set(name, value)
            assert not result.successful and reason in result.reason, result
        assert probe.set("min_score", 0.15).successful

    def test_node_reports_bad_images_and_processes_the_next_one(self, probe, node):
        persons = probe.listen(PersonArray, "/kdc/persons")
        reports = probe.listen(DiagnosticArray, "/diagnostics")
        camera = probe.advertise(Image, "/image_raw", qos("reliable"))
        broken = image_message(boxes_image(BOXES[0]))
        broken.step = 7
        white = image_message(np.full((20, 20, 3), 255, np.uint8))

        def told(words):
            def heard():
                message = broken if "step" in words else white
                stamp_anew(message)
                camera.publish(message)
                probe.spin(0.2)
                last = [r.status[0] for r in reports[-1:]]
                return [s for s in last if s.level == DiagnosticStatus.WARN and words in s.message]

            return heard

        probe.until(told("expected a step of at least 960 bytes"), "no warning")
        probe.until(told("blinded"), "no warning")
        assert reports[-1].status[0].name == "/kdc"
        good = image_message(boxes_image(*BOXES))
        assert len(probe.ask(camera, good, persons).people) == 2

    def test_node_reports_a_bug_with_its_traceback_and_lives(self, probe, node):
        persons = probe.listen(PersonArray, "/kdc/persons")
        reports = probe.listen(DiagnosticArray, "/diagnostics")
        camera = probe.advertise(Image, "/image_raw", qos("reliable"))
        planted = image_message(np.full((20, 20, 3), 254, np.uint8))  # see blobs.py

        def reported():
            stamp_anew(planted)
            camera.publish(planted)
            probe.spin(0.2)
            return reports[-1].status[0].message.startswith("internal error: ValueError: operands")

        probe.until(reported, "no error in /diagnostics")
        assert reports[-1].status[0].level == DiagnosticStatus.ERROR
        good = image_message(boxes_image(*BOXES))
        assert len(probe.ask(camera, good, persons).people) == 2

    def test_node_warns_without_images(self, probe, node):
        reports = probe.listen(DiagnosticArray, "/diagnostics")
        assert probe.set("stale_after", 0.5).successful
        probe.until(
            lambda: reports[-1].status[0].message.startswith("no image for"),
            "no warning",
        )
        assert reports[-1].status[0].level == DiagnosticStatus.WARN
        assert probe.set("stale_after", 2.0).successful


def test_node_logs_a_bug_with_its_traceback_and_a_bad_image_in_one_line(probe):
    with Running.blobs() as node:
        reports = probe.listen(DiagnosticArray, "/diagnostics")
        camera = probe.advertise(Image, "/image_raw", qos("reliable"))
        for level, words in ((255, "blinded"), (254, "internal error")):
            message = image_message(np.full((20, 20, 3), level, np.uint8))

            def reported(message=message, words=words):
                stamp_anew(message)
                camera.publish(message)
                probe.spin(0.1)
                return words in reports[-1].status[0].message

            probe.until(reported, f"no {words}")
        code, _, err = node.end(signal.SIGINT)
    assert code == 0
    assert err.count("Traceback") == 1 and "np.zeros(3) + np.zeros(4)" in err, err
    before, _, after = err.partition("Traceback")
    assert "/image_raw: failed to process an image: blinded\n" in before
    assert "internal error: ValueError: operands could not be broadcast" in before + after


def test_node_processes_compressed_images(probe):
    with Running.blobs(image_transport="compressed"):
        persons = probe.listen(PersonArray, "/kdc/persons")
        camera = probe.advertise(CompressedImage, "/image_raw/compressed")
        message = CompressedImage(header=header(3), format="bgr8; png compressed bgr8")
        message.data.frombytes(cv2.imencode(".png", boxes_image(*BOXES))[1].tobytes())
        answer = probe.ask(camera, message, persons)
        assert len(answer.people) == 2 and answer.header == message.header


def test_node_with_a_slow_network_drops_old_images_and_processes_the_newest(probe):
    with Running.blobs(env={"BLOB_SECONDS": "0.25"}):
        persons = probe.listen(PersonArray, "/kdc/persons")
        camera = probe.advertise(Image, "/image_raw", qos("reliable"))
        probe.ask(camera, image_message(boxes_image()), persons)
        begin = time.monotonic()
        for index in range(1, 41):  # 40 images in a second, four can be processed
            message = image_message(boxes_image(BOXES[0]), index)
            message.header.stamp.sec += 1
            camera.publish(message)
            probe.spin(0.025)
        last = time.monotonic()
        probe.until(lambda: persons[-1].header.stamp.nanosec == 40_000, "the newest is missing")
        waited, elapsed = time.monotonic() - last, time.monotonic() - begin
        numbers = [message.header.stamp.nanosec for message in persons]
        answered = [number for number in numbers if number <= 40_000]
        assert answered == sorted(answered)
        assert 2 <= len(answered) <= elapsed / 0.25 + 1
        assert waited < 5, "one in work, then the newest; all of them would take 10 s"


def test_node_follows_a_lifecycle_manager(probe):
    change = probe.change

    def state():
        return probe.call(GetState, "/kdc/get_state", GetState.Request()).current_state.label

    with Running.blobs(autostart="false") as node:
        persons = probe.listen(PersonArray, "/kdc/persons")
        assert state() == "unconfigured"
        assert probe.set("centroid_mode", "static").successful
        assert change(Transition.TRANSITION_CONFIGURE) and state() == "inactive"
        assert probe.node.count_subscribers("/image_raw") == 0
        for _ in range(2):
            assert change(Transition.TRANSITION_ACTIVATE) and state() == "active"
            camera = probe.advertise(Image, "/image_raw", qos("reliable"))
            probe.ask(camera, image_message(boxes_image(*BOXES)), persons)
            assert change(Transition.TRANSITION_DEACTIVATE) and state() == "inactive"
            probe.until(lambda: probe.node.count_subscribers("/image_raw") == 0, "still subscribed")
            probe.node.destroy_publisher(camera)
        assert change(Transition.TRANSITION_CLEANUP) and state() == "unconfigured"
        assert change(Transition.TRANSITION_UNCONFIGURED_SHUTDOWN) and state() == "finalized"
        code, _, err = node.end(signal.SIGINT)
        assert code == 0 and "Traceback" not in err


def test_node_refuses_an_unavailable_transition_and_lives(probe):
    with Running.blobs() as node:
        persons = probe.listen(PersonArray, "/kdc/persons")
        camera = probe.advertise(Image, "/image_raw", qos("reliable"))
        for wrong in (Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_CLEANUP, 99):
            assert not probe.change(wrong), wrong
        for label in ("configure", "fly"):
            request = ChangeState.Request(transition=Transition(label=label))
            assert not probe.call(ChangeState, "/kdc/change_state", request).success
        assert node.process.poll() is None
        probe.ask(camera, image_message(boxes_image(*BOXES)), persons)
        assert probe.change(Transition.TRANSITION_DEACTIVATE)
        code, _, err = node.end(signal.SIGINT)
    assert code == 0 and "transition 99: not available while active" in err, err


@pytest.mark.parametrize(
    "signals", [(signal.SIGINT, signal.SIGINT, signal.SIGINT), (signal.SIGTERM,)]
)
def test_node_signals_while_processing_end_it_cleanly(probe, signals):
    with Running.blobs(env={"BLOB_SECONDS": "0.3"}) as node:
        camera = probe.advertise(Image, "/image_raw", qos("reliable"))
        for index in range(5):
            camera.publish(image_message(boxes_image(*BOXES), index))
            probe.spin(0.05)
        code, _, err = node.end(*signals, pause=0.05)
        assert code == 0, err
        assert "Traceback" not in err and "Error" not in err and "skipped" not in err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_node_signal_while_the_network_loads_ends_it_cleanly(number):
    with Running.blobs(env={"BLOB_OPEN_SECONDS": "0.7"}) as node:
        assert node.process.stdout.readline() == "opening\n"
        code, _, err = node.end(number, number, pause=0.2)
    assert code == 0 and "Traceback" not in err, err


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"min_score": "1.5"}, "min_score"),
        ({"min_score": "high"}, "min_score"),
        ({"centroid_mode": "best"}, "centroid_mode: expected one of static, single"),
        ({"model": "/nowhere/net.onnx"}, "/nowhere/net.onnx"),
        ({"engine": "abacus"}, "abacus"),
    ],
)
def test_a_wrong_start_is_one_line_and_exit_code_2(parameters, words):
    with Running.module("node", **parameters) as node:
        code, _, err = node.end()
    assert code == 2 and words in err, err
    assert "Traceback" not in err and len(err.strip().splitlines()) <= 2, err


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"depth_topic": "/depth/", "depth_info_topic": "/info"}, "/depth/"),
        ({"depth_topic": "/depth", "depth_info_topic": '"in fo"'}, "in fo"),
        ({"qos_overrides./image_raw.subscription.depth": "many"}, "qos_overrides./image_raw"),
    ],
)
def test_node_names_what_is_wrong_with_a_subscription(parameters, words):
    with Running.blobs(**parameters) as node:
        code, _, err = node.end()
    assert code == 2 and "see the error above" in err, err
    assert words in err.partition("error: the node could not start")[0], err
    assert "Traceback" not in err


def test_enable_with_a_wrong_topic_is_refused_and_the_node_lives(probe):
    depth = {"depth_topic": "/depth/", "depth_info_topic": "/info"}
    with Running.blobs(autostart="false", **depth) as node:
        assert probe.change(Transition.TRANSITION_CONFIGURE)
        probe.enable(False)
        assert probe.change(Transition.TRANSITION_ACTIVATE)
        answer = probe.call(SetBool, "/kdc/enable", SetBool.Request(data=True))
        assert not answer.success and "/depth/" in answer.message
        assert node.process.poll() is None
        probe.enable(False)
        _, _, err = node.end(signal.SIGINT)
    assert "inference disabled for /image_raw" in err and "waiting" not in err, err


def test_node_failed_activation_leaves_no_subscription(probe):
    wrong = {"qos_overrides./image_raw.subscription.depth": "many"}  # found out last
    depth = {"depth_topic": "/depth", "depth_info_topic": "/info"}
    with Running.blobs(autostart="false", **depth, **wrong):
        assert probe.change(Transition.TRANSITION_CONFIGURE)
        assert not probe.change(Transition.TRANSITION_ACTIVATE)
        state = probe.call(GetState, "/kdc/get_state", GetState.Request()).current_state.label
        assert state == "inactive"
        probe.spin(1.0)  # in which a subscription would be heard of
        assert not any(map(probe.node.count_subscribers, ("/info", "/depth", "/image_raw")))

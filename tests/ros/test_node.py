"""The node as a process of its own, over real DDS."""

from __future__ import annotations

import signal
import time

import cv2
import numpy as np
import pytest
from blobs import picture
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from harness import Running, header, image_message
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import GetState
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image

from kdc_msgs.msg import PersonArray

BOXES = ((20, 30, 60, 150), (200, 40, 230, 90))


def qos(name: str) -> QoSProfile:
    return QoSProfile(depth=1, reliability=ReliabilityPolicy[name.upper()])


def send_until(probe, publisher, message, heard) -> None:
    """Publish again and again: a best-effort picture may be lost."""
    count = len(heard)

    def sent():
        publisher.publish(message)
        probe.spin(0.1)
        return len(heard) > count

    probe.until(sent, "no answer")


@pytest.fixture(scope="class")
def node():
    with Running.blobs() as node:
        yield node


class TestOneNode:
    @pytest.mark.parametrize("reliability", ["reliable", "best_effort"])
    def test_a_picture_becomes_people_mask_and_overlay(self, probe, node, reliability):
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
        send_until(probe, camera, image_message(picture(*BOXES), 5), persons)
        probe.until(lambda: masks and overlays, "no mask or no overlay")

        message = persons[-1]
        assert message.header == header(5) == masks[-1].header == overlays[-1].header
        assert (message.width, message.height) == (320, 240)
        boxes = sorted(
            (p.box.x_offset, p.box.y_offset, p.box.x_offset + p.box.width,
             p.box.y_offset + p.box.height) for p in message.people
        )  # fmt: skip
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

    def test_thresholds_change_while_it_runs_and_wrong_values_are_refused(self, probe, node):
        persons = probe.listen(PersonArray, "/kdc/persons")
        camera = probe.advertise(Image, "/image_raw", qos("reliable"))
        dim = image_message(picture(BOXES[0], value=100))
        send_until(probe, camera, dim, persons)
        assert len(persons[-1].people) == 1
        assert probe.set("threshold", 0.6).successful
        send_until(probe, camera, dim, persons)
        assert len(persons[-1].people) == 0

        for name, value, reason in (
            ("threshold", 1.5, "out of range"),
            ("threshold", "high", "type"),
            ("centroid_mode", "best", "centroid_mode: expected one of static, "),
            ("engine", "torch", "engine is read when the node is configured"),
        ):
            result = probe.set(name, value)
            assert not result.successful and reason in result.reason, result
        assert probe.set("threshold", 0.15).successful

    def test_bad_pictures_are_reported_and_the_next_one_is_processed(self, probe, node):
        persons = probe.listen(PersonArray, "/kdc/persons")
        reports = probe.listen(DiagnosticArray, "/diagnostics")
        camera = probe.advertise(Image, "/image_raw", qos("reliable"))
        broken = image_message(picture(BOXES[0]))
        broken.step = 7
        white = image_message(np.full((20, 20, 3), 255, np.uint8))

        def told(words):
            def heard():
                camera.publish(broken if "step" in words else white)
                probe.spin(0.2)
                last = [r.status[0] for r in reports[-1:]]
                return [s for s in last if s.level == DiagnosticStatus.WARN and words in s.message]

            return heard

        probe.until(told("expected a step of at least 960 bytes"), "no warning")
        probe.until(told("blinded"), "no warning")
        assert reports[-1].status[0].name == "/kdc"
        send_until(probe, camera, image_message(picture(*BOXES)), persons)
        assert len(persons[-1].people) == 2

    def test_silence_is_a_warning_within_seconds(self, probe, node):
        reports = probe.listen(DiagnosticArray, "/diagnostics")
        assert probe.set("stale_after", 0.5).successful
        probe.until(
            lambda: reports and reports[-1].status[0].message.startswith("no picture for"),
            "no warning",
        )
        assert reports[-1].status[0].level == DiagnosticStatus.WARN
        assert probe.set("stale_after", 2.0).successful


def test_compressed_pictures(probe):
    with Running.blobs(image_transport="compressed"):
        persons = probe.listen(PersonArray, "/kdc/persons")
        camera = probe.advertise(CompressedImage, "/image_raw/compressed")
        message = CompressedImage(header=header(3), format="bgr8; png compressed bgr8")
        message.data.frombytes(cv2.imencode(".png", picture(*BOXES))[1].tobytes())
        send_until(probe, camera, message, persons)
        assert len(persons[-1].people) == 2 and persons[-1].header == header(3)


def test_a_slow_network_drops_old_pictures_and_answers_the_newest(probe):
    with Running.blobs(env={"BLOB_SECONDS": "0.25"}):
        persons = probe.listen(PersonArray, "/kdc/persons")
        camera = probe.advertise(Image, "/image_raw", qos("reliable"))
        send_until(probe, camera, image_message(picture(), 0), persons)
        probe.spin(0.6)
        persons.clear()
        for index in range(1, 41):  # 40 pictures in a second, four can be answered
            camera.publish(image_message(picture(BOXES[0]), index))
            probe.spin(0.025)
        last = time.monotonic()
        probe.until(
            lambda: persons and persons[-1].header.stamp.nanosec == 40, "the newest is missing"
        )
        answered = [message.header.stamp.nanosec for message in persons]
        assert answered == sorted(answered)
        assert 2 <= len(answered) <= 20
        assert time.monotonic() - last < 3 * 0.25 + 1.0  # one in work, then the newest


def test_lifecycle_by_a_manager(probe):
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
            send_until(probe, camera, image_message(picture(*BOXES)), persons)
            assert change(Transition.TRANSITION_DEACTIVATE) and state() == "inactive"
            probe.until(lambda: probe.node.count_subscribers("/image_raw") == 0, "still subscribed")
            probe.node.destroy_publisher(camera)
        assert change(Transition.TRANSITION_CLEANUP) and state() == "unconfigured"
        assert change(Transition.TRANSITION_UNCONFIGURED_SHUTDOWN) and state() == "finalized"
        code, _, err = node.end(signal.SIGINT)
        assert code == 0 and "Traceback" not in err


@pytest.mark.parametrize(
    "signals", [(signal.SIGINT, signal.SIGINT, signal.SIGINT), (signal.SIGTERM,)]
)
def test_signals_in_the_middle_of_work_end_it_cleanly(probe, signals):
    with Running.blobs(env={"BLOB_SECONDS": "0.3"}) as node:
        camera = probe.advertise(Image, "/image_raw", qos("reliable"))
        for index in range(5):
            camera.publish(image_message(picture(*BOXES), index))
            probe.spin(0.05)
        code, _, err = node.end(*signals, pause=0.05)
        assert code == 0, err
        assert "Traceback" not in err and "Error" not in err and "skipped" not in err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_the_network_loads_ends_it_cleanly(number):
    with Running.blobs(env={"BLOB_OPEN_SECONDS": "0.7"}) as node:
        assert node.process.stdout.readline() == "opening\n"
        code, _, err = node.end(number, number, pause=0.2)
    assert code == 0 and "Traceback" not in err, err


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"threshold": "1.5"}, "threshold"),
        ({"threshold": "high"}, "threshold"),
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

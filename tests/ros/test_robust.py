"""What goes wrong on robots: broken images, wrong parameters, killed cameras, signals."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import cv2
import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lifecycle_msgs.msg import Transition
from rclpy.duration import Duration
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Int32

from kdc_msgs.msg import PersonArray
from kdc_ros.image_messages import ENCODINGS
from kdc_ros.qos import wait_for_acks
from tests.ros.blobs import boxes_image
from tests.ros.encodings import REFERENCES, message, reference
from tests.ros.farewell import ROUNDS
from tests.ros.harness import PATIENCE, Running, image_message
from tests.ros.load import Usage, sender, settled, still, values

RELIABLE = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
BEST_EFFORT = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
SHM = Path("/dev/shm")
UINT = st.integers(0, 2**32 - 1)
QUIET = {
    "deadline": None,
    "database": None,
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
}


@st.composite
def broken_images(draw):
    """Images of every encoding with wrong sizes, steps, names and too little or too much data."""
    encoding = draw(st.sampled_from(ENCODINGS))
    made = message(REFERENCES[encoding][0](reference()), encoding)
    for name in draw(st.sets(st.sampled_from(["width", "height", "step"]), max_size=2)):
        near = max(0, getattr(made, name) + draw(st.integers(-3, 3)))
        setattr(made, name, draw(st.one_of(st.just(near), UINT)))
    made.is_bigendian = draw(st.sampled_from([0, 1, 255]))
    if draw(st.booleans()):
        made.encoding = draw(
            st.one_of(st.sampled_from(ENCODINGS), st.text("abc8UF16_", max_size=9))
        )
    kind = draw(st.sampled_from(["whole", "cut", "noise", "none"]))
    if kind == "cut":
        made.data = made.data[: draw(st.integers(0, len(made.data)))]
    elif kind != "whole":
        made.data = b"" if kind == "none" else draw(st.binary(max_size=3000))
    made.header.stamp.sec = draw(st.integers(-(2**31), 2**31 - 1))
    made.header.frame_id = draw(st.text("aß/é ", max_size=4))
    return made


@st.composite
def broken_compressed(draw):
    """JPEG and PNG with bytes changed, cut off, or of another kind altogether."""
    suffix = draw(st.sampled_from([".jpg", ".png"]))
    data = bytearray(cv2.imencode(suffix, reference())[1].tobytes())
    for _ in range(draw(st.integers(0, 4))):
        data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    if draw(st.booleans()):
        data = data[: draw(st.integers(0, len(data)))]
    if draw(st.integers(0, 9)) == 0:
        data = bytearray(draw(st.binary(max_size=500)))
    made = CompressedImage(format=draw(st.sampled_from(["jpeg", "png", "", "rgb8; jpeg x", "?"])))
    made.data.frombytes(bytes(data))
    return made


@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    ("kind", "topic", "strategy", "examples"),
    [
        (Image, "/image_raw", broken_images(), 1400),
        (CompressedImage, "/image_raw/compressed", broken_compressed(), 600),
    ],
)
def test_node_counts_every_one_of_2000_broken_images(probe, kind, topic, strategy, examples):
    transport = "compressed" if kind is CompressedImage else "raw"
    deep = {f"qos_overrides.{topic}.subscription.depth": 2000}  # so that DDS drops none
    with Running.blobs(image_transport=transport, **deep) as node:
        reports = probe.listen(DiagnosticArray, "/diagnostics")
        persons = probe.listen(PersonArray, "/kdc/persons")
        camera = probe.advertise(kind, topic, RELIABLE)
        sent = 0
        memory = []

        @settings(max_examples=examples, **QUIET)
        @given(strategy)
        def send(made):
            nonlocal sent
            camera.publish(made)
            sent += 1
            if sent % RELIABLE.depth == 0:  # what is replaced before it is received is lost
                assert camera.wait_for_all_acked(Duration(seconds=PATIENCE))
            probe.executor.spin_once(timeout_sec=0)
            time.sleep(0.003)
            if sent % 100 == 0:
                memory.append(Usage.of(node.process.pid).rss)

        send()
        counts = settled(probe, reports)
        assert sent >= examples
        assert counts["images received"] == sent
        assert counts["images failed"] > 0.1 * sent
        assert counts["images processed"] > 0.05 * sent
        assert memory[-1] - memory[len(memory) // 4] < 20, memory
        good = image_message(boxes_image((20, 30, 60, 150)))
        if kind is CompressedImage:
            good = CompressedImage(header=good.header, format="png")
            good.data.frombytes(cv2.imencode(".png", boxes_image((20, 30, 60, 150)))[1].tobytes())
        assert len(probe.ask(camera, good, persons).people) == 1, "the node is not well"


@pytest.mark.timeout(200)
def test_node_survives_fifty_rounds_through_the_lifecycle(probe):
    change, usage = probe.change, []
    with Running.blobs(autostart="false") as node:
        persons = probe.listen(PersonArray, "/kdc/persons")
        camera = probe.node.create_publisher(Image, "/image_raw", RELIABLE)
        for turn in range(50):
            assert change(Transition.TRANSITION_CONFIGURE), turn
            assert change(Transition.TRANSITION_ACTIVATE), turn
            if turn % 10 == 9:  # it works, and not only says so
                probe.ask(camera, image_message(boxes_image((20, 30, 60, 150))), persons, 0.5)
                usage.append(Usage.of(node.process.pid))
            assert change(Transition.TRANSITION_DEACTIVATE), turn
            assert change(Transition.TRANSITION_CLEANUP), turn
        assert change(Transition.TRANSITION_UNCONFIGURED_SHUTDOWN)
        code, _, err = node.end(signal.SIGINT)
    assert code == 0 and "Traceback" not in err, err
    assert usage[-1].threads == usage[0].threads
    assert usage[-1].rss - usage[1].rss < 10, [one.rss for one in usage]


WRONG = [
    ("min_score", 1.5),
    ("min_score", -0.1),
    ("min_score", float("nan")),
    ("min_score", "high"),
    ("min_score", True),
    ("min_score", 1),
    ("peak_threshold", 2.0),
    ("mask_threshold", -1.0),
    ("centroid_mode", "best"),
    ("centroid_mode", 3),
    ("stale_after", 0.0),
    ("stale_after", 1e9),
    ("depth_slop", -0.5),
    ("threads", -1),
    ("threads", 100000),
    ("long_side", 5000),
    ("engine", "torch"),
    ("model", "other.onnx"),
    ("image_transport", "theora"),
    ("image_reliability", "maybe"),
    ("image_topics", ["/a", "/b"]),
    ("image_topics", [""]),
    ("publish_hri", True),
    ("tracking", False),
    ("cropped_masks", "yes"),
    ("device", "tpu"),
]


def test_node_refuses_wrong_values_with_a_reason_and_keeps_the_old_ones(probe):
    with Running.blobs():
        persons = probe.listen(PersonArray, "/kdc/persons")
        camera = probe.advertise(Image, "/image_raw", RELIABLE)
        for name, value in WRONG:
            result = probe.set(name, value)
            assert not result.successful, (name, value)
            assert len(result.reason) > 10 and "\n" not in result.reason, result.reason
        dim = image_message(boxes_image((20, 30, 60, 150), value=100))
        assert len(probe.ask(camera, dim, persons).people) == 1


def test_node_min_score_acts_on_the_next_image(probe):
    with Running.blobs():
        persons = probe.listen(PersonArray, "/kdc/persons")
        camera = probe.advertise(Image, "/image_raw", RELIABLE)
        dim = image_message(boxes_image((20, 30, 60, 150), value=100))
        for turn, (threshold, expected) in enumerate([(0.2, 1), (0.6, 0), (0.3, 1), (0.5, 0)] * 3):
            assert probe.set("min_score", threshold).successful
            assert len(probe.ask(camera, dim, persons).people) == expected, (turn, threshold)


def segments(*processes: Running) -> set[str]:
    """Shared-memory files that processes have mapped."""
    return set().union(*(_mapped_by(Path(f"/proc/{one.process.pid}")) for one in processes))


def mapped() -> set[str]:
    """Shared-memory files that any process has mapped: Fast DDS shares ports between domains."""
    return set().union(*(_mapped_by(path) for path in Path("/proc").glob("[0-9]*")))


def _mapped_by(process: Path) -> set[str]:
    try:
        lines = (process / "maps").read_text().splitlines()
    except OSError:  # it has ended meanwhile
        return set()
    paths = (Path(line.rpartition(" ")[2]) for line in lines)
    return {p.name for p in paths if p.parent == SHM and p.name.startswith(("fastrtps", "fastdds"))}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_node_leaves_nothing_in_shared_memory(number):
    before = {path.name for path in SHM.iterdir()}
    with still() as node, sender(30, 2 * PATIENCE) as camera:
        end = time.monotonic() + PATIENCE
        while not {name for name in segments(node) & segments(camera) if "port" not in name}:
            assert time.monotonic() < end, "no image goes through shared memory"
            time.sleep(0.2)
        time.sleep(1.0)
        used = segments(node, camera)
        code, _, err = node.end(number, number, pause=0.02)
        assert code == 0 and "Traceback" not in err, err
        camera.process.send_signal(signal.SIGINT)
        camera.process.wait(PATIENCE)
    ours = used - before - mapped()
    assert ours
    assert not {name for name in ours if (SHM / name).exists()}


def test_node_reports_a_killed_camera_and_receives_its_successor(probe):
    with still(stale_after="0.5") as node:
        persons = probe.listen(PersonArray, "/kdc/persons")
        reports = probe.listen(DiagnosticArray, "/diagnostics")
        with sender(30, 2 * PATIENCE) as first:
            probe.until(lambda: len(persons) > 10, "no results")
            first.process.kill()
            first.process.wait(PATIENCE)
        probe.until(lambda: reports[-1].status[0].message.startswith("no image for"), "no warning")
        assert reports[-1].status[0].level == DiagnosticStatus.WARN
        count = len(persons)
        with sender(30, 2 * PATIENCE, reliability="reliable"):
            probe.until(lambda: len(persons) > count + 20, "the second camera is not heard")
            code, _, err = node.end(signal.SIGTERM)
        assert code == 0 and "Traceback" not in err, err


def test_node_ignores_bytes_that_are_no_message(probe):
    with Running.blobs() as node:
        persons = probe.listen(PersonArray, "/kdc/persons")
        camera = probe.advertise(Image, "/image_raw", RELIABLE)
        good = image_message(boxes_image((20, 30, 60, 150)))
        probe.ask(camera, good, persons)
        for rubbish in (b"\0\1\0\0rubbish", b"\0\1\0\0" + b"\xff" * 100, b"\0\1\0\0"):
            camera.publish(rubbish)
            probe.spin(0.2)
        before = Usage.of(node.process.pid).cpu
        probe.spin(1.0)
        assert Usage.of(node.process.pid).cpu - before < 0.3
        assert len(probe.ask(camera, good, persons).people) == 1


def test_node_warns_of_a_camera_with_incompatible_reliability(probe):
    with Running.blobs(image_reliability="reliable"):
        reports = probe.listen(DiagnosticArray, "/diagnostics")
        probe.node.create_publisher(Image, "/image_raw", BEST_EFFORT)
        probe.until(
            lambda: "offers best effort only" in values(reports[-1])["last error"], "no complaint"
        )


def test_wait_for_acks_delivers_the_last_message_on_a_busy_machine(probe):
    heard = probe.listen(Int32, "/farewell")
    with ExitStack() as stack:
        for _ in range(4):
            burner = stack.enter_context(subprocess.Popen([sys.executable, "-c", "while 1: pass"]))
            stack.callback(burner.kill)
        speaker = stack.enter_context(Running(str(Path(__file__).with_name("farewell.py"))))
        probe.until(lambda: speaker.process.poll() is not None, "it does not end")
    probe.until(lambda: len(heard) == ROUNDS, f"not all {ROUNDS}", 5.0)


def test_wait_for_acks_gives_up_on_a_stopped_subscriber(probe):
    with Running.blobs() as node:
        camera = probe.advertise(Image, "/image_raw", RELIABLE)
        node.process.send_signal(signal.SIGSTOP)
        camera.publish(image_message(boxes_image((20, 30, 60, 150))))
        start = time.monotonic()
        wait_for_acks([camera, camera], seconds=1.0)
        took = time.monotonic() - start
        node.process.send_signal(signal.SIGCONT)
    assert 0.9 < took < 1.9


@pytest.mark.parametrize("late", [0.0, 0.002, 0.01])
def test_node_signal_while_it_subscribes_anew_ends_it_cleanly(late):
    def said(words):
        while words not in (line := node.process.stderr.readline()):
            assert line, "it has ended by itself"

    with Running.blobs() as node:
        said("waiting for images")
        with sender(30, PATIENCE, reliability="reliable"):
            said("publishers offer reliable")
            time.sleep(late)
            code, _, err = node.end(signal.SIGINT, signal.SIGINT)
    assert code == 0 and "Traceback" not in err, err


def test_node_ends_soon_after_sigterm(probe):
    with still(0.2) as node:
        persons = probe.listen(PersonArray, "/kdc/persons")
        with sender(30, 2 * PATIENCE):
            probe.until(lambda: persons, "no results")
            start = time.monotonic()
            code, _, err = node.end(signal.SIGTERM)
            assert time.monotonic() - start < 10, "when launch kills"
    assert code == 0 and "Traceback" not in err and "Error" not in err, err


def test_node_allocates_no_memory_for_a_forged_image_size(probe):
    jpeg, png = (
        bytearray(cv2.imencode(suffix, np.zeros((8, 8, 3), np.uint8))[1].tobytes())
        for suffix in (".jpg", ".png")
    )
    at = jpeg.index(b"\xff\xc0")
    jpeg[at + 5 : at + 9] = b"\x40\x00\x40\x00"  # 16384 x 16384
    png[33] = 0xF0  # the chunk after the header speaks of 4 GB
    with Running.blobs(image_transport="compressed") as node:
        reports = probe.listen(DiagnosticArray, "/diagnostics")
        camera = probe.advertise(CompressedImage, "/image_raw/compressed", RELIABLE)
        before = Usage.of(node.process.pid).rss
        for giant, words in ((jpeg, "16384x16384"), (png, f"got {len(png)} bytes")):
            made = CompressedImage(format="")
            made.data.frombytes(bytes(giant))
            camera.publish(made)
            probe.until(
                lambda words=words: words in values(reports[-1])["last error"], "no complaint"
            )
        assert Usage.of(node.process.pid).peak - before < 50

"""Camera, node with a real network, and recorder as three processes, as ``make demo`` runs them."""

from __future__ import annotations

import json
import re
import signal
import time

import cv2
import numpy as np
import pytest
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile
from rclpy.time import Time
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from kdc_core.io.source import Source, open_source
from kdc_core.types import Frame
from kdc_ros import camera as camera_module
from kdc_ros import demo
from kdc_ros.image_messages import to_bgr, to_message
from kdc_ros.recorder import RecordNode
from tests.ros.harness import PATIENCE, Running


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    """12 frames at 6 per second; frame k is of grey level 20 k."""
    path = tmp_path_factory.mktemp("video") / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 6.0, (160, 120))
    for level in range(12):
        writer.write(np.full((120, 160, 3), 20 * level, np.uint8))
    writer.release()
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """The network of KDC, for small images."""
    onnx = pytest.importorskip("onnx")
    from kdc_core.engines import default_model
    from kdc_core.engines.model_file import read_info

    network, path = onnx.load(default_model()), tmp_path_factory.mktemp("model") / "net.onnx"
    onnx.helper.set_model_props(network, read_info(default_model()).at(160).to_metadata())
    onnx.save(network, path)
    return path


def test_camera_publishes_every_frame_in_time(probe, video):
    heard = []
    with Running.module("camera", source=f'"{video}"', wait_for_subscribers=1) as camera:
        probe.node.create_subscription(Image, "/image_raw", heard.append, QoSProfile(depth=20))
        probe.until(lambda: len(heard) == 12, f"{len(heard)} of 12 frames")
        code, out, err = camera.end()
    assert code == 0 and "Traceback" not in err
    assert json.loads(out) == {"published": 12}
    assert [round(to_bgr(m).mean() / 20) for m in heard] == list(range(12))
    stamps = [m.header.stamp.sec + m.header.stamp.nanosec * 1e-9 for m in heard]
    assert 1.0 < stamps[-1] - stamps[0] < 6.0, "11 periods of 1/6 s, the first one may be late"
    assert heard[0].header.frame_id == "camera"


def test_camera_with_loop_runs_until_it_is_stopped(probe, video):
    heard = []
    with Running.module("camera", source=f'"{video}"', loop="true", fps=60.0) as camera:
        probe.node.create_subscription(Image, "/image_raw", heard.append, QoSProfile(depth=20))
        probe.until(lambda: len(heard) > 30, f"{len(heard)} frames")
        code, out, err = camera.end(signal.SIGINT, signal.SIGINT)
    assert code == 0 and "Traceback" not in err
    assert json.loads(out)["published"] > 30


@pytest.mark.parametrize("name", ["camera", "recorder"])
def test_a_wrong_start_is_one_line_and_exit_code_2(name, tmp_path):
    path = tmp_path / "none" / "clip.avi"
    parameter = {"camera": "source", "recorder": "out"}[name]
    with Running.module(name, **{parameter: f'"{path}"'}) as process:
        code, _, err = process.end()
    assert code == 2 and "clip.avi" in err and len(err.strip().splitlines()) == 1, err


def test_demo_records_every_frame(video, model, tmp_path):
    out = tmp_path / "deep" / "demo.mp4"
    figures = demo.run(str(video), str(model), out, seconds=0)
    assert figures["published"] == 12
    assert figures["processed"] >= 6, figures  # a slow machine drops some
    assert 0 < figures["p50_ms"] <= figures["p95_ms"] < 5000
    capture = cv2.VideoCapture(str(out))
    assert capture.get(cv2.CAP_PROP_FPS) == pytest.approx(6)
    frames = 0
    while True:
        good, frame = capture.read()
        if not good:
            break
        assert frame.shape == (120, 160, 3)
        frames += 1
    assert figures["processed"] - 1 <= frames == figures["written"] <= 13


def test_recorder_takes_odd_sizes_and_fractional_rates(probe, tmp_path):
    values = {"out": str(tmp_path / "a.mp4"), "fps": 119.881}
    parameters = [Parameter(name, value=value) for name, value in values.items()]
    node = RecordNode(context=probe.context, parameter_overrides=parameters)
    for k in range(5):
        header = Header(stamp=Time(seconds=1000 + k / 119.881).to_msg())
        node.write(to_message(np.full((241, 321, 3), 200, np.uint8), "bgr8", header))
    node.destroy_node()
    frames = list(open_source(str(tmp_path / "a.mp4")))
    assert [frame.size for frame in frames] == [(322, 242)] * 5
    assert node.summary()["written"] == 5


def test_demo_ctrl_c_ends_an_endless_source_with_figures(video, model, tmp_path):
    out = tmp_path / "demo.mp4"
    with Running(
        "-m", "kdc_ros.demo", "--source", str(video), "--model", str(model), "--out", str(out)
    ) as process:
        for line in process.process.stdout:
            if line.startswith("starting the camera"):
                break
        end = time.monotonic() + PATIENCE
        while not out.exists():  # it begins with the first result
            assert time.monotonic() < end, "nothing is recorded"
            time.sleep(0.1)
        time.sleep(1.0)
        code, text, err = process.end(signal.SIGINT)
    assert code == 0 and "Traceback" not in err, err
    assert re.match(r".*demo\.mp4: \d+ frames in, [1-9]\d* processed", text), text


def test_demo_names_what_is_wrong(monkeypatch, capsys, video, tmp_path):
    for source, model, words in (
        (str(tmp_path / "none.avi"), "", "none.avi"),
        (str(video), "/nowhere/net.onnx", "the node process failed"),
    ):
        argv = ["demo", "--source", source, "--model", model, "--out", str(tmp_path / "out.mp4")]
        monkeypatch.setattr("sys.argv", argv)
        assert demo.main() == 2
        assert words in capsys.readouterr().err


class Webcam:
    """A source of 20 fps, each frame brighter by one; a late reader gets the old frames."""

    def __init__(self) -> None:
        self.start = time.monotonic()

    @property
    def newest(self) -> int:
        return int((time.monotonic() - self.start) * 20)

    def frames(self):
        for number in range(200):
            while self.newest < number:
                time.sleep(0.001)
            yield Frame(np.full((24, 32, 3), number, np.uint8))


@pytest.mark.parametrize(("fps", "apart"), [(0.0, 1), (5.0, 4)])
def test_camera_of_a_webcam_is_not_behind_after_waiting(probe, monkeypatch, fps, apart):
    webcam = Webcam()
    source = Source("camera 7", "camera", webcam.frames)
    monkeypatch.setattr(camera_module, "open_source", lambda text: source)
    values = {"source": "7", "fps": fps, "wait_for_subscribers": 1}
    parameters = [Parameter(name, value=value) for name, value in values.items()]
    node = camera_module.CameraNode(context=probe.context, parameter_overrides=parameters)
    behind, numbers = [], []

    def hear(message):
        numbers.append(int(to_bgr(message)[0, 0, 0]))
        behind.append(webcam.newest - numbers[-1])

    probe.executor.add_node(node)
    try:
        probe.until(lambda: webcam.newest > 30, "no frames yet")
        probe.node.create_subscription(Image, "/image_raw", hear, QoSProfile(depth=20))
        probe.until(lambda: len(numbers) > 10, "no images")
    finally:
        probe.executor.remove_node(node)
        node.destroy_node()
    assert numbers[0] > 30
    assert sorted(behind)[len(behind) // 2] <= 1, behind
    assert np.median(np.diff(numbers)) == apart, numbers

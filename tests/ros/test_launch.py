"""The launch file with the real launch system, which is part of ROS 2 and not on PyPI."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("launch_ros", reason="launch_ros comes with a ROS 2 installation only")

from ament_index_python.packages import PackageNotFoundError, get_package_prefix
from launch.launch_description_sources import get_launch_description_from_python_launch_file
from rcl_interfaces.srv import GetParameters

from kdc_msgs.msg import PersonArray
from kdc_ros import params

ROOT = Path(__file__).parents[2]
FILE = ROOT / "launch" / "camera.launch.py"
RUN = f"""
import sys
from launch import LaunchDescription, LaunchService
from launch.actions import ExecuteProcess, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
service = LaunchService()
service.include_launch_description(LaunchDescription([
    IncludeLaunchDescription(
        PythonLaunchDescriptionSource({str(FILE)!r}),
        launch_arguments=[word.split(":=", 1) for word in sys.argv[1:]]),
    ExecuteProcess(cmd=["sh", "-c", "echo a later one has: $MALLOC_TOP_PAD_."], output="screen")]))
sys.exit(service.run())
"""
pytestmark = pytest.mark.timeout(120)


class Launched:
    """Runs the file as ``ros2 launch`` does, and reads its output line by line."""

    def __init__(self, **arguments: str) -> None:
        try:
            get_package_prefix("kdc_ros")
        except PackageNotFoundError:
            pytest.skip("kdc_ros is not installed: pip install ., or colcon build")
        words = [f"{name}:={value}" for name, value in arguments.items()]
        self.process = subprocess.Popen(
            [sys.executable, "-c", RUN, *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            start_new_session=True,
        )
        self.said: list[str] = []

    def until(self, pattern: str) -> re.Match:
        end = time.monotonic() + 60
        while time.monotonic() < end and (line := self.process.stdout.readline()):
            self.said.append(line)
            if match := re.search(pattern, line):
                return match
        raise AssertionError(f"{pattern!r} was not printed:\n{''.join(self.said)}")

    def end(self) -> str:
        """Send Ctrl-C to the whole group, as a terminal does: every node gets it twice."""
        os.killpg(self.process.pid, signal.SIGINT)
        self.said.append(self.process.communicate(timeout=60)[0])
        return "".join(self.said)


@pytest.fixture
def launch():
    """Returns a function that starts ``Launched``; kills what is left after the test."""
    started = []

    def start(**arguments: str) -> Launched:
        started.append(Launched(**arguments))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            os.killpg(one.process.pid, signal.SIGKILL)
            one.process.wait()


@pytest.fixture
def clip(tmp_path):
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10.0, (160, 120))
    for _ in range(20):
        writer.write(np.zeros((120, 160, 3), np.uint8))
    writer.release()
    return path


def test_launch_describes_every_argument():
    described = get_launch_description_from_python_launch_file(str(FILE)).get_launch_arguments()
    names = {argument.name for argument in described}
    assert names >= {
        "namespace",
        "image",
        "params_file",
        "model",
        "engine",
        "device",
        "min_score",
        "image_reliability",
        "image_transport",
        "use_sim_time",
        "autostart",
        "respawn",
        "log_level",
        "publish_hri",
        "source",
        "shm_profile",
        "long_side",
    }
    assert all(len(argument.description) > 10 for argument in described)


def test_launch_has_every_parameter_of_the_node_as_an_argument():
    described = get_launch_description_from_python_launch_file(str(FILE)).get_launch_arguments()
    arguments = {argument.name: argument for argument in described}
    for row in params.described():
        assert row.description in arguments[row.name].description
        choices = ("true", "false") if row.kind is bool else row.choices
        assert set(arguments[row.name].choices or ()) == ({*choices, ""} if choices else set())


def test_launch_passes_parameters_with_their_types(launch, probe):
    given = {
        "image_topics": ("[/a/image, /b/image]", ["/a/image", "/b/image"], "string_array_value"),
        "cropped_masks": ("true", True, "bool_value"),
        "threads": ("2", 2, "integer_value"),
        "mask_threshold": ("0.5", 0.5, "double_value"),
        "centroid_mode": ("nearest", "nearest", "string_value"),
        "stale_after": ("3.0", 3.0, "double_value"),
    }
    launched = launch(**{name: text for name, (text, _, _) in given.items()})
    launched.until("waiting for images on /b/image")
    request = GetParameters.Request(names=list(given))
    answer = probe.call(GetParameters, "/kdc/get_parameters", request)
    for value, (name, (_, expected, field)) in zip(answer.values, given.items(), strict=True):
        got = getattr(value, field)
        assert (list(got) if isinstance(expected, list) else got) == expected, name
    launched.end()


def test_launch_connects_camera_and_node_and_ends_cleanly(launch, clip, probe):
    launched = launch(source=str(clip), namespace="robot", image="eye/image_raw", min_score="0.4")
    pid = launched.until(r"kdc_node-1\]: process started with pid \[(\d+)\]")[1]
    launched.until("waiting for images on /robot/eye/image_raw")
    assert b"MALLOC_TOP_PAD_=33554432" in Path(f"/proc/{pid}/environ").read_bytes()
    persons = probe.listen(PersonArray, "/robot/kdc/persons")
    probe.until(lambda: persons, "no results")
    text = launched.end()
    assert text.count("process has finished cleanly") == 3, text
    assert "a later one has: ." in text, text
    assert "Traceback" not in text


@pytest.mark.parametrize("said", ["", "true"])
def test_launch_use_sim_time_overrides_params_file(launch, clip, probe, tmp_path, said):
    file = tmp_path / "params.yaml"
    file.write_text(f"/**: {{ros__parameters: {{use_sim_time: {str(not said).lower()}}}}}")
    launched = launch(source=str(clip), params_file=str(file), use_sim_time=said)
    launched.until("waiting for images on /image_raw")
    request = GetParameters.Request(names=["use_sim_time"])
    for name, expected in (("kdc", True), ("camera", bool(said))):
        answer = probe.call(GetParameters, f"/{name}/get_parameters", request)
        assert answer.values[0].bool_value == expected, name
    launched.end()


def test_launch_source_is_always_raw(launch, clip, probe):
    launched = launch(source=str(clip), image_transport="compressed", shm_profile="none")
    launched.until("image_transport: raw")
    launched.until(r"waiting for images on /image_raw\n")
    persons = probe.listen(PersonArray, "/kdc/persons")
    probe.until(lambda: persons, "no results")
    launched.end()


def test_launch_respawn_restarts_a_killed_node(launch, clip):
    launched = launch(respawn="true")
    pid = int(launched.until(r"\[kdc_node-1\]: process started with pid \[(\d+)\]")[1])
    launched.until("waiting for images on /image_raw")
    os.kill(pid, signal.SIGKILL)
    again = int(launched.until(r"\[kdc_node-1\]: process started with pid \[(\d+)\]")[1])
    assert again != pid
    launched.until("waiting for images on /image_raw")
    assert "Traceback" not in launched.end()


def test_launch_without_autostart_waits(launch, clip):
    launched = launch(autostart="false", log_level="info")
    launched.until("process started")
    time.sleep(4)
    assert "waiting for images" not in launched.end()

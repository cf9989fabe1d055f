"""replay.launch.py with the real launch system, where ROS 2 brings it; it is not on PyPI."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("launch_ros", reason="launch_ros comes with a ROS 2 installation only")

from launch import LaunchContext
from launch.actions import ExecuteProcess, IncludeLaunchDescription
from launch.launch_description_sources import get_launch_description_from_python_launch_file

FILE = Path(__file__).parents[2] / "launch" / "replay.launch.py"


@pytest.fixture
def description():
    return get_launch_description_from_python_launch_file(str(FILE))


def test_launch_describes_arguments_and_requires_a_bag(description):
    arguments = {one.name: one for one in description.get_launch_arguments()}
    assert {"bag", "image", "rate", "start_offset", "delay", "record", "name"} <= set(arguments)
    assert [name for name, one in arguments.items() if not one.default_value] == ["bag"]
    assert all(one.description for one in arguments.values())


def test_launch_refuses_several_cameras(description, tmp_path):
    file = tmp_path / "params.yaml"
    file.write_text("robot:\n  kdc:\n    ros__parameters: {image_topics: [/a/image, /b/image]}\n")
    context = LaunchContext()
    given = {name: "0" for name in ("rate", "start_offset", "delay")}
    given |= {"bag": "walk", "record": "", "name": "kdc", "image": "image_raw"}
    context.launch_configurations.update(given | {"params_file": str(file)})
    with pytest.raises(ValueError, match="expected one camera to replay, got 2"):
        description.entities[-1].execute(context)


@pytest.mark.parametrize(("record", "delay"), [("", "3.0"), ("out", "3.0"), ("", "0.0")])
def test_launch_lets_the_player_publish_the_clock(description, record, delay):
    given = {"bag": "walk", "rate": "2.0", "record": record, "name": "kdc", "image": "image_raw",
             "start_offset": "1.5", "delay": delay}  # fmt: skip
    context = LaunchContext()
    context.launch_configurations.update(given)
    node = next(e for e in description.entities if isinstance(e, IncludeLaunchDescription))
    assert ("use_sim_time", "true") in list(node.launch_arguments)
    started = [
        " ".join(part[0].text for part in action.cmd)
        for entity in description.entities[-1:]
        for action in entity.execute(context)
        if isinstance(action, ExecuteProcess)
    ]
    player = [a for a in description.entities[-1].execute(context) if isinstance(a, ExecuteProcess)]
    environment = {"".join(p.text for p in name) for name, _ in player[-1].additional_env}
    assert "MALLOC_TOP_PAD_" in environment, "who sends pictures needs room for them"
    assert "bag play walk --clock 100 --rate 2.0 --start-offset 1.5" in started[-1]
    assert ("--delay 3.0" in started[-1]) == (delay == "3.0")  # ros2 bag refuses 0
    assert ("--delay" in started[-1]) == (delay == "3.0")
    assert len(started) == (2 if record else 1)
    assert "--remap /kdc/persons:=/kdc_recorded/persons /kdc/events:=/kdc_rec" in started[-1]
    assert started[-1].endswith("/humans/bodies/tracked:=/humans_recorded/bodies/tracked")
    if record:
        assert "bag record --use-sim-time -o out --regex" in started[0]

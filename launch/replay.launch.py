"""Play a recording into the live node, on the clock of the recording.

ros2 launch kdc_ros replay.launch.py bag:=walk image:=/camera/image_raw
ros2 launch kdc_ros replay.launch.py bag:=walk image:=/camera/image_raw record:=walk_kdc

It works with one camera. Results that are already in the recording are played on
/kdc_recorded/persons and so on, and the list of its bodies on /humans_recorded/bodies/tracked, so
that they are not mixed with the new ones and not recorded again. Topics of single bodies, whose
names differ in every run, and diagnostics are played as they are.

Frames are dropped as on the robot. Use `kdc replay` to process every frame, to get the same bytes
in every run, and for figures and a report.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from launch import LaunchContext, LaunchDescription
from launch.actions import (
    DeclareLaunchArgument,
    EmitEvent,
    ExecuteProcess,
    IncludeLaunchDescription,
    OpaqueFunction,
    RegisterEventHandler,
    TimerAction,
)
from launch.event_handlers import OnProcessExit
from launch.events import Shutdown
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration

from kdc_ros.environment import image_environment

#: topics of the node; those of the recording are played as <name>_recorded/<output>
OUTPUTS = (
    "persons",
    "events",
    "mask",
    "skeletons",
    "overlay",
    "overlay/compressed",
    "detections",
    "label_info",
)
DRAIN = 2.0  # seconds after the last image in which its results arrive
#: argument: (default or None, description); the others are those of camera.launch.py
ARGUMENTS = {
    "bag": (None, "Recording to play: a rosbag2 folder or a storage file."),
    "image": ("image_raw", "Image topic in the recording, without /compressed."),
    "rate": ("1.0", "Speed, as a multiple of real time."),
    "start_offset": ("0.0", "Seconds of the recording to skip."),
    "delay": ("5.0", "Seconds before the recording starts, in which the node loads its network."),
    "record": ("", "Folder for a recording of what the node publishes. Empty: none."),
    "name": ("kdc", "Name of the node. Its topics are <name>/persons, <name>/mask, ..."),
}


def generate_launch_description() -> LaunchDescription:
    """Return the node of camera.launch.py on simulated time, and the player."""
    arguments = [
        DeclareLaunchArgument(name, description=text)
        if default is None
        else DeclareLaunchArgument(name, default_value=default, description=text)
        for name, (default, text) in ARGUMENTS.items()
    ]
    camera = Path(__file__).with_name("camera.launch.py")
    node = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(str(camera)),
        launch_arguments={
            "use_sim_time": "true",
            "source": "",
            "image": LaunchConfiguration("image"),
            "name": LaunchConfiguration("name"),
        }.items(),
    )
    return LaunchDescription([*arguments, node, OpaqueFunction(function=_player)])


def _player(context: LaunchContext) -> list[Any]:
    """Return `ros2 bag play` with its clock, and `ros2 bag record` on request.

    When the recording ends, everything ends.
    """
    value = {name: LaunchConfiguration(name).perform(context) for name in ARGUMENTS}
    others = context.launch_configurations  # of camera.launch.py
    namespace, profile = others.get("namespace", ""), others.get("shm_profile", "")
    file = Path(others.get("params_file", ""))
    if file.is_file() and (count := _cameras(yaml.safe_load(file.read_text("utf-8")))) > 1:
        raise ValueError(f"{file}: image_topics: expected one camera to replay, got {count}")
    node = "".join(f"/{part}" for part in (namespace.strip("/"), value["name"]) if part)
    apart = [f"{node}/{output}:={node}_recorded/{output}" for output in OUTPUTS]
    apart.append("/humans/bodies/tracked:=/humans_recorded/bodies/tracked")
    delay = ["--delay", value["delay"]] if float(value["delay"]) else []  # 0 is refused
    play = ExecuteProcess(
        cmd=[
            *("ros2", "bag", "play", value["bag"], "--clock", "100", "--rate", value["rate"]),
            *("--start-offset", value["start_offset"], *delay, "--disable-keyboard-controls"),
            *("--remap", *apart),
        ],
        additional_env=image_environment(profile),
        output="screen",
    )
    after = TimerAction(period=DRAIN, actions=[EmitEvent(event=Shutdown(reason="played"))])
    ended = OnProcessExit(target_action=play, on_exit=[after])
    actions: list[Any] = [play, RegisterEventHandler(ended)]
    if value["record"]:
        outputs = f".*/{value['name']}/(persons|mask|events)$"
        record = ExecuteProcess(
            cmd=[
                *("ros2", "bag", "record", "--use-sim-time", "-o", value["record"]),
                *("--regex", outputs),
            ],
            additional_env=image_environment(profile),
            output="screen",
        )
        actions.insert(0, record)
    return actions


def _cameras(tree: Any) -> int:
    """Return the largest number of image_topics in a parameter file, of any node in it."""
    if not isinstance(tree, dict):
        return 0
    return max([len(tree.get("image_topics", ())), *map(_cameras, tree.values())])

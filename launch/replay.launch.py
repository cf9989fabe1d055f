"""A recording is played into the live node, with the recording's clock as everybody's time.

ros2 launch kdc_ros replay.launch.py bag:=walk image:=/camera/image_raw
ros2 launch kdc_ros replay.launch.py bag:=walk image:=/camera/image_raw record:=walk_kdc

For one camera. Results that the recording holds already are played as /kdc_recorded/persons and so
on, and the list of its bodies as /humans_recorded/bodies/tracked: they are neither mixed with the
new ones nor recorded again. What else it has of bodies, whose names are others each time, and its
diagnostics are played as they are.

Frames are dropped as on the robot. For every frame, the same bytes each time, figures and a report
use `kdc replay`.
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

from kdc_ros.environment import pictures

#: of the node; what a recording holds of them is played as <name>_recorded/<output>
OUTPUTS = (
    "persons", "events", "mask", "skeletons", "overlay", "overlay/compressed", "detections",
    "label_info",
)  # fmt: skip
LAST = 2.0  # seconds after the last picture in which its results come
#: argument: (default or None, description); the others are those of camera.launch.py
ARGUMENTS = {
    "bag": (None, "recording to play: a rosbag2 folder or a storage file"),
    "image": ("image_raw", "topic of the pictures in it, of one camera, without /compressed"),
    "rate": ("1.0", "pace, as a multiple of the recording's"),
    "start_offset": ("0.0", "seconds of the recording to leave out"),
    "delay": ("5.0", "seconds until it starts, for the node to load its network"),
    "record": ("", "folder for a new recording of what the node publishes; empty: none"),
    "name": ("kdc", "name of the node; its outputs are <name>/persons, <name>/mask, ..."),
}


def generate_launch_description() -> LaunchDescription:
    """The node of camera.launch.py on simulated time, and the player."""
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
            "use_sim_time": "true", "source": "",
            "image": LaunchConfiguration("image"), "name": LaunchConfiguration("name"),
        }.items(),
    )  # fmt: skip
    return LaunchDescription([*arguments, node, OpaqueFunction(function=_player)])


def _player(context: LaunchContext) -> list:
    """`ros2 bag play` with its clock, `ros2 bag record` if asked for; the end of one ends all."""
    value = {name: LaunchConfiguration(name).perform(context) for name in ARGUMENTS}
    others = context.launch_configurations  # of camera.launch.py
    namespace, profile = others.get("namespace", ""), others.get("shm_profile", "")
    file = Path(others.get("params_file", ""))
    if file.is_file() and (count := _cameras(yaml.safe_load(file.read_text("utf-8")))) > 1:
        raise ValueError(f"{file}: image_topics: expected one camera to replay, got {count}")
    place = "".join(f"/{part}" for part in (namespace.strip("/"), value["name"]) if part)
    apart = [f"{place}/{output}:={place}_recorded/{output}" for output in OUTPUTS]
    apart.append("/humans/bodies/tracked:=/humans_recorded/bodies/tracked")
    delay = ["--delay", value["delay"]] if float(value["delay"]) else []  # 0 is refused
    play = ExecuteProcess(
        cmd=[
            "ros2", "bag", "play", value["bag"], "--clock", "100", "--rate", value["rate"],
            "--start-offset", value["start_offset"], *delay, "--disable-keyboard-controls",
            "--remap", *apart,
        ],
        additional_env=pictures(profile), output="screen",
    )  # fmt: skip
    after = TimerAction(period=LAST, actions=[EmitEvent(event=Shutdown(reason="played"))])
    actions: list = [
        play, RegisterEventHandler(OnProcessExit(target_action=play, on_exit=[after]))
    ]  # fmt: skip
    if value["record"]:
        outputs = f".*/{value['name']}/(persons|mask|events)$"
        actions.insert(0, ExecuteProcess(
            cmd=["ros2", "bag", "record", "--use-sim-time", "-o", value["record"],
                 "--regex", outputs],
            additional_env=pictures(profile), output="screen",
        ))  # fmt: skip
    return actions


def _cameras(tree: Any) -> int:
    """Most topics in an image_topics of a parameter file, whichever nodes it is for."""
    if not isinstance(tree, dict):
        return 0
    return max([len(tree.get("image_topics", ())), *map(_cameras, tree.values())])

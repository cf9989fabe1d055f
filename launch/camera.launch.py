"""Start the node for a camera; on request also publish a video file or a webcam as that camera.

ros2 launch kdc_ros camera.launch.py image:=/camera/image_raw
ros2 launch kdc_ros camera.launch.py source:=0
"""

from __future__ import annotations

from typing import Any, List  # noqa: UP035  # launch_ros knows typing.List

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, LogInfo, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from kdc_ros.environment import FAST_DDS, config_file, image_environment
from kdc_ros.params import allowed_values, described

RESPAWN_DELAY = 2.0  # seconds
BOOLEANS = ("true", "false")
#: argument: (default, description, choices or None)
ARGUMENTS = {
    "namespace": ("", "Namespace of the node and of the camera.", None),
    "name": ("kdc", "Name of the node. Its topics are <name>/persons, <name>/mask, ...", None),
    "image": ("image_raw", "Image topic of the camera.", None),
    "params_file": (
        str(config_file("params.yaml")),
        "YAML file with parameters of the node.",
        None,
    ),
    "respawn": ("false", "Restart the node if it dies.", BOOLEANS),
    "log_level": ("info", "Log level: debug, info, warn, error or fatal.", None),
    "source": (
        "",
        "Video file or number of a webcam to publish on the topic <image>. Empty: none.",
        None,
    ),
    "loop": ("true", "Restart a video file at its end.", BOOLEANS),
    "shm_profile": (
        "",
        "Fast DDS profile with a shared-memory segment that is large enough for images. Empty: "
        f"the one named by {FAST_DDS[0]}, else config/fastdds_shm.xml. none: change nothing.",
        None,
    ),
}
#: parameter of the node: (type, description, choices or None). An empty value leaves the parameter
#: as it is in params_file
PARAMETERS: dict[str, tuple[Any, str, tuple[str, ...] | None]] = {
    row.name: (
        List[str] if row.kind is tuple else row.kind,  # noqa: UP006
        row.description + (f" Allowed: {allowed_values(row)}." if row.low is not None else ""),
        BOOLEANS if row.kind is bool else (row.choices or None),
    )
    for row in described()
} | {
    "use_sim_time": (
        bool,
        "Use the time of /clock, as for a replayed bag; also for the camera of source.",
        BOOLEANS,
    ),
}


def generate_launch_description() -> LaunchDescription:
    """Return the arguments and the processes that they start."""
    arguments = [
        DeclareLaunchArgument(name, default_value=default, description=text, choices=choices)
        for name, (default, text, choices) in ARGUMENTS.items()
    ] + [
        DeclareLaunchArgument(
            name,
            default_value="",
            description=f"{text} (Empty: the value in params_file.)",
            choices=choices and (*choices, ""),
        )
        for name, (_, text, choices) in PARAMETERS.items()
    ]
    return LaunchDescription([*arguments, OpaqueFunction(function=_processes)])


def _processes(context: LaunchContext) -> list[Any]:
    """Return the node and the camera. Only these processes get their environment variables."""
    value = {name: LaunchConfiguration(name).perform(context) for name in (*ARGUMENTS, *PARAMETERS)}
    common = {
        "package": "kdc_ros",
        "namespace": value["namespace"],
        "output": "screen",
        "remappings": [("image_raw", value["image"])],
        "arguments": ["--ros-args", "--log-level", value["log_level"]],
        "additional_env": image_environment(value["shm_profile"]),
    }
    given = {
        name: ParameterValue(LaunchConfiguration(name), value_type=kind)
        for name, (kind, _, _) in PARAMETERS.items()
        if value[name]
    }
    actions: list[Any] = []
    if value["source"]:
        if value["image_transport"] == "compressed":
            actions.append(LogInfo(msg="image_transport: raw, because source publishes raw images"))
        given["image_transport"] = "raw"
    actions.append(
        Node(
            executable="kdc_node",
            name=value["name"],
            parameters=[value["params_file"], given],
            respawn=value["respawn"] == "true",
            respawn_delay=RESPAWN_DELAY,
            **common,
        )
    )
    if value["source"]:
        camera = {
            "source": ParameterValue(LaunchConfiguration("source"), value_type=str),
            "loop": ParameterValue(LaunchConfiguration("loop"), value_type=bool),
            "wait_for_subscribers": 1,
        }
        if "use_sim_time" in given:
            camera["use_sim_time"] = given["use_sim_time"]
        actions.append(Node(executable="kdc_camera", name="camera", parameters=[camera], **common))
    return actions

"""A camera's pictures become people: starts the node, and a video file or webcam on request.

ros2 launch kdc_ros camera.launch.py image:=/camera/image_raw
ros2 launch kdc_ros camera.launch.py source:=0
"""

from __future__ import annotations

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, LogInfo, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from kdc_ros.environment import FAST_DDS, config_file, pictures
from kdc_ros.params import DEVICES, RELIABILITIES, TRANSPORTS

RESPAWN_DELAY = 2.0  # seconds
BOOLEANS = ("true", "false")
#: argument: (default, description, choices or None)
ARGUMENTS = {
    "namespace": ("", "namespace of the node and of the camera", None),
    "name": ("kdc", "name of the node; its outputs are <name>/persons, <name>/mask, ...", None),
    "image": ("image_raw", "topic of the pictures", None),
    "params_file": (str(config_file("params.yaml")), "YAML file with parameters of the node", None),
    "respawn": ("false", "start the node again when it dies", BOOLEANS),
    "log_level": ("info", "debug, info, warn, error or fatal", None),
    "source": ("", "video file or number of a webcam to publish as <image>; empty: none", None),
    "loop": ("true", "start a video file again at its end", BOOLEANS),
    "shm_profile": (
        "",
        "Fast DDS profile with a shared-memory segment that holds whole pictures; empty: that of "
        f"{FAST_DDS[0]}, else config/fastdds_shm.xml; none: leaves that as it is",
        None,
    ),
}
#: parameter of the node: (type, description, choices or None); empty leaves it to params_file
PARAMETERS = {
    "model": (str, "ONNX file of the network", None),
    "engine": (str, "what runs the network: auto, onnxruntime, openvino, ...", None),
    "device": (str, "auto, cpu or cuda", DEVICES),
    "long_side": (int, "longest side of the network's input, pixels; 0: the model's own", None),
    "min_score": (float, "score from which a person is reported, 0 to 1", None),
    "image_transport": (str, "raw, or compressed: pictures on <image>/compressed", TRANSPORTS),
    "image_reliability": (str, "QoS of the pictures and of depth", RELIABILITIES),
    "autostart": (bool, "configure and activate at once; false: a manager does it", BOOLEANS),
    "publish_hri": (bool, "ROS4HRI topics in /humans/bodies", BOOLEANS),
    "use_sim_time": (bool, "time from /clock, as for a replayed bag; of the camera, too", BOOLEANS),
}


def generate_launch_description() -> LaunchDescription:
    """Arguments, then what they ask for."""
    arguments = [
        DeclareLaunchArgument(name, default_value=default, description=text, choices=choices)
        for name, (default, text, choices) in ARGUMENTS.items()
    ] + [
        DeclareLaunchArgument(
            name, default_value="", description=f"{text} (empty: as in params_file)",
            choices=choices and (*choices, ""),
        )
        for name, (_, text, choices) in PARAMETERS.items()
    ]  # fmt: skip
    return LaunchDescription([*arguments, OpaqueFunction(function=_processes)])


def _processes(context: LaunchContext) -> list:
    """The node, the camera; their environment is theirs alone, whatever else is launched."""
    value = {name: LaunchConfiguration(name).perform(context) for name in (*ARGUMENTS, *PARAMETERS)}
    common = {
        "package": "kdc_ros", "namespace": value["namespace"], "output": "screen",
        "remappings": [("image_raw", value["image"])],
        "arguments": ["--ros-args", "--log-level", value["log_level"]],
        "additional_env": pictures(value["shm_profile"]),
    }  # fmt: skip
    asked = {
        name: ParameterValue(LaunchConfiguration(name), value_type=kind)
        for name, (kind, _, _) in PARAMETERS.items()
        if value[name]
    }
    actions: list = []
    if value["source"]:
        if value["image_transport"] == "compressed":
            actions.append(LogInfo(msg="image_transport: raw, as the pictures of source come"))
        asked["image_transport"] = "raw"
    actions.append(
        Node(
            executable="kdc_node", name=value["name"],
            parameters=[value["params_file"], asked], respawn=value["respawn"] == "true",
            respawn_delay=RESPAWN_DELAY, **common,
        )
    )  # fmt: skip
    if value["source"]:
        camera = {
            "source": ParameterValue(LaunchConfiguration("source"), value_type=str),
            "loop": ParameterValue(LaunchConfiguration("loop"), value_type=bool),
            "wait_for_subscribers": 1,
        }
        if "use_sim_time" in asked:
            camera["use_sim_time"] = asked["use_sim_time"]
        actions.append(Node(executable="kdc_camera", name="camera", parameters=[camera], **common))
    return actions

"""The node's parameters: one frozen dataclass, declared and read back in one loop."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import Field, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.node import Node
from rclpy.parameter import Parameter

from kdc_core.config import (
    AssignConfig,
    CentroidConfig,
    CentroidMode,
    DecodeConfig,
    HoughConfig,
)
from kdc_core.errors import InputError

DEVICES = ("auto", "cpu", "cuda")
RELIABILITIES = ("auto", "reliable", "best_effort")
TRANSPORTS = ("raw", "compressed")
MOST_CAMERAS = 26  # there is a letter for each in their bodies' ids
CPU_ENGINES = ("onnxruntime", "openvino")
GPU_ENGINES = ("tensorrt",)
_CORE = DecodeConfig()


def _parameter(
    default: Any, description: str, *, low: float | None = None, high: float | None = None,
    choices: tuple[str, ...] = (), live: bool = False,
) -> Any:  # fmt: skip
    """A field with what ``ros2 param describe`` tells; ``live`` may change while it runs."""
    about = {"description": description, "low": low, "high": high, "choices": choices, "live": live}
    return field(default=default, metadata=about)


@dataclass(frozen=True)
class NodeConfig:
    """Values of all parameters, checked.

    Raises:
        ValueError: a value is outside its range or not among its choices.
    """

    autostart: bool = _parameter(True, "configure and activate at start, without a manager")
    model: str = _parameter("", "ONNX file of the network; empty: the one that comes with KDC")
    engine: str = _parameter(
        "auto", "what runs the network: auto, onnxruntime, openvino, torch, tensorrt"
    )
    device: str = _parameter(
        "auto", "cuda: an engine on the GPU or none; cpu: none on the GPU", choices=DEVICES
    )
    threads: int = _parameter(0, "CPU threads of the network; 0: all cores", low=0, high=256)
    long_side: int = _parameter(
        0, "longest side of the network's input in pixels; 0: the model's own", low=0, high=4096
    )
    image_topics: tuple[str, ...] = _parameter(
        ("image_raw",), "topics of the pictures; outputs of several are in their namespaces"
    )
    image_transport: str = _parameter(
        "raw", "raw: image_raw is an Image; compressed: image_raw/compressed, jpeg or png",
        choices=TRANSPORTS,
    )  # fmt: skip
    image_reliability: str = _parameter(
        "auto", "QoS of pictures and depth; auto: reliable if every publisher offers it",
        choices=RELIABILITIES,
    )  # fmt: skip
    min_score: float = _parameter(
        0.25, "expected OKS or mask IoU from which a person is reported",
        low=0.0, high=1.0, live=True,
    )  # fmt: skip
    peak_threshold: float = _parameter(
        _CORE.hough.peak_threshold,
        "score from which a keypoint candidate is used: higher is faster",
        low=0.0, high=1.0, live=True,
    )  # fmt: skip
    mask_threshold: float = _parameter(
        _CORE.assign.min_seg, "probability from which a pixel can belong to a person",
        low=0.0, high=1.0, live=True,
    )  # fmt: skip
    centroid_mode: str = _parameter(
        _CORE.centroid.mode.value, "which keypoints attract a person's pixels",
        choices=tuple(mode.value for mode in CentroidMode), live=True,
    )  # fmt: skip
    tracking: bool = _parameter(
        True, "follow people: ids last, masks survive missed poses, ~/events is published"
    )
    cropped_masks: bool = _parameter(
        False, "each person's mask, of its box's size, in ~/persons", live=True
    )
    publish_hri: bool = _parameter(False, "ROS4HRI topics in /humans/bodies (REP 155)")
    depth_topic: str = _parameter(
        "",
        "depth picture registered to the camera's, for keypoints in space and a frame on /tf for "
        "every body; empty: none",
    )
    depth_info_topic: str = _parameter("", "CameraInfo of depth_topic")
    depth_slop: float = _parameter(
        0.05, "seconds that picture and depth may lie apart", low=0.0, high=1.0, live=True
    )
    stale_after: float = _parameter(
        2.0, "seconds without a picture until /diagnostics warns, and bodies of publish_hri go",
        low=0.1, high=3600.0, live=True,
    )  # fmt: skip

    def __post_init__(self) -> None:
        for about in fields(self):
            _check(about, getattr(self, about.name))
        if not all(self.image_topics) or not self.image_topics:
            raise InputError(f"image_topics: expected names of topics, got {self.image_topics}")
        if len(self.image_topics) > MOST_CAMERAS:
            raise InputError(f"image_topics: expected up to {MOST_CAMERAS} topics")
        if len(set(self.image_topics)) < len(self.image_topics):
            raise InputError(f"image_topics: expected each once, got {self.image_topics}")
        if bool(self.depth_topic) != bool(self.depth_info_topic):
            raise InputError("depth_topic, depth_info_topic: expected both or none")
        if self.depth_topic and len(self.image_topics) > 1:
            raise InputError("depth_topic: expected a single topic in image_topics beside it")
        if self.publish_hri and not self.tracking:
            raise InputError("publish_hri: expected tracking, because bodies keep their ids")
        if self.device == "cuda" and self.engine in CPU_ENGINES:
            raise InputError(f"device cuda: expected another engine, {self.engine} runs on the CPU")
        if self.device == "cpu" and self.engine in GPU_ENGINES:
            raise InputError(f"device cpu: expected another engine, {self.engine} runs on the GPU")

    @property
    def engine_name(self) -> str:
        """The engine to open: with ``auto``, the device chooses."""
        by_device = {"auto": "auto", "cpu": "cpu", "cuda": GPU_ENGINES[0]}
        return by_device[self.device] if self.engine == "auto" else self.engine

    @property
    def model_path(self) -> Path | None:
        """File of the network, None for the one that comes with KDC."""
        return Path(self.model).expanduser() if self.model else None

    @property
    def decode(self) -> DecodeConfig:
        """What the decoder must know of these parameters."""
        return DecodeConfig(
            hough=HoughConfig(peak_threshold=self.peak_threshold),
            centroid=CentroidConfig(mode=CentroidMode(self.centroid_mode)),
            assign=AssignConfig(min_seg=self.mask_threshold),
        )


def declare(node: Node) -> NodeConfig:
    """Declare every parameter on the node and return the values that the user gave.

    Raises:
        ValueError: a value is outside its range or not among its choices.
    """
    values = {f.name: _plain(node.declare_parameter(f.name, f.default, _descriptor(f)).value)
              for f in fields(NodeConfig)}  # fmt: skip
    return NodeConfig(**values)


def changed(config: NodeConfig, wanted: Iterable[Parameter], configured: bool) -> NodeConfig:
    """The parameters after a request to change some; others than ours are left to their owner.

    Raises:
        ValueError: a wrong value, or one that is only read when the node is configured.
    """
    about = {f.name: f for f in fields(NodeConfig)}
    values = {p.name: _plain(p.value) for p in wanted if p.name in about}
    for name, value in values.items():
        fixed = configured and not about[name].metadata["live"]
        if fixed and value != getattr(config, name):
            raise InputError(
                f"{name} is read when the node is configured: deactivate and clean it up first"
            )
    return replace(config, **values)


def _plain(value: Any) -> Any:
    """Arrays as tuples, which a frozen config compares and hashes."""
    return tuple(value) if isinstance(value, (list, tuple)) else value


def _check(about: Field, value: Any) -> None:
    low, high, choices = (about.metadata[key] for key in ("low", "high", "choices"))
    if choices and value not in choices:
        raise InputError(f"{about.name}: expected one of {', '.join(choices)}, got {value!r}")
    if low is not None and not low <= value <= high:  # also refuses NaN
        raise InputError(f"{about.name}: expected {low} to {high}, got {value}")


def _descriptor(about: Field) -> ParameterDescriptor:
    descriptor = ParameterDescriptor(description=about.metadata["description"])
    if about.metadata["choices"]:
        descriptor.additional_constraints = "one of " + ", ".join(about.metadata["choices"])
    low, high = about.metadata["low"], about.metadata["high"]
    if low is not None and isinstance(about.default, float):
        descriptor.floating_point_range = [FloatingPointRange(from_value=low, to_value=high)]
    elif low is not None:
        descriptor.integer_range = [IntegerRange(from_value=low, to_value=high, step=1)]
    return descriptor

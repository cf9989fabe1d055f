"""Parameters of the node: one table, from which everything about them is made.

The node declares them (``declare.py``), ``launch/camera.launch.py`` makes its arguments from them,
and this module writes their files. It needs no ROS::

    python -m kdc_ros.params --yaml > config/params.yaml
    python -m kdc_ros.params --markdown > docs/reference/parameters.md
"""

from __future__ import annotations

import argparse
import json
import sys
import textwrap
from collections.abc import Iterable
from dataclasses import Field, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol

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
MAX_CAMERAS = 26  # the body ids of each camera contain a letter for it
CPU_ENGINES = ("onnxruntime", "openvino")
GPU_ENGINES = ("tensorrt",)
_CORE = DecodeConfig()


def _parameter(
    default: Any,
    description: str,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] = (),
    live: bool = False,
) -> Any:
    """Return a field of ``NodeConfig``; ``live`` parameters can be changed while the node runs."""
    about = {"description": description, "low": low, "high": high, "choices": choices, "live": live}
    return field(default=default, metadata=about)


@dataclass(frozen=True)
class NodeConfig:
    """Values of all parameters, checked.

    Raises:
        InputError: a value is outside its range, not among its choices, or does not fit another.
    """

    autostart: bool = _parameter(
        True, "Configure and activate the node at start, without a lifecycle manager."
    )
    model: str = _parameter("", "ONNX file of the network. Empty: the model that comes with KDC.")
    engine: str = _parameter(
        "auto",
        "Inference engine that runs the network: auto, onnxruntime, openvino, torch or tensorrt.",
    )
    device: str = _parameter(
        "auto",
        "auto: prefer the GPU. cuda: require an engine on the GPU. cpu: never use the GPU.",
        choices=DEVICES,
    )
    threads: int = _parameter(
        0, "Number of CPU threads for the network. 0: all cores.", low=0, high=256
    )
    long_side: int = _parameter(
        0,
        "Longest side of the network's input in pixels. Smaller is faster and misses small "
        "people. 0: the size stored in the model.",
        low=0,
        high=4096,
    )
    image_topics: tuple[str, ...] = _parameter(
        ("image_raw",),
        "Image topics of the cameras. One camera: results are published below the name of the "
        "node. Several cameras: results are published in the namespace of each camera.",
    )
    image_transport: str = _parameter(
        "raw",
        "raw: subscribe to <topic> (sensor_msgs/Image). compressed: subscribe to "
        "<topic>/compressed (JPEG or PNG).",
        choices=TRANSPORTS,
    )
    image_reliability: str = _parameter(
        "auto",
        "QoS reliability of the image and depth subscriptions. auto: reliable if all publishers "
        "offer it, else best effort.",
        choices=RELIABILITIES,
    )
    min_score: float = _parameter(
        0.25,
        "Report people whose score or mask score reaches this value. A tracked person that has "
        "reached it once stays reported.",
        low=0.0,
        high=1.0,
        live=True,
    )
    peak_threshold: float = _parameter(
        _CORE.hough.peak_threshold,
        "Minimum score of a keypoint candidate. Higher is faster and misses faint keypoints.",
        low=0.0,
        high=1.0,
        live=True,
    )
    mask_threshold: float = _parameter(
        _CORE.assign.min_seg,
        "Minimum foreground probability of a pixel in a mask.",
        low=0.0,
        high=1.0,
        live=True,
    )
    centroid_mode: str = _parameter(
        _CORE.centroid.mode.value,
        "Anchors of a person that attract its pixels. static: the centre of the body. single: the "
        "most confident anchor. nearest: the confident anchor nearest to the pixel. weighted: all "
        "confident anchors, by confidence and distance. all: all anchors.",
        choices=tuple(mode.value for mode in CentroidMode),
        live=True,
    )
    tracking: bool = _parameter(
        True,
        "Track people: ids stay the same from frame to frame, masks survive missed poses, and "
        "~/events is published. false: process every frame independently.",
    )
    cropped_masks: bool = _parameter(
        False,
        "Include each person's mask, cropped to the bounding box, in ~/persons.",
        live=True,
    )
    publish_hri: bool = _parameter(
        False, "Publish people as ROS4HRI bodies in /humans/bodies (REP 155). Needs hri_msgs."
    )
    depth_topic: str = _parameter(
        "",
        "Depth image that is registered to the camera's image. With it, keypoints are published "
        "in 3D and each body gets a frame on /tf. Empty: no depth.",
    )
    depth_info_topic: str = _parameter("", "CameraInfo of depth_topic.")
    depth_slop: float = _parameter(
        0.05,
        "Maximum time between an image and its depth image, in seconds.",
        low=0.0,
        high=1.0,
        live=True,
    )
    stale_after: float = _parameter(
        2.0,
        "Time without an image, in seconds, after which /diagnostics warns and the bodies of "
        "publish_hri are removed.",
        low=0.1,
        high=3600.0,
        live=True,
    )

    def __post_init__(self) -> None:
        for about in fields(self):
            _check(about, getattr(self, about.name))
        if not all(self.image_topics) or not self.image_topics:
            raise InputError(f"image_topics: expected names of topics, got {self.image_topics}")
        if len(self.image_topics) > MAX_CAMERAS:
            raise InputError(
                f"image_topics: expected up to {MAX_CAMERAS} topics, got {len(self.image_topics)}"
            )
        if len(set(self.image_topics)) < len(self.image_topics):
            raise InputError(
                f"image_topics: expected every topic only once, got {self.image_topics}"
            )
        if bool(self.depth_topic) != bool(self.depth_info_topic):
            raise InputError("depth_topic and depth_info_topic: set both, or none of them")
        if self.depth_topic and len(self.image_topics) > 1:
            raise InputError("depth_topic: works with a single topic in image_topics only")
        if self.publish_hri and not self.tracking:
            raise InputError("publish_hri: needs tracking:=true, because bodies keep their ids")
        if self.device == "cuda" and self.engine in CPU_ENGINES:
            raise InputError(
                f"engine '{self.engine}' runs on the CPU only and cannot be used with device 'cuda'"
            )
        if self.device == "cpu" and self.engine in GPU_ENGINES:
            raise InputError(
                f"engine '{self.engine}' runs on the GPU only and cannot be used with device 'cpu'"
            )

    @property
    def engine_name(self) -> str:
        """Name of the engine to open; with ``auto``, the device decides."""
        by_device = {"auto": "auto", "cpu": "cpu", "cuda": GPU_ENGINES[0]}
        return by_device[self.device] if self.engine == "auto" else self.engine

    @property
    def model_path(self) -> Path | None:
        """File of the network; None for the model that comes with KDC."""
        return Path(self.model).expanduser() if self.model else None

    @property
    def decode(self) -> DecodeConfig:
        """Configuration of the decoder."""
        return DecodeConfig(
            hough=HoughConfig(peak_threshold=self.peak_threshold),
            centroid=CentroidConfig(mode=CentroidMode(self.centroid_mode)),
            assign=AssignConfig(min_seg=self.mask_threshold),
        )


class Assignment(Protocol):
    """A parameter and its new value, such as ``rclpy.parameter.Parameter``."""

    @property
    def name(self) -> str:
        """Name of the parameter."""
        ...

    @property
    def value(self) -> Any:
        """New value."""
        ...


def changed(config: NodeConfig, assignments: Iterable[Assignment], configured: bool) -> NodeConfig:
    """Return the parameters after some of them were set; foreign parameters are ignored.

    Args:
        config: the values so far.
        assignments: what a client asks to set.
        configured: True while the node is configured, when only live parameters can change.

    Raises:
        InputError: a value is wrong, or the parameter is only read when the node is configured.
    """
    about = {f.name: f for f in fields(NodeConfig)}
    values = {p.name: as_value(p.value) for p in assignments if p.name in about}
    for name, value in values.items():
        fixed = configured and not about[name].metadata["live"]
        if fixed and value != getattr(config, name):
            raise InputError(
                f"{name} is read only when the node is configured: deactivate the node and "
                "clean it up first"
            )
    return replace(config, **values)


def as_value(value: Any) -> Any:
    """Return a parameter's value as ``NodeConfig`` stores it: arrays become tuples."""
    return tuple(value) if isinstance(value, (list, tuple)) else value


def _check(about: Field, value: Any) -> None:
    low, high, choices = (about.metadata[key] for key in ("low", "high", "choices"))
    if choices and value not in choices:
        raise InputError(f"{about.name}: expected one of {', '.join(choices)}, got {value!r}")
    if low is not None and not low <= value <= high:  # also refuses NaN
        raise InputError(f"{about.name}: expected {low} to {high}, got {value}")


class Described(NamedTuple):
    """One row of the table, for files and launch arguments."""

    name: str
    kind: type  # bool, int, float, str, or tuple for a list of strings
    default: Any
    description: str
    choices: tuple[str, ...]
    low: float | None
    high: float | None
    live: bool


def described() -> list[Described]:
    """Return all parameters in the order of the table."""
    return [Described(f.name, type(f.default), f.default, **f.metadata) for f in fields(NodeConfig)]


def allowed_values(row: Described) -> str:
    """Return range or choices of a parameter as text; empty if anything goes."""
    if row.choices:
        return ", ".join(row.choices)
    return "" if row.low is None else f"{row.low:g} to {row.high:g}"


def to_yaml() -> str:
    """Return the text of ``config/params.yaml``: all parameters with their defaults."""
    lines = [
        "# Parameters of the KDC node with their default values.",
        "# Generated by: python -m kdc_ros.params --yaml",
        "# A parameter marked (live) can be changed while the node runs:",
        "#   ros2 param set /kdc min_score 0.3",
        "/**:",
        "  ros__parameters:",
    ]
    for row in described():
        extra = " (live)" if row.live else ""
        allowed = f" Allowed: {allowed_values(row)}." if allowed_values(row) else ""
        text = f"{row.description}{allowed}{extra}"
        lines += textwrap.wrap(text, 96, initial_indent="    # ", subsequent_indent="    # ")
        lines.append(f"    {row.name}: {_yaml_value(row.default)}")
    return "\n".join(lines) + "\n"


def _yaml_value(value: Any) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(value)}]"
    return value if isinstance(value, str) and value else json.dumps(value)


KINDS = {bool: "bool", int: "int", float: "float", str: "string", tuple: "list of strings"}


def to_markdown() -> str:
    """Return the text of ``docs/reference/parameters.md``: a table of all parameters."""
    lines = [
        "<!-- Generated by: python -m kdc_ros.params --markdown -->",
        "",
        "| parameter | type | default | allowed | live | description |",
        "|---|---|---|---|---|---|",
    ]
    for row in described():
        text = row.description.replace("<", "&lt;").replace(">", "&gt;")
        cells = (
            f"`{row.name}`",
            KINDS[row.kind],
            f"`{_yaml_value(row.default)}`",
            allowed_values(row),
            "yes" if row.live else "",
            text,
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Print the parameters as YAML or Markdown."""
    parser = argparse.ArgumentParser(prog="python -m kdc_ros.params", description=main.__doc__)
    form = parser.add_mutually_exclusive_group(required=True)
    form.add_argument("--yaml", action="store_true", help="text of config/params.yaml")
    form.add_argument(
        "--markdown", action="store_true", help="text of docs/reference/parameters.md"
    )
    args = parser.parse_args()
    sys.stdout.write(to_yaml() if args.yaml else to_markdown())


if __name__ == "__main__":
    main()

"""Records what the node publishes: the overlay as a video, people and latency as figures."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rcl_interfaces.msg import ParameterDescriptor
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.time import Time
from sensor_msgs.msg import Image

from kdc_core.errors import InputError
from kdc_core.io import GAP, VideoSink
from kdc_msgs.msg import PersonArray
from kdc_ros.image_messages import to_bgr
from kdc_ros.node_process import run

PARAMETERS = {
    "out": ("overlay.mp4", "video file to write, .mp4 or .avi"),
    "fps": (10.0, "pictures per second of the video"),
    "report_every": (10.0, "seconds between lines about how it goes"),
}


class RecordNode(Node):
    """Subscribes ``overlay`` and ``persons``; latency is from the picture's stamp to here.

    That needs the camera's clock to be this machine's.
    """

    def __init__(self, **kwargs: Any) -> None:
        """Subscribe.

        Raises:
            ValueError: the video's folder does not exist or its suffix is not known.
        """
        super().__init__("recorder", **kwargs)
        values = {
            name: self.declare_parameter(name, default, ParameterDescriptor(description=text)).value
            for name, (default, text) in PARAMETERS.items()
        }
        self._out = Path(values["out"])
        if not self._out.parent.is_dir() or self._out.suffix not in (".mp4", ".avi"):
            raise InputError(f"out: expected a .mp4 or .avi in a folder that exists: {self._out}")
        self._video = VideoSink(self._out, values["fps"])
        self._size: tuple[int, int] | None = None  # of its first picture
        self._written = 0  # frames of the video
        self._first = -math.inf  # stamp of its first picture, seconds
        self._people: list[int] = []  # per picture
        self._latency: list[float] = []  # ms
        # the camera ends before the results do: keep what comes faster than it can be encoded
        self._inputs = [
            self.create_subscription(PersonArray, "persons", self._count, QoSProfile(depth=100)),
            self.create_subscription(Image, "overlay", self._write, QoSProfile(depth=20)),
        ]
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._waiting = self.create_timer(0.1, self._announce, clock=steady)
        self.create_timer(values["report_every"], self._report, clock=steady)

    def summary(self) -> dict[str, Any]:
        """Figures of the recording: counts and latency percentiles in ms."""
        p50, p95 = np.percentile(self._latency, (50, 95)) if self._latency else (0.0, 0.0)
        return {
            "processed": len(self._people),
            "written": self._written,
            "persons": sum(self._people),
            "most": max(self._people, default=0),
            "p50_ms": round(float(p50), 1),
            "p95_ms": round(float(p95), 1),
        }

    def destroy_node(self) -> None:
        """Close the video."""
        try:
            self._video.close()
        except ValueError as error:  # a full disk
            self.get_logger().error(str(error))
        super().destroy_node()

    def _announce(self) -> None:
        """Say once on stdout that the node's outputs are there."""
        if all(self.count_publishers(one.topic_name) for one in self._inputs):
            self.destroy_timer(self._waiting)
            print(json.dumps({"ready": True}), flush=True)

    def _count(self, message: PersonArray) -> None:
        age = self.get_clock().now() - Time.from_msg(message.header.stamp)
        self._latency.append(age.nanoseconds / 1e6)
        self._people.append(len(message.people))

    def _write(self, message: Image) -> None:
        picture = to_bgr(message)
        self._size = self._size or picture.shape[1::-1]
        if self._size != picture.shape[1::-1]:  # a video has one size
            picture = cv2.resize(picture, self._size, interpolation=cv2.INTER_AREA)
        for _ in range(self._due(message)):
            self._video.write(picture, 0.0)
            self._written += 1

    def _due(self, message: Image) -> int:
        """Frames that the video lacks up to this picture, so that it plays at the true speed."""
        stamp = Time.from_msg(message.header.stamp).nanoseconds / 1e9
        if not -GAP < stamp - self._first - self._written / self._video.fps < GAP:
            # the first one, or clocks were set
            self._first = stamp - self._written / self._video.fps
        return max(1, round((stamp - self._first) * self._video.fps) + 1 - self._written)

    def _report(self) -> None:
        if self._people:
            recent = np.median(self._latency[-100:])
            self.get_logger().info(
                f"{len(self._people)} pictures, {self._people[-1]} people now, "
                f"latency {recent:.0f} ms"
            )


def main() -> None:
    """Record until told to stop; the last line of stdout is the summary in JSON."""
    made: list[RecordNode] = []

    def make() -> RecordNode:
        made.append(RecordNode())
        return made[0]

    code = run(make)
    if made:
        print(json.dumps(made[0].summary()), flush=True)
    sys.exit(code)


if __name__ == "__main__":
    main()

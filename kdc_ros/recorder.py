"""Record what the node publishes: the overlay as a video, people and latency as figures."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.time import Time
from sensor_msgs.msg import Image

from kdc_core.errors import InputError
from kdc_core.io import VideoSink
from kdc_msgs.msg import PersonArray
from kdc_ros.declare import declare_all
from kdc_ros.image_messages import to_bgr
from kdc_ros.node_process import run

#: name: (default, description)
PARAMETERS: dict[str, tuple[Any, str]] = {
    "out": ("overlay.mp4", "Video file to write, .mp4 or .avi."),
    "fps": (10.0, "Frames per second of the video."),
    "report_every": (10.0, "Seconds between two lines of progress."),
}


class RecordNode(Node):
    """Subscribes to ``overlay`` and ``persons``.

    Latency is the time from the stamp of the image to the arrival here, so the camera must use the
    clock of this machine.
    """

    def __init__(self, **kwargs: Any) -> None:
        """Subscribe.

        Args:
            kwargs: further arguments of rclpy's ``Node``.

        Raises:
            InputError: the folder of the video does not exist, or its suffix is not known.
        """
        super().__init__("recorder", **kwargs)
        values = declare_all(self, PARAMETERS)
        path = Path(values["out"])
        if not path.parent.is_dir() or path.suffix not in (".mp4", ".avi"):
            raise InputError(f"out: expected a .mp4 or .avi file in an existing folder, got {path}")
        self._video = VideoSink(path, values["fps"], live=True)
        self._size: tuple[int, int] | None = None  # of the first image
        self._people: list[int] = []  # per frame
        self._latency: list[float] = []  # ms
        # the camera ends before the results do: keep those that come faster than they are encoded
        self._inputs = [
            self.create_subscription(PersonArray, "persons", self._count, QoSProfile(depth=100)),
            self.create_subscription(Image, "overlay", self.write, QoSProfile(depth=20)),
        ]
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._waiting = self.create_timer(0.1, self._announce, clock=steady)
        self.create_timer(values["report_every"], self._report, clock=steady)

    def summary(self) -> dict[str, Any]:
        """Return the figures of the recording: counts, and percentiles of the latency in ms."""
        p50, p95 = np.percentile(self._latency, (50, 95)) if self._latency else (0.0, 0.0)
        return {
            "processed": len(self._people),
            "written": self._video.written,
            "persons": sum(self._people),
            "most": max(self._people, default=0),
            "p50_ms": round(float(p50), 1),
            "p95_ms": round(float(p95), 1),
        }

    def write(self, message: Image) -> None:
        """Append an image to the video, which plays at the speed of the stamps."""
        image = to_bgr(message)
        self._size = self._size or (image.shape[1], image.shape[0])
        if self._size != (image.shape[1], image.shape[0]):  # a video has one size
            image = cv2.resize(image, self._size, interpolation=cv2.INTER_AREA)
        self._video.write(image, Time.from_msg(message.header.stamp).nanoseconds / 1e9)

    def destroy_node(self) -> None:
        """Close the video."""
        try:
            self._video.close()
        except InputError as error:  # a full disk
            self.get_logger().error(str(error))
        super().destroy_node()

    def _announce(self) -> None:
        """Print once on stdout that the node publishes its outputs."""
        if all(self.count_publishers(one.topic_name) for one in self._inputs):
            self.destroy_timer(self._waiting)
            print(json.dumps({"ready": True}), flush=True)

    def _count(self, message: PersonArray) -> None:
        age = self.get_clock().now() - Time.from_msg(message.header.stamp)
        self._latency.append(age.nanoseconds / 1e6)
        self._people.append(len(message.people))

    def _report(self) -> None:
        if self._people:
            recent = np.median(self._latency[-100:])
            self.get_logger().info(
                f"{len(self._people)} frames, {self._people[-1]} people in the last one, "
                f"latency {recent:.0f} ms"
            )


def main() -> None:
    """Record until Ctrl-C or SIGTERM. The last line of stdout is the summary in JSON."""
    sys.exit(run(RecordNode, RecordNode.summary))


if __name__ == "__main__":
    main()

"""A video file, a webcam or a stream as a ROS camera: publishes ``image_raw``."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Iterator
from itertools import chain, count
from typing import Any

from rcl_interfaces.msg import ParameterDescriptor
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from kdc_core.io import Source, open_source
from kdc_core.types import Frame
from kdc_ros.image_messages import to_message
from kdc_ros.node_process import run
from kdc_ros.qos import settle

PARAMETERS = {
    "source": ("0", "video file, picture, folder, stream address, or the number of a webcam"),
    "fps": (0.0, "pictures per second; 0: the file's own, or all that come from a webcam"),
    "loop": (False, "start a file again at its end"),
    "frame_id": ("camera", "optical frame in the header"),
    "wait_for_subscribers": (0, "subscriptions to image_raw to wait for before the first picture"),
}
LOOK_EVERY = 0.001  # seconds between reads of a live source, which wait for its next picture


class CameraNode(Node):
    """Publishes frames of a source, stamped with the time of publishing.

    Those of a file come at its pace. Those of a webcam or a stream are read as they come and
    published at once: what waited in between would be older than its stamp says. The publisher is
    reliable and keeps few pictures, as REP 2003 asks of sensors.
    """

    def __init__(self, **kwargs: Any) -> None:
        """Open the source.

        Raises:
            ValueError: it cannot be opened, or a parameter is wrong.
        """
        super().__init__("camera", **kwargs)
        values = {
            name: self.declare_parameter(name, default, ParameterDescriptor(description=text)).value
            for name, (default, text) in PARAMETERS.items()
        }
        self.published = 0
        self._frame_id = values["frame_id"]
        self._audience = values["wait_for_subscribers"]
        source = open_source(values["source"])
        self._frames = _frames(source, values["loop"] and not source.live)
        self._publisher = self.create_publisher(
            Image, "image_raw", QoSProfile(depth=5),
            qos_overriding_options=QoSOverridingOptions.with_default_policies(),
        )  # fmt: skip
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        if source.live:
            self._apart = 1.0 / values["fps"] if values["fps"] else 0.0
            self._due = -math.inf
            self.create_timer(LOOK_EVERY, self._pass_on, clock=steady)
            most = f", {values['fps']:g} pictures/s at most" if values["fps"] else ""
            self.get_logger().info(f"{source.name}{most}")
        else:
            self._next = next(self._frames, None)  # decoded ahead: the timer only has to publish
            fps = values["fps"] or source.fps or 30.0
            self.create_timer(1.0 / fps, self._publish_next, clock=steady)
            self.get_logger().info(f"{source.name} at {fps:g} pictures/s")

    def _publish_next(self) -> None:
        """The next picture of a file."""
        if self._next is None:
            settle([self._publisher], seconds=5.0)
            self.context.try_shutdown()
        elif self._wanted():
            self._publish(self._next)
            self._next = next(self._frames, None)

    def _pass_on(self) -> None:
        """The next picture of a live source; one that nobody wants is read, too."""
        frame = next(self._frames)
        now = time.monotonic()
        if now >= self._due and self._wanted():
            self._due = self._apart + (self._due if self._due + self._apart > now else now)
            self._publish(frame)

    def _wanted(self) -> bool:
        """Whether everybody to wait for is there, or was at the first picture."""
        return bool(self.published or self._publisher.get_subscription_count() >= self._audience)

    def _publish(self, frame: Frame) -> None:
        header = Header(stamp=self.get_clock().now().to_msg(), frame_id=self._frame_id)
        self._publisher.publish(to_message(frame.image, "bgr8", header))
        self.published += 1


def _frames(source: Source, loop: bool) -> Iterator[Frame]:
    passes = count() if loop else range(1)
    return chain.from_iterable(source for _ in passes)


def main() -> None:
    """Publish until the end of the source; the last line of stdout is a summary in JSON."""
    made: list[CameraNode] = []

    def make() -> CameraNode:
        made.append(CameraNode())
        return made[0]

    code = run(make)
    print(json.dumps({"published": made[0].published if made else 0}), flush=True)
    sys.exit(code)


if __name__ == "__main__":
    main()

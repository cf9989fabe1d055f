"""A video file, a webcam or a stream as a ROS camera: publishes ``image_raw``."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator
from itertools import chain, count
from typing import Any

from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from kdc_core.io import Source, open_source
from kdc_core.types import Frame
from kdc_ros.declare import declare_all
from kdc_ros.image_messages import to_message
from kdc_ros.node_process import run
from kdc_ros.qos import wait_for_acks

#: name: (default, description)
PARAMETERS: dict[str, tuple[Any, str]] = {
    "source": ("0", "Video file, image, folder, stream address, or number of a webcam."),
    "fps": (0.0, "Frames per second. 0: the rate of the file, or all frames of a webcam."),
    "loop": (False, "Start a file again at its end."),
    "frame_id": ("camera", "Optical frame in the header of the images."),
    "wait_for_subscribers": (
        0,
        "Number of subscriptions to image_raw to wait for before the first image.",
    ),
}
#: seconds between reads of a live source; a read waits for the next frame
READ_EVERY = 0.001
DEFAULT_FPS = 30.0  # of files without a rate


class CameraNode(Node):
    """Publishes the frames of a source, stamped with the time of publishing.

    The frames of a file are published at its rate. The frames of a webcam or a stream are read and
    published at once: a frame that waited would be older than its stamp. The publisher is reliable
    and has a short queue, as REP 2003 asks of sensors.
    """

    def __init__(self, **kwargs: Any) -> None:
        """Open the source.

        Args:
            kwargs: further arguments of rclpy's ``Node``.

        Raises:
            InputError: the source cannot be opened.
        """
        super().__init__("camera", **kwargs)
        values = declare_all(self, PARAMETERS)
        self.published = 0  # images so far
        self._frame_id = values["frame_id"]
        self._min_subscribers = values["wait_for_subscribers"]
        source = open_source(values["source"])
        self._frames = _frames(source, values["loop"] and not source.live)
        self._publisher = self.create_publisher(
            Image,
            "image_raw",
            QoSProfile(depth=5),
            qos_overriding_options=QoSOverridingOptions.with_default_policies(),
        )
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        if source.live:
            self._period = 1.0 / values["fps"] if values["fps"] else 0.0  # seconds, at least
            self._due = -math.inf
            self.create_timer(READ_EVERY, self._publish_live, clock=steady)
            limit = f", at most {values['fps']:g} fps" if values["fps"] else ""
            self.get_logger().info(f"{source.name}{limit}")
        else:
            self._next = next(self._frames, None)  # decoded ahead: the timer only has to publish
            fps = values["fps"] or source.fps or DEFAULT_FPS
            self.create_timer(1.0 / fps, self._publish_next, clock=steady)
            self.get_logger().info(f"{source.name} at {fps:g} fps")

    def summary(self) -> dict[str, Any]:
        """Return the number of published images."""
        return {"published": self.published}

    def _publish_next(self) -> None:
        """Publish the next frame of a file; end the process after the last one."""
        if self._next is None:
            wait_for_acks([self._publisher], seconds=5.0)
            self.context.try_shutdown()
        elif self._has_subscribers():
            self._publish(self._next)
            self._next = next(self._frames, None)

    def _publish_live(self) -> None:
        """Publish the next frame of a live source. A frame that is not due is read as well."""
        frame = next(self._frames)
        now = time.monotonic()
        if now >= self._due and self._has_subscribers():
            self._due = self._period + (self._due if self._due + self._period > now else now)
            self._publish(frame)

    def _has_subscribers(self) -> bool:
        """Return True once enough subscribers were there; they may leave later."""
        return bool(
            self.published or self._publisher.get_subscription_count() >= self._min_subscribers
        )

    def _publish(self, frame: Frame) -> None:
        header = Header(stamp=self.get_clock().now().to_msg(), frame_id=self._frame_id)
        self._publisher.publish(to_message(frame.image, "bgr8", header))
        self.published += 1


def _frames(source: Source, loop: bool) -> Iterator[Frame]:
    passes = count() if loop else range(1)
    return chain.from_iterable(source for _ in passes)


def main() -> None:
    """Publish until the end of the source. The last line of stdout is a summary in JSON."""
    sys.exit(run(CameraNode, CameraNode.summary))


if __name__ == "__main__":
    main()

"""Recent depth images, and the choice of the one that belongs to a given image.

Depth is matched by stamp here and not by a synchroniser in front of the node. A synchroniser would
hold every image back until a depth image arrives, and without depth there would be no people.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.subscription import Subscription
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from kdc_core.depth import Depth
from kdc_core.errors import InputError
from kdc_ros.adaptive_subscription import AdaptiveSubscription
from kdc_ros.error_report import given_by_user
from kdc_ros.image_messages import to_metres
from kdc_ros.params import NodeConfig
from kdc_ros.receiver import ExecutorReceiver

#: seconds, beside the slop, that depth is kept: an image waits while the network finishes another
KEPT = 1.0
MAX_BYTES = 1 << 27  # of depth images kept: a second of 1280x720 at 30 Hz in metres


class DepthInput:
    """Subscribes to a depth camera; ``take`` may be called from another thread."""

    def __init__(
        self,
        node: Node,
        config: Callable[[], NodeConfig],
        failed: Callable[[Exception], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare; ``open`` subscribes.

        Args:
            node: the node that subscribes.
            config: returns the parameters; ``depth_slop`` may change while the node runs.
            failed: gets exceptions of the callbacks.
            clock: seconds, moves forward.
        """
        self._node, self._config, self._clock = node, config, clock
        self._lock = threading.Lock()
        self._recent: deque[tuple[float, Image]] = deque()  # arrival in seconds, oldest first
        self._bytes = 0  # of the recent images
        self._info: CameraInfo | None = None
        self._infos: Subscription | None = None
        self._images = AdaptiveSubscription(
            node,
            Image,
            config().depth_topic,
            config().image_reliability,
            10,
            self.add_image,
            failed,
            ExecutorReceiver,
        )

    def open(self) -> None:
        """Subscribe.

        Raises:
            InputError: the name of a topic or its QoS is wrong.
        """
        topic = self._config().depth_info_topic
        with given_by_user(topic):
            self._infos = self._node.create_subscription(
                CameraInfo,
                topic,
                self.add_info,
                QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT),
                qos_overriding_options=QoSOverridingOptions.with_default_policies(),
            )
        self._images.open()

    def close(self) -> None:
        """Unsubscribe; does nothing if not subscribed."""
        self._images.close()
        if self._infos is not None:
            self._node.destroy_subscription(self._infos)
            self._infos = None

    def follow_publishers(self) -> str | None:
        """Subscribe anew if the depth camera offers another reliability; return a warning."""
        return self._images.follow_publishers()

    def add_image(self, message: Image) -> None:
        """Keep a depth image, and forget those that are too old or too many."""
        now = self._clock()
        oldest = now - KEPT - self._config().depth_slop
        with self._lock:
            self._recent.append((now, message))
            self._bytes += len(message.data)
            while self._recent[0][0] < oldest or (
                self._bytes > MAX_BYTES and len(self._recent) > 1
            ):
                self._bytes -= len(self._recent.popleft()[1].data)

    def add_info(self, message: CameraInfo) -> None:
        """Keep the intrinsics of the depth camera."""
        with self._lock:
            self._info = message

    def take(self, header: Header) -> Depth:
        """Return the depth at the time of an image.

        Args:
            header: of the image. Without a stamp, the newest depth image is taken.

        Raises:
            InputError: there is no depth image within ``depth_slop`` seconds, it has another
                frame_id, or its CameraInfo is missing or has no focal length.
        """
        with self._lock:
            newest_first = [image for _, image in reversed(self._recent)]
            info = self._info
        stamp = seconds(header)
        nearest = min(
            newest_first, key=lambda image: abs(seconds(image.header) - stamp), default=None
        )
        if nearest is None:
            raise InputError("depth: no depth image has been received yet")
        apart, slop = abs(seconds(nearest.header) - stamp), self._config().depth_slop
        if apart > slop:
            raise InputError(
                f"depth: the nearest depth image is {apart:.3f} s away, depth_slop is {slop:g} s"
            )
        frames = nearest.header.frame_id, header.frame_id
        if all(frames) and frames[0] != frames[1]:
            raise InputError(
                f"depth: expected depth registered to the image's frame {frames[1]!r}, got a depth "
                f"image in frame {frames[0]!r}"
            )
        return _depth(nearest, info)


def seconds(header: Header) -> float:
    """Return the stamp of a header in seconds; 0 if the driver does not stamp."""
    return float(header.stamp.sec + header.stamp.nanosec * 1e-9)


def _depth(message: Image, info: CameraInfo | None) -> Depth:
    """Return depth with intrinsics, scaled from the size in ``info`` to the size of the image."""
    if info is None:
        raise InputError("depth: no CameraInfo has been received yet")
    fx, _, cx, _, fy, cy = info.k[:6].tolist()
    if fx <= 0 or fy <= 0:
        raise InputError("depth: the CameraInfo has no focal length; calibrate the camera")
    metres = to_metres(message)
    height, width = metres.shape
    across, down = width / (info.width or width), height / (info.height or height)
    principal = (cx + 0.5) * across - 0.5, (cy + 0.5) * down - 0.5
    return Depth(metres, (fx * across, fy * down), principal)

"""The newest depth pictures, and the one that was taken with a given picture.

Matched by stamps and not by a synchroniser in front of the node: that would hold every picture
back until a depth picture comes, and without one there would be no people at all.
"""

from __future__ import annotations

import threading
import time
from collections import deque

from rclpy.lifecycle import LifecycleNode
from rclpy.qos import QoSPolicyKind, QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.subscription import Subscription
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from kdc_core.depth import Depth
from kdc_core.errors import InputError
from kdc_ros.image_messages import to_metres
from kdc_ros.qos import offers, wanted

KEPT = 1.0  # seconds, beside the slop, that a picture waits for the network to finish another one
MOST = 1 << 27  # bytes kept at most: a second of 1280x720 at 30 Hz in metres


class DepthInput:
    """Subscribed to a depth camera; ``take`` is called from another thread."""

    def __init__(self, node: LifecycleNode, topic: str, info_topic: str, asked: str) -> None:
        """Not yet subscribed.

        Args:
            node: whose subscriptions these will be; its live parameters are read.
            topic: of the pictures, before remapping.
            info_topic: of their CameraInfo.
            asked: reliability of the pictures' subscription, one of ``params.RELIABILITIES``.
        """
        self._node = node
        self._topic, self._info_topic = topic, info_topic
        self._asked = asked
        self._lock = threading.Lock()
        self._recent: deque[tuple[float, Image]] = deque()  # when it came in seconds, oldest first
        self._size = 0  # bytes of the recent ones
        self._info: CameraInfo | None = None
        self._reliability = ReliabilityPolicy.BEST_EFFORT
        self._infos: Subscription | None = None
        self._pictures: Subscription | None = None

    def open(self) -> None:
        """Subscribe.

        Raises:
            Exception: what rclpy raises for a name or a QoS that is wrong.
        """
        self._infos = self._node.create_subscription(
            CameraInfo, self._info_topic, self._keep_info, self._qos(),
            qos_overriding_options=QoSOverridingOptions.with_default_policies(),
        )  # fmt: skip
        self._reliability = self._wanted()
        self._pictures = self._subscribe()

    def close(self) -> None:
        """Unsubscribe."""
        for subscription in (self._pictures, self._infos):
            if subscription is not None:
                self._node.destroy_subscription(subscription)
        self._pictures = self._infos = None

    def follow_publishers(self) -> None:
        """Subscribe anew when the publishers offer another reliability."""
        best = self._wanted()
        if best != self._reliability:
            topic = self._node.resolve_topic_name(self._topic)
            self._node.get_logger().info(f"{topic}: publishers offer {best.name.lower()}")
            self._node.destroy_subscription(self._pictures)
            self._reliability = best
            self._pictures = self._subscribe()

    def take(self, header: Header, slop: float) -> Depth:
        """Depth at the time of a picture.

        Raises:
            ValueError: there is none within ``slop`` seconds, it is of another frame, or its
                CameraInfo is missing or has no focal length.
        """
        with self._lock:
            recent, info = [one for _, one in reversed(self._recent)], self._info
        stamp = seconds(header)  # 0 from drivers that do not stamp: then the newest is taken
        nearest = min(recent, key=lambda one: abs(seconds(one.header) - stamp), default=None)
        if nearest is None:
            raise InputError("depth: no picture yet")
        apart = abs(seconds(nearest.header) - stamp)
        if apart > slop:
            raise InputError(
                f"depth: the nearest picture is {apart:.3f} s away, depth_slop is {slop:g}"
            )
        frames = nearest.header.frame_id, header.frame_id
        if all(frames) and frames[0] != frames[1]:
            raise InputError(
                f"depth: expected a picture registered to {frames[1]!r}, got one of {frames[0]!r}"
            )
        return _depth(nearest, info)

    def _wanted(self) -> ReliabilityPolicy:
        return wanted(self._asked, offers(self._node, self._topic), self._reliability)

    def _qos(self) -> QoSProfile:
        return QoSProfile(depth=10, reliability=self._reliability)

    def _subscribe(self) -> Subscription:
        """To the pictures; their reliability can change: no override, as for the camera's."""
        return self._node.create_subscription(
            Image, self._topic, self._keep, self._qos(),
            qos_overriding_options=QoSOverridingOptions(
                (QoSPolicyKind.HISTORY, QoSPolicyKind.DEPTH)
            ),
        )  # fmt: skip

    def _keep(self, message: Image) -> None:
        now = time.monotonic()
        oldest = now - KEPT - self._node.config.depth_slop
        with self._lock:
            self._recent.append((now, message))
            self._size += len(message.data)
            while self._recent[0][0] < oldest or (self._size > MOST and len(self._recent) > 1):
                self._size -= len(self._recent.popleft()[1].data)

    def _keep_info(self, message: CameraInfo) -> None:
        with self._lock:
            self._info = message


def seconds(header: Header) -> float:
    """The stamp."""
    return header.stamp.sec + header.stamp.nanosec * 1e-9


def _depth(message: Image, info: CameraInfo | None) -> Depth:
    """Intrinsics are scaled from the size that the info speaks of to the picture's."""
    if info is None:
        raise InputError("depth: no CameraInfo yet")
    fx, _, cx, _, fy, cy = info.k[:6].tolist()
    if fx <= 0 or fy <= 0:
        raise InputError("depth: the CameraInfo has no focal length, the camera is not calibrated")
    metres = to_metres(message)
    height, width = metres.shape
    across, down = width / (info.width or width), height / (info.height or height)
    principal = (cx + 0.5) * across - 0.5, (cy + 0.5) * down - 0.5
    return Depth(metres, (fx * across, fy * down), principal)

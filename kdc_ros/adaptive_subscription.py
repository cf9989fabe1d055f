"""A subscription that follows the reliability of its publishers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

from rclpy.node import Node
from rclpy.qos import QoSPolicyKind, QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions

from kdc_ros.qos import choose_reliability, offered_reliability
from kdc_ros.receiver import Receiver

M = TypeVar("M")


class OpenReceiver(Protocol):
    """``receiver.open_receiver`` or one of the receivers."""

    def __call__(
        self,
        node: Node,
        kind: type[Any],
        topic: str,
        receive: Callable[[Any], None],
        failed: Callable[[Exception], None],
        **options: Any,
    ) -> Receiver:
        """Subscribe."""
        ...


class AdaptiveSubscription(Generic[M]):
    """Subscribes anew whenever the publishers offer another reliability.

    Cameras come and go, and a driver offers either reliability. ``follow_publishers`` has to be
    called from time to time. Use it from one thread.
    """

    def __init__(
        self,
        node: Node,
        kind: type[M],
        topic: str,
        requested: str,
        depth: int,
        receive: Callable[[M], None],
        failed: Callable[[Exception], None],
        open_receiver: OpenReceiver,
    ) -> None:
        """Prepare; ``open`` subscribes.

        Args:
            node: the node that subscribes.
            kind: message type.
            topic: before remapping. rclpy remaps it, so it must not be resolved yet: the remapped
                name might be remapped again.
            requested: reliability, one of ``params.RELIABILITIES``.
            depth: of the queue, messages.
            receive: gets each message.
            failed: gets each exception of ``receive``.
            open_receiver: makes the subscription.
        """
        self._node, self._kind, self._topic = node, kind, topic
        self._requested, self._depth = requested, depth
        self._receive, self._failed = receive, failed
        self._open_receiver = open_receiver
        self._receiver: Receiver | None = None
        self._reliability = ReliabilityPolicy.BEST_EFFORT

    def open(self) -> None:
        """Subscribe.

        Raises:
            InputError: the name of the topic or its QoS is wrong.
        """
        offered = offered_reliability(self._node, self._topic)
        self._subscribe(choose_reliability(self._requested, offered, self._reliability))

    def close(self) -> None:
        """Unsubscribe; does nothing if not subscribed."""
        if self._receiver is not None:
            self._receiver.destroy()
            self._receiver = None

    def follow_publishers(self) -> str | None:
        """Subscribe anew if the publishers offer another reliability.

        Returns:
            A warning if a publisher cannot be received, None otherwise.
        """
        if self._receiver is None:
            return None
        offered = offered_reliability(self._node, self._topic)
        best = choose_reliability(self._requested, offered, self._reliability)
        if best != self._reliability:
            name = self._node.resolve_topic_name(self._topic)
            self._node.get_logger().info(f"{name}: publishers offer {best.name.lower()}")
            self.close()
            self._subscribe(best)
        if self._requested == "reliable" and ReliabilityPolicy.BEST_EFFORT in offered:
            name = self._node.resolve_topic_name(self._topic)
            return f"{name}: image_reliability is reliable, but a publisher offers best effort only"
        return None

    def _subscribe(self, reliability: ReliabilityPolicy) -> None:
        """Subscribe. Its reliability can change and has a parameter, so QoS overrides skip it."""
        self._reliability = reliability
        self._receiver = self._open_receiver(
            self._node,
            self._kind,
            self._topic,
            self._receive,
            self._failed,
            qos_profile=QoSProfile(depth=self._depth, reliability=reliability),
            qos_overriding_options=QoSOverridingOptions(
                (QoSPolicyKind.HISTORY, QoSPolicyKind.DEPTH)
            ),
        )

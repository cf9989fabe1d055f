"""Reliability of a subscription to pictures: large ones only arrive whole when it is used."""

from __future__ import annotations

from rclpy.node import Node
from rclpy.qos import ReliabilityPolicy


def offers(node: Node, topic: str) -> set[ReliabilityPolicy]:
    """Of the publishers that are there now; the topic's name is not resolved yet: rclpy does it."""
    publishers = node.get_publishers_info_by_topic(topic)
    return {one.qos_profile.reliability for one in publishers}


def wanted(
    asked: str, offered: set[ReliabilityPolicy], now: ReliabilityPolicy
) -> ReliabilityPolicy:
    """Reliable if asked for, or with ``auto`` if every publisher offers it.

    Args:
        asked: one of ``params.RELIABILITIES``.
        offered: of the publishers; with none of them it stays as it is ``now``.
        now: of the subscription.
    """
    if asked != "auto":
        return ReliabilityPolicy[asked.upper()]
    if not offered:
        return now
    reliable = offered == {ReliabilityPolicy.RELIABLE}
    return ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT

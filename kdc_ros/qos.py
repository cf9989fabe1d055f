"""What arrives: large pictures whole where they are reliable, last words where waited for."""

from __future__ import annotations

import time
from collections.abc import Iterable

from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.publisher import Publisher
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


def settle(publishers: Iterable[Publisher], seconds: float = 1.0) -> None:
    """Wait until what was published reliably has arrived, as long as this together at most.

    DDS sends again what a listener has missed, but only while its publisher is there: of messages
    that were the last before theirs went, up to a fifth were lost on a busy machine.
    """
    end = time.monotonic() + seconds
    waiting = list(publishers)
    # asked in turns, so that one listener that hangs costs the others' messages nothing
    while waiting := [one for one in waiting if not one.wait_for_all_acked(Duration())]:
        if time.monotonic() > end:
            return
        time.sleep(0.005)

"""QoS helpers: choose a compatible reliability, and wait for acknowledgements before shutdown."""

from __future__ import annotations

import time
from collections.abc import Iterable

from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import ReliabilityPolicy

from kdc_ros.error_report import given_by_user


def offered_reliability(node: Node, topic: str) -> set[ReliabilityPolicy]:
    """Return the reliabilities that the present publishers of a topic offer.

    Args:
        node: any node.
        topic: before remapping; rclpy resolves it.

    Raises:
        InputError: the name of the topic is wrong.
    """
    with given_by_user(topic):
        publishers = node.get_publishers_info_by_topic(topic)
    return {one.qos_profile.reliability for one in publishers}


def choose_reliability(
    requested: str, offered: set[ReliabilityPolicy], current: ReliabilityPolicy
) -> ReliabilityPolicy:
    """Return the reliability that a subscription should have.

    With ``auto`` it is reliable only if all publishers offer that: a reliable subscription gets
    nothing from a best-effort publisher.

    Args:
        requested: one of ``params.RELIABILITIES``.
        offered: by the publishers; without any, the subscription stays as it is.
        current: of the subscription.
    """
    if requested != "auto":
        return ReliabilityPolicy[requested.upper()]
    if not offered:
        return current
    reliable = offered == {ReliabilityPolicy.RELIABLE}
    return ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT


def wait_for_acks(publishers: Iterable[Publisher], seconds: float = 1.0) -> None:
    """Wait until all reliable messages are acknowledged, for at most ``seconds`` in total.

    DDS sends a lost message again only while its publisher exists. On a busy machine up to a fifth
    of the last messages were lost when the publisher was destroyed immediately.
    """
    end = time.monotonic() + seconds
    waiting = list(publishers)
    # in turns, so that one subscriber that hangs does not cost the others their messages
    while waiting := [one for one in waiting if not one.wait_for_all_acked(Duration())]:
        if time.monotonic() > end:
            return
        time.sleep(0.005)

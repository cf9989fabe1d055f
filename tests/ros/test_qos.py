"""Which reliability a subscription gets."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest
from rclpy.duration import Duration
from rclpy.qos import ReliabilityPolicy
from sensor_msgs.msg import Image

from kdc_ros.adaptive_subscription import AdaptiveSubscription
from kdc_ros.qos import choose_reliability, offered_reliability, wait_for_acks
from tests.ros.fakes import FakeNode

RELIABLE, BEST_EFFORT = ReliabilityPolicy.RELIABLE, ReliabilityPolicy.BEST_EFFORT


@pytest.mark.parametrize(
    ("requested", "offered", "current", "expected"),
    [
        ("auto", {RELIABLE}, BEST_EFFORT, RELIABLE),
        ("auto", {BEST_EFFORT}, RELIABLE, BEST_EFFORT),
        ("auto", {RELIABLE, BEST_EFFORT}, BEST_EFFORT, BEST_EFFORT),
        ("auto", {RELIABLE, BEST_EFFORT}, RELIABLE, BEST_EFFORT),  # else one camera is not received
        ("auto", set(), RELIABLE, RELIABLE),  # without publishers it stays
        ("auto", set(), BEST_EFFORT, BEST_EFFORT),
        ("reliable", {BEST_EFFORT}, BEST_EFFORT, RELIABLE),
        ("reliable", set(), BEST_EFFORT, RELIABLE),
        ("best_effort", {RELIABLE}, RELIABLE, BEST_EFFORT),
    ],
)
def test_choose_reliability(requested, offered, current, expected) -> None:
    assert choose_reliability(requested, offered, current) == expected


class Network(FakeNode):
    """A node that sees publishers, and receivers that note their QoS."""

    def __init__(self) -> None:
        super().__init__()
        self.offered: list[ReliabilityPolicy] = []
        self.opened: list[ReliabilityPolicy] = []
        self.destroyed = 0

    def get_publishers_info_by_topic(self, topic: str) -> list[SimpleNamespace]:
        return [
            SimpleNamespace(qos_profile=SimpleNamespace(reliability=one)) for one in self.offered
        ]

    def open_receiver(self, node, kind, topic, receive, failed, *, qos_profile, **_):
        self.opened.append(qos_profile.reliability)
        return self

    def destroy(self) -> None:
        self.destroyed += 1


@pytest.fixture
def network() -> Network:
    return Network()


def subscription(network: Network, requested: str) -> AdaptiveSubscription:
    return AdaptiveSubscription(
        network, Image, "image_raw", requested, 1, pytest.fail, pytest.fail, network.open_receiver
    )


def test_offered_reliability_is_a_set(network: Network) -> None:
    network.offered = [RELIABLE, RELIABLE, BEST_EFFORT]
    assert offered_reliability(network, "/image_raw") == {RELIABLE, BEST_EFFORT}


def test_adaptive_subscription_follows_its_publishers(network: Network) -> None:
    made = subscription(network, "auto")
    assert made.follow_publishers() is None and not network.opened, "not open yet"
    made.open()
    for offered in ([RELIABLE], [RELIABLE], [RELIABLE, BEST_EFFORT], []):
        network.offered = offered
        assert made.follow_publishers() is None
    assert network.opened == [BEST_EFFORT, RELIABLE, BEST_EFFORT]
    assert network.destroyed == 2
    assert [text for _, text in network.logger.lines] == [
        "/image_raw: publishers offer reliable",
        "/image_raw: publishers offer best_effort",
    ]
    made.close()
    made.close()
    assert network.destroyed == 3


def test_adaptive_subscription_opens_with_what_is_offered(network: Network) -> None:
    network.offered = [RELIABLE]
    subscription(network, "auto").open()
    assert network.opened == [RELIABLE]


def test_adaptive_subscription_warns_of_a_publisher_it_cannot_receive(network: Network) -> None:
    made = subscription(network, "reliable")
    made.open()
    network.offered = [RELIABLE, BEST_EFFORT]
    text = made.follow_publishers()
    assert text is not None and "offers best effort only" in text
    assert network.opened == [RELIABLE], "as requested"


class Acknowledging:
    """A publisher whose messages are acknowledged when it is asked for the n-th time."""

    def __init__(self, turns: int) -> None:
        self.turns, self.calls = turns, 0

    def wait_for_all_acked(self, timeout: Duration) -> bool:
        assert timeout.nanoseconds == 0
        self.calls += 1
        return self.calls >= self.turns


def test_wait_for_acks_asks_every_publisher_until_it_is_acknowledged() -> None:
    publishers = [Acknowledging(turns) for turns in (1, 3, 2)]
    wait_for_acks(publishers)
    assert [one.calls for one in publishers] == [1, 3, 2]


def test_wait_for_acks_gives_up_after_the_time_and_asks_the_others_meanwhile() -> None:
    stuck, late = Acknowledging(10**9), Acknowledging(3)
    start = time.monotonic()
    wait_for_acks([stuck, late], seconds=0.1)
    assert 0.1 <= time.monotonic() - start < 1.0
    assert late.calls == 3 and stuck.calls > 3


def test_wait_for_acks_returns_at_once_without_publishers() -> None:
    start = time.monotonic()
    wait_for_acks([], seconds=5.0)
    assert time.monotonic() - start < 0.1

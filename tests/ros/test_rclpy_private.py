"""The private parts of rclpy that KDC uses exist, and it works without them."""

from __future__ import annotations

import pytest
import rclpy
from lifecycle_msgs.msg import Transition
from rclpy.lifecycle import LifecycleNode, TransitionCallbackReturn
from rclpy.qos import QoSProfile
from std_msgs.msg import UInt32

from kdc_ros import rclpy_private, receiver
from kdc_ros.receiver import ExecutorReceiver, ThreadReceiver, open_receiver


def test_this_release_of_rclpy_has_all_private_parts() -> None:
    """A failure names what a new release has changed; the node works on, see the module."""
    assert rclpy_private.has_direct_take()
    assert rclpy_private.RCLError is not RuntimeError
    assert issubclass(rclpy_private.RCLError, RuntimeError), "the public replacement"
    assert hasattr(LifecycleNode, rclpy_private.CHANGE_STATE)


@pytest.mark.parametrize("missing", ["WaitSet", "Subscription"])
def test_has_direct_take_is_false_if_a_part_is_missing(monkeypatch, missing) -> None:
    class Reduced:
        WaitSet = None if missing == "WaitSet" else rclpy_private.implementation.WaitSet
        Subscription = None

    monkeypatch.setattr(rclpy_private, "implementation", Reduced)
    assert not rclpy_private.has_direct_take()


@pytest.mark.parametrize(("direct", "kind"), [(True, ThreadReceiver), (False, ExecutorReceiver)])
def test_open_receiver_receives_with_and_without_private_parts(
    probe, monkeypatch, direct, kind
) -> None:
    monkeypatch.setattr(receiver, "has_direct_take", lambda: direct)
    heard, errors = [], []

    def receive(message):
        heard.append(message.data)
        if message.data == 3:
            raise ValueError("three")

    made = open_receiver(
        probe.node, UInt32, "/numbers", receive, errors.append, qos_profile=QoSProfile(depth=50)
    )
    assert isinstance(made, kind)
    publisher = probe.node.create_publisher(UInt32, "/numbers", QoSProfile(depth=50))

    def known():
        publisher.publish(UInt32(data=0))
        return heard

    probe.until(known, "nothing is received")
    for number in range(1, 6):
        publisher.publish(UInt32(data=number))
    probe.until(lambda: heard[-1] == 5, "not all are received")
    assert [number for number in heard if number] == [1, 2, 3, 4, 5]
    assert [str(error) for error in errors] == ["three"]
    made.destroy()
    probe.until(lambda: not publisher.get_subscription_count(), "still subscribed")


def test_refusing_node_refuses_unavailable_transitions(probe) -> None:
    node = rclpy_private.RefusingLifecycleNode("refusing", context=probe.context)
    try:
        assert node.current_state() == "unconfigured"
        assert node.trigger_activate() == TransitionCallbackReturn.FAILURE
        assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS
        assert node.current_state() == "inactive"
        assert node.trigger_configure() == TransitionCallbackReturn.FAILURE
        assert Transition.TRANSITION_CONFIGURE == 1 and rclpy.ok(context=probe.context)
    finally:
        node.destroy_node()

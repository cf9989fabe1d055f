"""The receiver alone, in this process."""

from __future__ import annotations

import threading

from rclpy.qos import QoSProfile
from std_msgs.msg import UInt32

from kdc_ros.receiver import ThreadReceiver


def test_messages_come_in_order_without_an_executor_and_an_error_stops_none_of_them(probe):
    heard, errors, threads = [], [], set()

    def receive(message):
        threads.add(threading.current_thread().name)
        heard.append(message.data)
        if message.data == 3:
            raise ValueError("three")

    receiver = ThreadReceiver(
        probe.node, UInt32, "/numbers", receive, errors.append, qos_profile=QoSProfile(depth=50)
    )
    publisher = probe.node.create_publisher(UInt32, "/numbers", QoSProfile(depth=50))

    def known():
        publisher.publish(UInt32(data=0))
        return heard

    probe.until(known, "nothing comes")
    for number in range(1, 11):
        publisher.publish(UInt32(data=number))
    probe.until(lambda: heard[-1] == 10, "not all have come")
    assert [number for number in heard if number] == list(range(1, 11))
    assert [str(error) for error in errors] == ["three"]
    assert threads == {"receiver"}

    receiver.destroy()
    count = len(heard)
    assert "receiver" not in {one.name for one in threading.enumerate()}
    probe.until(lambda: not publisher.get_subscription_count(), "still subscribed")
    publisher.publish(UInt32(data=11))
    probe.spin(0.2)
    assert len(heard) == count

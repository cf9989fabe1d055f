"""Publishers that say one thing and go; as a program."""

from __future__ import annotations

import time

import rclpy
from std_msgs.msg import Int32

from kdc_ros.qos import wait_for_acks

ROUNDS = 60

if __name__ == "__main__":
    rclpy.init()
    node = rclpy.create_node("farewell")
    for turn in range(ROUNDS):
        publisher = node.create_publisher(Int32, "/farewell", 1)
        while not publisher.get_subscription_count():
            time.sleep(0.005)
        time.sleep(0.05)  # until the listener knows it, too
        publisher.publish(Int32(data=turn))
        wait_for_acks([publisher])
        node.destroy_publisher(publisher)
    rclpy.shutdown()

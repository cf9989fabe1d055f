"""A camera for measurements: publishes the same image again and again, stamped when it is sent.

usage: sender.py TOPIC WIDTHxHEIGHT FPS SECONDS [reliable]; prints the number of images.
"""

from __future__ import annotations

import json
import sys
import time

import numpy as np
import rclpy
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from kdc_ros.image_messages import to_message
from kdc_ros.rclpy_private import RCLError


def await_listeners(node, publisher) -> None:
    """Wait until there is a subscriber and it has taken over the reliability of the publisher.

    A subscriber that also receives another camera may not do that: the wait ends after 3 s.
    """
    while rclpy.ok() and not publisher.get_subscription_count():
        time.sleep(0.05)
    end = time.monotonic() + 3
    while rclpy.ok() and time.monotonic() < end:
        found = node.get_subscriptions_info_by_topic(publisher.topic_name)
        taken = {one.qos_profile.reliability for one in found}
        if taken == {publisher.qos_profile.reliability}:
            break
        time.sleep(0.05)
    time.sleep(1.0)  # until both sides know each other


def main(topic: str, size: str, fps: float, seconds: float, reliability: str) -> None:
    rclpy.init()
    node = rclpy.create_node("sender")
    qos = QoSProfile(depth=5, reliability=ReliabilityPolicy[reliability.upper()])
    publisher = node.create_publisher(Image, topic, qos)
    width, height = map(int, size.split("x"))
    noise = np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8)
    message = to_message(noise, "bgr8", Header(frame_id="optical"))
    await_listeners(node, publisher)
    start, sent = time.monotonic(), 0
    while rclpy.ok() and sent < fps * seconds:
        message.header.stamp = node.get_clock().now().to_msg()
        publisher.publish(message)
        sent += 1
        time.sleep(max(0.0, start + sent / fps - time.monotonic()))
    print(json.dumps({"sent": sent}), flush=True)
    time.sleep(2.0)  # the last ones may still be on their way
    node.destroy_node()
    rclpy.try_shutdown()


if __name__ == "__main__":
    topic, size, fps, seconds, *rest = sys.argv[1:]
    try:
        main(topic, size, float(fps), float(seconds), (rest or ["best_effort"])[0])
    except (KeyboardInterrupt, RCLError):  # told to stop
        pass
    finally:
        rclpy.try_shutdown()

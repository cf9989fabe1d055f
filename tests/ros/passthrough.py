"""The least that a node for images can do: receive one, read it, publish a mask."""

from __future__ import annotations

import numpy as np
import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image

from kdc_ros.image_messages import to_message


def main() -> None:
    rclpy.init()
    node = rclpy.create_node("passthrough")
    publisher = node.create_publisher(Image, "/passthrough/mask", QoSProfile(depth=5))
    mask = np.zeros((480, 640), np.uint16)

    def receive(message: Image) -> None:
        view = np.frombuffer(message.data, np.uint8).reshape(message.height, message.step)
        mask[0, 0] = view[0, 0]
        publisher.publish(to_message(mask, "mono16", message.header))

    qos = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
    node.create_subscription(Image, "/image_raw", receive, qos)
    try:
        rclpy.spin(node)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass


if __name__ == "__main__":
    main()

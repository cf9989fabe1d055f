"""Listen to the ROS 2 node: print the id, score and mask size of every person.

Usage: python ros_client.py, while `kdc_node` runs
"""

import numpy as np
import rclpy
from rclpy.node import Node
from sensor_msgs.msg import Image

from kdc_msgs.msg import PersonArray


class Client(Node):
    """Pairs the people with the mask image of the same stamp."""

    def __init__(self) -> None:
        super().__init__("kdc_client")
        self.waiting: dict[tuple[int, int], dict[type, PersonArray | Image]] = {}
        self.create_subscription(PersonArray, "/kdc/persons", self.receive, 10)
        self.create_subscription(Image, "/kdc/mask", self.receive, 10)

    def receive(self, message: PersonArray | Image) -> None:
        """Print the people once both messages of an image have arrived, in any order."""
        stamp = (message.header.stamp.sec, message.header.stamp.nanosec)
        pair = self.waiting.setdefault(stamp, {})
        pair[type(message)] = message
        if len(pair) == 2:
            persons, mask = pair[PersonArray], pair[Image]
            labels = np.frombuffer(mask.data, np.uint16).reshape(mask.height, mask.width)
            for person in persons.people:
                pixels = (labels == person.id).sum()  # a pixel is the id of its person
                print(f"person {person.id}: score {person.score:.2f}, {pixels} pixels", flush=True)
            self.waiting = {later: self.waiting[later] for later in self.waiting if later > stamp}


if __name__ == "__main__":
    rclpy.init()
    rclpy.spin(Client())

"""The ROS client in examples/ reads people and masks from a publisher."""

from __future__ import annotations

import subprocess
import sys
import threading

import numpy as np
from sensor_msgs.msg import Image

from kdc_msgs.msg import Person, PersonArray
from kdc_ros.image_messages import to_message
from tests.ros.harness import ROOT, header


def test_example_ros_client_prints_people_with_their_pixels(probe) -> None:
    client = subprocess.Popen(
        [sys.executable, str(ROOT / "examples" / "ros_client.py")],
        stdout=subprocess.PIPE,
        text=True,
    )
    lines: list[str] = []
    reader = threading.Thread(target=lambda: lines.extend(client.stdout))
    reader.start()
    try:
        persons = probe.advertise(PersonArray, "/kdc/persons", 10)
        masks = probe.advertise(Image, "/kdc/mask", 10)
        labels = np.zeros((6, 8), np.uint16)
        labels[2:4, 1:6] = 300
        people = [Person(id=300, score=0.75), Person(id=7, score=0.5)]
        for index in range(6):
            messages = [
                (persons, PersonArray(header=header(index), people=people)),
                (masks, to_message(labels, "mono16", header(index))),
            ]
            for publisher, message in messages if index % 2 else messages[::-1]:
                publisher.publish(message)
                probe.spin(0.1)
        probe.until(lambda: len(lines) >= 8, "the client prints nothing")
    finally:
        client.terminate()
        client.wait(timeout=30)
        reader.join(timeout=30)
    assert set(lines) == {
        "person 300: score 0.75, 10 pixels\n",
        "person 7: score 0.50, 0 pixels\n",
    }

"""Which depth image belongs to an image, without DDS."""

from __future__ import annotations

import numpy as np
import pytest
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header

from kdc_ros import depth_input
from kdc_ros.image_messages import to_message
from kdc_ros.params import NodeConfig
from tests.ros.harness import header


class Clock:
    now = 50.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def camera(clock):
    """An input that is not subscribed: images are given by hand."""
    config = NodeConfig(depth_topic="/depth", depth_info_topic="/info", depth_slop=0.05)
    made = depth_input.DepthInput(None, lambda: config, failed=pytest.fail, clock=clock)
    made.add_info(CameraInfo(k=[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]))
    return made


def give(camera, millimetres: int, head: Header) -> None:
    camera.add_image(to_message(np.full((4, 4), millimetres, np.uint16), "16UC1", head))


def taken(camera, head: Header) -> float:
    """Return the metres of the depth image that is taken."""
    return camera.take(head).metres[0, 0]


def test_take_finds_the_depth_of_an_old_image(camera, clock):
    for index in range(90):  # 90 Hz; the first image is processed for a second
        give(camera, 1000 + index, header(index * 11_000))
        clock.now += 0.011
    assert taken(camera, header(0)) == pytest.approx(1.0)
    assert taken(camera, header(45 * 11_000)) == pytest.approx(1.045)
    clock.now += 0.5
    give(camera, 2000, header(900_000))
    with pytest.raises(ValueError, match=r"nearest depth image is 0\.4\d+ s away"):
        camera.take(header(0))


def test_take_without_stamps_returns_the_newest(camera):
    for metres in (1, 2, 3):
        give(camera, 1000 * metres, Header())
    assert taken(camera, Header()) == pytest.approx(3.0)


def test_add_image_keeps_fewer_large_images(camera, monkeypatch):
    monkeypatch.setattr(depth_input, "MAX_BYTES", 100)  # bytes: three images of 4 x 4
    for index in range(10):
        give(camera, 1000 + index, header(index * 1_000))
    assert taken(camera, header(0)) == pytest.approx(1.007)
    monkeypatch.setattr(depth_input, "MAX_BYTES", 10)
    give(camera, 2000, header(10_000))
    assert taken(camera, header(0)) == pytest.approx(2.0)

"""Which depth picture is taken for a picture, without DDS."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from harness import header
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header

from kdc_ros import depth_input
from kdc_ros.image_messages import to_message
from kdc_ros.params import NodeConfig


class Clock:
    now = 50.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch):
    monkeypatch.setattr(depth_input, "time", Clock())
    return depth_input.time


@pytest.fixture
def camera(clock):
    """Not subscribed: pictures are given by hand."""
    made = depth_input.DepthInput(SimpleNamespace(config=NodeConfig()), "/depth", "/info", "auto")
    made._keep_info(CameraInfo(k=[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]))
    return made


def give(camera, millimetres: int, head: Header) -> None:
    camera._keep(to_message(np.full((4, 4), millimetres, np.uint16), "16UC1", head))


def taken(camera, head: Header) -> float:
    """Metres of the picture that is taken."""
    return camera.take(head, slop=0.05).metres[0, 0]


def test_a_slow_network_finds_the_depth_of_its_picture(camera, clock):
    for index in range(90):  # 90 Hz; the first picture is worked on for a second
        give(camera, 1000 + index, header(index * 11_000_000))
        clock.now += 0.011
    assert taken(camera, header(0)) == pytest.approx(1.0)
    assert taken(camera, header(45 * 11_000_000)) == pytest.approx(1.045)
    clock.now += 0.5
    give(camera, 2000, header(900_000_000))
    with pytest.raises(ValueError, match=r"nearest picture is 0\.4\d+ s away"):
        camera.take(header(0), slop=0.05)


def test_of_pictures_without_stamps_the_newest_is_taken(camera):
    for metres in (1, 2, 3):
        give(camera, 1000 * metres, Header())
    assert taken(camera, Header()) == pytest.approx(3.0)


def test_large_pictures_are_fewer(camera, monkeypatch):
    monkeypatch.setattr(depth_input, "MOST", 100)  # bytes: three pictures of 4 x 4
    for index in range(10):
        give(camera, 1000 + index, header(index * 1_000_000))
    assert taken(camera, header(0)) == pytest.approx(1.007)
    monkeypatch.setattr(depth_input, "MOST", 10)
    give(camera, 2000, header(10_000_000))
    assert taken(camera, header(0)) == pytest.approx(2.0)

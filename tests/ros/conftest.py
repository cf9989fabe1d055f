"""Tests that need ROS 2; without rclpy they are skipped."""

from __future__ import annotations

import importlib.util
import os

import pytest

from tests.ros import domain

HAS_ROS = importlib.util.find_spec("rclpy") is not None

# before the first rclpy.init of this process, and inherited by the nodes that it starts
os.environ["ROS_DOMAIN_ID"] = str(domain.private())
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
if HAS_ROS:
    from kdc_ros.environment import fast_dds

    os.environ.update(fast_dds())


class _Skipped(pytest.Module):
    def collect(self):
        pytest.skip("rclpy is not installed: pip install -e '.[ros]', or source a ROS 2")


def pytest_pycollect_makemodule(module_path, parent):
    return None if HAS_ROS else _Skipped.from_parent(parent, path=module_path)


@pytest.fixture(scope="session")
def environment():
    """Environment of nodes that need hri_msgs, vision_msgs and tf2_msgs."""
    from tests.ros.standins import provide

    return provide()


@pytest.fixture
def probe():
    """A node in this process that talks to the node under test."""
    from tests.ros.harness import Probe

    with Probe() as probe:
        yield probe

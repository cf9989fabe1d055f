"""Long measurements, run by ``make soak`` alone: pytest does not collect ``soak_*.py``."""

from __future__ import annotations

import os

import pytest

pytest.importorskip("rclpy")

from kdc_ros.environment import fast_dds
from tests.ros import domain

os.environ["ROS_DOMAIN_ID"] = str(domain.private())
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
os.environ.update(fast_dds())


@pytest.fixture
def probe():
    from tests.ros.harness import Probe

    with Probe() as probe:
        yield probe


@pytest.fixture
def row(request, capsys):
    """Return a function that prints a row of a Markdown table as soon as its figures are known."""

    def show(what: str, *figures: str) -> None:
        with capsys.disabled():
            print(f"\n| {what} | {' | '.join(figures)} |", flush=True)

    return show

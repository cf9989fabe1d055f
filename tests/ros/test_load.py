"""Seconds of what ``make soak`` does for minutes, with thresholds that a busy machine holds."""

from __future__ import annotations

import pytest
from load import drive, passthrough, still
from sensor_msgs.msg import Image

pytestmark = pytest.mark.timeout(120)


def test_raw_pictures_at_30_fps_arrive_and_cost_little(probe):
    with still() as node:
        load = drive(probe, node, 30, 6)
    assert load.sent == 180
    assert load.received >= 0.98 * load.sent
    assert len(load.latency) >= 0.8 * (load.sent - 60)
    assert load.per_frame < 6.0, "ms of CPU per picture outside network and decoder"


def test_a_pass_through_node_is_measured_with_the_same_ruler(probe):
    with passthrough() as node:
        load = drive(probe, node, 30, 3, Image, "/passthrough/mask", mask=False)
    assert 0.1 < load.per_frame < 6.0


def test_60_fps_into_a_slow_network_stay_fresh_and_memory_flat(probe):
    inference = 0.15
    with still(inference) as node:
        load = drive(probe, node, 60, 6)
    assert load.percentile(95) <= 2e3 * inference
    assert load.percentile(50) >= 1e3 * inference, "or the network was not slow"
    assert abs(load.after.rss - load.before.rss) < 0.05 * load.before.rss

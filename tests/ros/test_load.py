"""Seconds of what ``make soak`` does for minutes, with thresholds that a busy machine holds."""

from __future__ import annotations

import pytest
from sensor_msgs.msg import Image

from tests.ros.load import drive, passthrough, still

pytestmark = pytest.mark.timeout(120)


def test_load_raw_images_at_30_fps_arrive_and_cost_little(probe):
    with still() as node:
        load = drive(probe, node, 30, 6)
    assert load.sent == 180
    assert load.received >= 0.9 * load.sent, "of a segment that is too small, a tenth would come"
    assert len(load.latency) >= 0.5 * (load.sent - 60)
    with passthrough() as node:
        least = drive(probe, node, 30, 3, Image, "/passthrough/mask")
    assert 0.1 < least.per_frame
    assert load.per_frame < 2.5 * least.per_frame, "CPU outside network and decoder"


def test_load_60_fps_into_a_slow_network_keeps_latency_and_memory(probe):
    inference = 0.2
    with still(inference) as node:
        load = drive(probe, node, 60, 8)
    assert load.percentile(95) <= 2e3 * inference
    assert load.percentile(50) >= 1e3 * inference, "or the network was not slow"
    assert abs(load.after.rss - load.before.rss) < 0.05 * load.before.rss

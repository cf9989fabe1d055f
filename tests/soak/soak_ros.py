"""Measure the node over minutes, between processes over real DDS: ``make soak``.

KDC_SOAK_SECONDS (default 1200) is the length of the long measurement.
"""

from __future__ import annotations

import os
import time

import cv2
import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray
from sensor_msgs.msg import CompressedImage, Image

from kdc_core.engines import default_model
from kdc_msgs.msg import PersonArray
from kdc_ros.environment import MALLOC
from tests.ros.harness import Running
from tests.ros.load import Load, Usage, drive, passthrough, still, values

SECONDS = float(os.environ.get("KDC_SOAK_SECONDS", "1200"))
WARM = 0.1  # share of the long run after which memory must stay constant


def figures(load: Load) -> tuple[str, ...]:
    return (
        f"{load.sent}", f"{load.received or len(load.latency)}",
        f"{load.percentile(50):.1f}", f"{load.percentile(95):.1f}", f"{load.per_frame:.2f}",
        f"{load.after.rss - load.before.rss:+.1f}",
    )  # fmt: skip


@pytest.mark.timeout(180)
def test_node_processes_30_fps_for_a_minute(probe, row):
    with still() as node:
        load = drive(probe, node, 30, 60)
    row("node, 30 fps", *figures(load))
    assert load.received >= 0.99 * load.sent
    assert load.per_frame <= 2.0, "ms of CPU outside network and decoder"


@pytest.mark.timeout(180)
def test_pass_through_latency_for_comparison(probe, row):
    with passthrough() as node:
        load = drive(probe, node, 30, 60, Image, "/passthrough/mask")
    row("pass-through, 30 fps", *figures(load))
    assert load.percentile(50) < 100


@pytest.mark.timeout(180)
def test_node_stays_fresh_at_60_fps_with_a_slow_network(probe, row):
    inference = 0.1
    with still(inference) as node:
        load = drive(probe, node, 60, 60)
    row(f"node, 60 fps, network {inference * 1e3:.0f} ms", *figures(load))
    assert load.percentile(95) <= 2e3 * inference
    assert abs(load.after.rss - load.before.rss) <= 0.02 * load.before.rss


@pytest.fixture
def clip(tmp_path):
    """Return the clip of the demo if it is there, otherwise write one of moving rectangles."""
    cached = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    path = os.path.join(cached, "kdc", "vtest.avi")
    if os.path.isfile(path):
        return path
    path = str(tmp_path / "moving.avi")
    writer = cv2.VideoWriter(path, cv2.VideoWriter_fourcc(*"MJPG"), 10.0, (640, 480))
    for k in range(200):
        image = np.full((480, 640, 3), 90, np.uint8)
        cv2.rectangle(image, (3 * k, 100), (3 * k + 60, 300), (30, 200, 120), -1)
        writer.write(image)
    writer.release()
    return path


@pytest.mark.timeout(SECONDS + 300)
def test_node_memory_and_threads_stay_constant(probe, row, clip):
    if not default_model().is_file():
        pytest.skip("no weights in kdc_core/weights")
    counts = {"persons": 0, "mask": 0, "overlay": 0}

    def counter(name):
        def count(message):
            counts[name] += 1

        return count

    for kind, topic, name in (
        (PersonArray, "/kdc/persons", "persons"), (Image, "/kdc/mask", "mask"),
        (CompressedImage, "/kdc/overlay/compressed", "overlay"),
    ):  # fmt: skip
        probe.node.create_subscription(kind, topic, counter(name), 10)
    reports = []
    probe.node.create_subscription(DiagnosticArray, "/diagnostics", reports.append, 10)
    usage: list[Usage] = []
    camera = Running.module("camera", source=f'"{clip}"', loop="true", fps=10.0)
    with Running("-m", "kdc_ros.node", env=MALLOC) as node, camera:
        probe.until(lambda: counts["persons"] > 20, "no results")
        start = time.monotonic()
        while time.monotonic() < start + SECONDS:
            probe.spin(min(10.0, SECONDS / 60))
            usage.append(Usage.of(node.process.pid))
            del reports[:-1]
        probe.until(lambda: reports, "no diagnostics")
    assert node.process.returncode == 0
    warm = usage[max(1, int(WARM * len(usage))) :]
    tenth = max(1, len(warm) // 10)
    first = np.mean([one.rss for one in warm[:tenth]])
    last = np.mean([one.rss for one in warm[-tenth:]])
    told = values(reports[-1])
    row(
        f"shipped network, {SECONDS / 60:.0f} min at 10 fps", told["images received"],
        told["images processed"], told["latency p50 ms"], told["latency p95 ms"],
        f"RSS {first:.1f} → {last:.1f} MiB ({last / first - 1:+.2%})",
        f"threads {warm[0].threads} → {warm[-1].threads}",
    )  # fmt: skip
    assert last <= 1.02 * first
    assert warm[-1].threads == warm[0].threads
    assert counts["mask"] > 0.5 * counts["persons"] and counts["overlay"] > 0.5 * counts["persons"]
    assert told["images failed"] == "0"

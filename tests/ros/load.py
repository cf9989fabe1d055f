"""Measurements of a running node: delivery, latency, CPU, memory. Quick in tests, long in soaks."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from sensor_msgs.msg import Image

from kdc_msgs.msg import PersonArray
from kdc_ros.environment import MALLOC
from tests.ros.harness import PATIENCE, Probe, Running

HERE = Path(__file__).parent


@dataclass
class Usage:
    """What a process has used, at one moment."""

    cpu: float  # seconds
    rss: float  # MiB
    peak: float  # MiB, the most it ever was
    threads: int

    @classmethod
    def of(cls, pid: int) -> Usage:
        stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        status = dict(
            line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines()
        )
        ticks = int(stat[11]) + int(stat[12])
        rss, peak = (int(status[name].split()[0]) / 1024 for name in ("VmRSS", "VmHWM"))
        return cls(ticks / 100, rss, peak, int(status["Threads"]))


@dataclass
class Load:
    """Results of a node while images were sent."""

    sent: int = 0
    received: int = 0  # by the node
    latency: list[float] = field(default_factory=list)  # ms, stamp to the listener
    cpu: float = 0.0  # seconds of the node, while images were sent
    before: Usage | None = None
    after: Usage | None = None

    def percentile(self, share: float) -> float:
        return float(np.percentile(self.latency, share)) if self.latency else float("inf")

    @property
    def per_frame(self) -> float:
        """CPU in ms per result."""
        return self.cpu * 1e3 / max(1, len(self.latency))


def still(seconds: float = 0.0, people: int = 5, **parameters) -> Running:
    """The node with people at no cost, or at the cost of sleeping."""
    env = {"BLOB_STILL": str(people), "BLOB_SECONDS": str(seconds), **MALLOC}
    return Running.blobs(env=env, **parameters)


def passthrough() -> Running:
    return Running(str(HERE / "passthrough.py"), env=MALLOC)


def sender(
    fps: float,
    seconds: float,
    topic: str = "/image_raw",
    size: str = "640x480",
    reliability: str = "best_effort",
    env: dict | None = None,
) -> Running:
    return Running(
        str(HERE / "sender.py"),
        topic,
        size,
        str(fps),
        str(seconds),
        reliability,
        env={**MALLOC, **(env or {})},
    )


def values(report: DiagnosticArray, index: int = 0) -> dict[str, str]:
    """Figures of one camera in /diagnostics."""
    return {pair.key: pair.value for pair in report.status[index].values}


def settled(probe: Probe, reports: list[DiagnosticArray], index: int = 0) -> dict[str, int]:
    """Counts of one camera once everything that was received has been dealt with."""

    def told():
        shown = values(reports[-1], index).items()
        counts = {name: int(value) for name, value in shown if name.startswith("images")}
        done = sum(n for name, n in counts.items() if name != "images received")
        return counts if counts["images received"] == done else False

    reports.clear()
    return probe.until(lambda: len(reports) >= 2 and told(), "some images are unaccounted for")


def drive(
    probe: Probe,
    node: Running,
    fps: float,
    seconds: float,
    kind: type = PersonArray,
    topic: str = "/kdc/persons",
    env: dict | None = None,
) -> Load:
    """Send images of 640x480 to a node from another process and receive its results in this one.

    A topic that is not KDC's own is another node's: it does not say how many it has received.
    """
    load, ours = Load(), topic.startswith("/kdc/")

    def hear(message) -> None:
        stamp = message.header.stamp
        load.latency.append((time.time() - stamp.sec - stamp.nanosec * 1e-9) * 1e3)

    probe.node.create_subscription(kind, topic, hear, 100)
    reports = probe.listen(DiagnosticArray, "/diagnostics")
    if ours:
        probe.node.create_subscription(Image, "/kdc/mask", lambda message: None, 1)
    probe.until(lambda: probe.node.count_publishers(topic), f"no publisher of {topic}")
    with sender(fps, seconds, env=env) as camera:
        probe.until(lambda: len(load.latency) > 2 * fps or len(load.latency) > 20, "no results")
        warm, load.before = len(load.latency), Usage.of(node.process.pid)
        ended = seconds + PATIENCE
        probe.until(lambda: camera.process.poll() is not None, "the camera goes on", ended)
        load.after = Usage.of(node.process.pid)
        load.sent = json.loads(camera.process.stdout.readline())["sent"]
    if ours:
        load.received = settled(probe, reports)["images received"]
    load.cpu = load.after.cpu - load.before.cpu
    load.latency = load.latency[warm:]
    return load

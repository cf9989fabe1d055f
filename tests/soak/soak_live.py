"""Compare a real-time replay with the live node: equal drops and equal latency."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

pytest.importorskip("rosbags", reason="rosbags is not installed: pip install -e '.[replay]'")
from kdc_core.config import DecodeConfig
from tests.replay.recordings import Recording
from tests.ros.harness import Probe, Running
from tests.ros.load import settled, values

SECONDS = 0.45  # processing time of a frame, at ten frames per second
FRAMES = 110
ATTEMPTS = 3  # the node and the replay run one after the other, and the load may change in between


def live(bag: Path) -> dict[str, str]:
    """Play the recording to a node and return the values of its diagnostics."""
    from diagnostic_msgs.msg import DiagnosticArray
    from rclpy.serialization import deserialize_message
    from sensor_msgs.msg import Image

    from kdc_lab.replay.bag import Bag

    env = {"BLOB_SECONDS": str(SECONDS)}
    with (
        Running.blobs(env=env, image_reliability="reliable"),
        Probe() as probe,
    ):
        said = probe.listen(DiagnosticArray, "/diagnostics")
        camera = probe.advertise(Image, "/image_raw", 10)
        begin = time.monotonic()
        recording = Bag(bag)
        first = None
        for message in recording.messages(set(recording.topics)):
            first = first or message.time
            wait = begin + (message.time - first) / 1e9 - time.monotonic()
            probe.spin(max(0.0, wait))
            camera.publish(deserialize_message(message.data, Image))
        recording.close()
        settled(probe, said)
        return values(said[-1])


def test_replay_drops_and_latency_agree_with_the_node(tmp_path):
    path = Recording(frames=FRAMES).write(tmp_path / "bag")
    for attempt in range(ATTEMPTS):
        told, figures = live(path), replayed(path, tmp_path / "out")
        received = int(told["images received"])
        assert received >= 0.98 * FRAMES and figures["received"] == FRAMES
        dropped = int(told["images dropped"]) / received, figures["dropped"] / FRAMES
        latency = float(told["latency p50 ms"]), figures["latency_p50_ms"]
        print(f"node, replay: dropped {dropped[0]:.3f}, {dropped[1]:.3f}; "
              f"p50 {latency[0]} ms, {latency[1]} ms")  # fmt: skip
        agree = pytest.approx(dropped[0], rel=0.05), pytest.approx(latency[0], rel=0.05)
        if (dropped[1], latency[1]) == agree or attempt == ATTEMPTS - 1:
            break
    assert dropped[1] == agree[0]
    assert latency[1] == agree[1]


def replayed(path: Path, out: Path) -> dict:
    from kdc_lab.replay.play import Replay, Settings
    from tests.ros.blobs import BlobPipeline

    pipeline = BlobPipeline(DecodeConfig(), SECONDS)
    summary = Replay(path, out, pipeline, Settings(realtime=True, min_score=0.15)).run()
    return summary["cameras"]["/camera/image_raw"]

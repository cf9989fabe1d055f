"""Measure long replays: memory over ten minutes, and many recordings on two workers."""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("rosbags", reason="rosbags is not installed: pip install -e '.[replay]'")
ROOT = Path(__file__).parents[2]

from kdc_core.config import DecodeConfig  # noqa: E402
from tests.replay.recordings import RATE, Recording  # noqa: E402

MINUTES = 10
GROWTH = 16  # limit from the first to the last minute, MB
SPEEDUP = 0.65  # limit for two workers as a share of the time of one


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_replay_memory_stays_flat_over_ten_minutes(tmp_path, storage):
    from kdc_lab.evaluate.composed_clips import Clip, Drawn
    from kdc_lab.replay.play import Replay, Settings
    from tests.ros.blobs import BlobPipeline

    def way(start: float, speed: float):
        return lambda t: (start + (speed * t) % 200, 220.0)

    clip = Clip(tuple(Drawn(way(40 + 50 * n, 20 + n), 120) for n in range(3)))
    recording = Recording(int(MINUTES * 60 * RATE), clip, storage=storage, jpeg=True)
    path = recording.write(tmp_path / "bag")
    used: list[float] = []

    class Watched(BlobPipeline):
        def __call__(self, frame, video=None):
            used.append(float(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20)
            return super().__call__(frame)

    config = DecodeConfig()
    summary = Replay(path, tmp_path / "out", Watched(config), Settings(storage=storage)).run()
    assert summary["frames"] == MINUTES * 60 * RATE
    minute = int(60 * RATE)
    first, last = max(used[:minute]), max(used[-minute:])
    print(f"{storage}: {first:.0f} MB after a minute, {last:.0f} MB after {MINUTES}, at most "
          f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")  # fmt: skip
    assert last - first < GROWTH


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("ray", [False, True])
def test_replay_two_workers_are_faster_than_one(tmp_path, ray):
    """Replay in real time, because its duration does not depend on the load of the machine."""
    if ray:
        pytest.importorskip("ray", reason="ray is not installed: pip install -e '.[ray]'")
    for number in range(8):
        Recording(frames=120).write(tmp_path / "bags" / f"walk_{number}x")
    seconds = {}
    for jobs in (1, 2):
        command = [sys.executable, "-m", "kdc_core.cli", "replay", str(tmp_path / "bags"),
                   "--out", str(tmp_path / f"out_{jobs}"), "--jobs", str(jobs), "--threads", "1",
                   "--engine", "onnxruntime", "--long-side", "96", "--realtime",
                   *(["--ray"] if ray else [])]  # fmt: skip
        began = time.monotonic()
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
        seconds[jobs] = time.monotonic() - began
    share = seconds[2] / seconds[1]
    how = "ray" if ray else "processes"
    print(f"{how}: one worker {seconds[1]:.1f} s, two {seconds[2]:.1f} s, {share:.2f}")
    assert share <= SPEEDUP

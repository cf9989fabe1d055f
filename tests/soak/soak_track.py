"""Track ten minutes of random events: no exception, flat memory, and each id used once."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="perfect fields are made by the training targets")

from tests.track.accidents import MOST, live  # noqa: E402

SECONDS = float(os.environ.get("KDC_SOAK_SECONDS", "600"))
GROWTH = 16  # limit from the first to the last quarter, MB


@pytest.mark.timeout(7200)
def test_tracker_survives_ten_minutes_of_random_events(row):
    torch.set_num_threads(1)
    used: list[tuple[float, float]] = []

    def watch(t: float) -> None:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        used.append((t, pages * os.sysconf("SC_PAGE_SIZE") / 2**20))

    start = time.perf_counter()
    life = live(SECONDS, seed=7, watch=watch)
    first = max(mb for t, mb in used if t < SECONDS / 4)
    last = max(mb for t, mb in used if t > SECONDS * 3 / 4)
    row(f"tracker, {SECONDS:.0f} s of random events", f"{life.frames} frames",
        f"{life.dropped} dropped, {life.empty} empty",
        f"clock back {life.jumps}, ahead {life.leaps}; camera jumps {life.turns}",
        f"at most {life.most} people, {len(life.ids)} ids, {max(life.tracks)} tracks",
        f"{first:.0f} → {last:.0f} MB", f"{time.perf_counter() - start:.0f} s")  # fmt: skip
    assert last - first < GROWTH
    assert max(life.tracks) < 300
    if SECONDS >= 600:
        assert life.most > MOST / 2 and life.jumps > 5 and life.leaps > 5 and life.turns > 20

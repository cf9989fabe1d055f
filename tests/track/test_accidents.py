"""Ten seconds of what ``tests/soak/soak_track.py`` does for ten minutes."""

from __future__ import annotations

import pytest

pytest.importorskip("torch", reason="perfect fields are made by the training targets")

from tests.track.accidents import RATE, live


@pytest.mark.parametrize("seed", [3, 4])
def test_video_decoder_survives_random_events(seed):
    life = live(10.0, seed)
    assert life.frames + life.dropped == 10 * RATE and life.frames > 50
    assert life.most >= 3 and len(life.ids) >= life.most
    assert max(life.tracks) < 80  # old tracks are deleted

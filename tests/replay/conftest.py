"""Recordings need rosbags; figures need pycocotools; drawn truth becomes fields with torch."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

for _name in ("rosbags", "pycocotools", "torch"):
    pytest.importorskip(_name, reason=f"{_name} is not installed: pip install -e '.[replay]'")
sys.path.insert(0, str(Path(__file__).parent))

from kdc_core.config import DecodeConfig  # noqa: E402


@pytest.fixture(scope="session")
def config() -> DecodeConfig:
    """As on a robot."""
    return DecodeConfig()


@pytest.fixture
def play(config, tmp_path):
    """Replay a recording with an engine that knows it; returns the summary and the folder."""
    from recordings import Known

    from kdc_core.pipeline import Pipeline
    from kdc_lab.replay.play import Replay, Settings

    def run(recording, path, name="out", engine=None, config=config, min_score=0.15, **settings):
        out = tmp_path / name
        known = engine or Known(recording)
        return Replay(
            path, out, Pipeline(known, config), Settings(min_score=min_score, **settings)
        ).run(), out

    return run

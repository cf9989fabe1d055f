"""Skip the tests of replay without rosbags, pycocotools and torch, and share fixtures."""

from __future__ import annotations

import pytest

for _name in ("rosbags", "pycocotools", "torch"):
    pytest.importorskip(_name, reason=f"{_name} is not installed: pip install -e '.[replay]'")

from kdc_core.config import DecodeConfig  # noqa: E402


@pytest.fixture(scope="session")
def config() -> DecodeConfig:
    """Default parameters, as on a robot."""
    return DecodeConfig()


@pytest.fixture
def play(config, tmp_path):
    """Replay a recording with an engine that knows it; return the summary and the folder."""
    from kdc_core.pipeline import Pipeline
    from kdc_lab.replay.play import Replay, Settings
    from tests.replay.recordings import Known

    def run(recording, path, name="out", engine=None, config=config, min_score=0.15, **settings):
        out = tmp_path / name
        known = engine or Known(recording)
        return Replay(
            path, out, Pipeline(known, config), Settings(min_score=min_score, **settings)
        ).run(), out

    return run

"""``kdc occlusion-bench`` from arguments to files."""

from __future__ import annotations

import argparse
import json

import pytest

pytest.importorskip("torch", reason="perfect fields are made by the training targets")

from kdc_core.commands import occlusion_bench
from kdc_core.evaluate import scenarios
from kdc_core.evaluate.clips import Clip, Drawn, line


def run(*argv):
    parser = argparse.ArgumentParser()
    occlusion_bench.add_arguments(parser)
    return occlusion_bench.main(parser.parse_args([str(part) for part in argv]))


@pytest.fixture
def one_short_clip(monkeypatch):
    """Half a second of one person instead of the whole list."""
    clip = Clip((Drawn(line(120, 220, 60), 150),))
    short = scenarios.Scenario("walk", clip, 0.6, rate=10)
    monkeypatch.setattr(scenarios, "scenarios", lambda cast, backgrounds: [short])


def test_tables_json_and_video_are_written(one_short_clip, tmp_path, capsys):
    assert run("--out", tmp_path, "--video", "--seed", 3) == 0
    text = capsys.readouterr().out
    assert "weighted, temporal" in text and "noise 1" in text
    result = json.loads((tmp_path / "occlusion_oracle.json").read_text())
    assert result["protocol"]["seed"] == 3 and result["protocol"]["people"] == "drawn"
    assert result["clips"]["walk"]["weighted, temporal"]["HOTA"] > 0.9
    assert (tmp_path / "occlusion_oracle.md").read_text() in text
    assert (tmp_path / "walk.mp4").stat().st_size > 1000


def test_what_does_not_fit_is_said_in_one_line(one_short_clip, tmp_path):
    for argv, words in (
        (["--only", "nothing of this name"], "no clip"),
        (["--video"], "--out"),
        (["--images", tmp_path], "belong together"),
        (["--backgrounds", tmp_path / "none"], "no such folder"),
        (["--backgrounds", tmp_path], "no pictures"),
    ):
        with pytest.raises(ValueError, match=words) as error:
            run(*argv)
        assert "\n" not in str(error.value)

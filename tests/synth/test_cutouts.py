"""Test rendered people as cut-outs of the occlusion benchmark."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("pycocotools", reason="cut-outs are read with pycocotools")

from kdc_lab.evaluate import cutouts
from kdc_lab.evaluate.composed_clips import Clip, line
from kdc_lab.evaluate.scenarios import real, scenarios
from kdc_lab.synth import RenderedFrame
from tests.synth import drawn_frames


@pytest.fixture
def drawn_people(monkeypatch):
    monkeypatch.setattr(cutouts, "clip", drawn_frames.clip)


def test_walker_layer_stands_on_its_feet_with_its_own_pixels(drawn_people):
    walkers = cutouts.rendered(2, seed=1)
    assert len(walkers) == 2 and len(walkers[0].frames) == cutouts.FRAMES
    figure = walkers[0].walking(line(100, 200, 40), 150, 1.0)
    shot = Clip((figure,), (320, 240)).at(0.5)
    y = np.nonzero(shot.owner)[0]
    assert abs(y.max() - 199) <= 1 and abs(y.max() - y.min() - 150) <= 4
    assert abs(shot.keypoints[0, 11:13, 0].mean() - 120) <= 1  # 40 pixels per second for 0.5 s
    seen = shot.keypoints[0][shot.keypoints[0, :, 2] == 2].round().astype(int)
    assert len(seen) >= 15 and (shot.owner[seen[:, 1], seen[:, 0]] == 1).all()
    colours = shot.image[shot.owner == 1].astype(int)
    own = np.abs(colours - np.median(colours, axis=0)).max(axis=1) <= 3
    assert own.mean() > 0.8  # all pixels except the border


def test_walker_motion_loops_at_its_pace(drawn_people):
    walker = cutouts.rendered(1)[0].walking(line(160, 230, 0), 200, 2.0)
    size, corner = (320, 240), np.zeros(2)
    last = (cutouts.FRAMES - 1) / cutouts.RATE

    def mask(t: float) -> np.ndarray:
        return walker.layer(t, corner, size).mask

    assert not np.array_equal(mask(0.0), mask(last / 4))
    assert np.array_equal(mask(0.001), mask(last + 0.001))  # one full loop at twice the speed
    still = replace(walker, pace=0.0)
    assert np.array_equal(still.layer(0.0, corner, size).mask, still.layer(0.7, corner, size).mask)


def test_walker_height_trend_is_removed_but_bobbing_stays():
    heights = np.array([200, 212, 216, 228, 232, 244])  # grows by 8 per frame and bobs by 2
    frames = [
        cutouts.Cutout(np.zeros((h, 9, 3), np.uint8), np.ones((h, 9), np.uint8), np.zeros((17, 3)))
        for h in heights
    ]
    shares = np.array([frame.tall for frame in cutouts.at_one_distance(frames)])
    assert np.ptp(shares) < 0.03 and np.all(np.diff(shares)[[0, 2, 4]] > 0)


def test_rendered_rejects_partly_hidden_people(monkeypatch):
    def hidden(*given) -> Iterator[RenderedFrame]:
        for shot in drawn_frames.clip(*given):
            yield replace(shot, hidden=np.full(len(shot), 0.3, np.float32))

    monkeypatch.setattr(cutouts, "clip", hidden)
    monkeypatch.setattr(cutouts, "TRIES", 2)
    with pytest.raises(ValueError, match="got 0 of 2; try another --seed") as error:
        cutouts.rendered(1)
    assert "\n" not in str(error.value)


def test_rendered_people_play_all_scenarios(drawn_people):
    cast = real(cutouts.rendered(2), np.random.default_rng(0))
    for scenario in scenarios(cast, [None]):
        shot = scenario.clip.at(scenario.seconds / 2)
        assert shot.owner.max() <= len(scenario.clip.figures)
        assert (shot.share >= 0).all() and (shot.share <= 1).all()


def test_occlusion_bench_command_uses_rendered_people(drawn_people, monkeypatch, tmp_path, capsys):
    pytest.importorskip("torch", reason="perfect fields are made by the training targets")
    from kdc_lab.commands import occlusion_bench
    from kdc_lab.evaluate import scenarios as module

    taken = []

    def one_short_clip(cast, backgrounds):
        taken.append(cast(line(120, 220, 60), 150, 1.0))
        return [module.Scenario("walk", Clip((taken[0],)), 0.4, rate=10)]

    monkeypatch.setattr(module, "scenarios", one_short_clip)
    monkeypatch.setattr(occlusion_bench, "RENDERED", 2)
    parser = argparse.ArgumentParser()
    occlusion_bench.add_arguments(parser)
    given = ["--people", "synthetic", "--out", str(tmp_path)]
    assert occlusion_bench.main(parser.parse_args(given)) == 0
    assert isinstance(taken[0], cutouts.Walker)
    result = json.loads((tmp_path / "occlusion_oracle.json").read_text())
    assert result["protocol"]["people"] == "synthetic"
    assert "weighted, temporal" in capsys.readouterr().out
    given += ["--images", str(tmp_path), "--annotations", str(tmp_path)]
    with pytest.raises(ValueError, match="--people cannot be used with --images"):
        occlusion_bench.main(parser.parse_args(given))

"""The occlusion benchmark: its clips are what they say, and its figures tell good from bad."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="perfect fields are made by the training targets")

from kdc_core.config import ModelInfo  # noqa: E402
from kdc_lab.evaluate import occlusion  # noqa: E402
from kdc_lab.evaluate.clip_metrics import ClipRecord, summary  # noqa: E402
from kdc_lab.evaluate.composed_clips import Clip, Drawn, line  # noqa: E402
from kdc_lab.evaluate.cutouts import Cutout  # noqa: E402
from kdc_lab.evaluate.scenarios import Scenario, drawn, scenarios  # noqa: E402


def test_clip_knows_visibility():
    clip = Clip(
        (Drawn(lambda t: (100.0, 220.0), 150, 0), Drawn(line(200, 225, -100), 150, 0)),
        pillars=lambda t: [(180.0, 0.0, 320.0, 240.0)],
    )
    start, passing = clip.at(0.0), clip.at(1.0)
    assert start.share[0] == 1 and start.share[1] < 0.5
    assert (start.owner[:, 180:] == 0).all()
    assert passing.share[1] == 1 and passing.share[0] < 0.25
    hidden = passing.keypoints[0, :, 2] == 1
    x, y = passing.keypoints[0, hidden, :2].round().astype(int).T
    assert hidden.sum() > 8 and (passing.owner[y, x] != 1).all()
    assert len(passing.seen(0.3).share) == 1
    np.testing.assert_array_equal(passing.seen(0.3).owner == 1, passing.owner == 2)


def test_clip_pans_and_scenario_drops_frames():
    clip = Clip((Drawn(lambda t: (160.0, 220.0), 150, 0),), camera=lambda t: (20 * t, 0.0))
    np.testing.assert_array_equal(clip.at(1.0).owner[:, :-20], clip.at(0.0).owner[:, 20:])
    scenario = Scenario("half", clip, 2.0, rate=30, dropped=0.5)
    stamps = scenario.stamps(np.random.default_rng(0))
    assert len(stamps) == 30 and (np.diff(stamps) > 0).all()


def test_cutout_layer_has_position_and_height():
    image = np.full((100, 40, 3), 200, np.uint8)
    mask = np.full((100, 40), 255, np.uint8)
    keypoints = np.tile(np.array([20.0, 50.0, 2.0], np.float32), (17, 1))
    person = Cutout(image, mask, keypoints).walking(lambda t: (160.0, 220.0), 150.0, 0.0)
    layer = person.layer(0.0, np.array([10.0, 0.0]), (320, 240))
    rows, columns = np.nonzero(layer.mask)
    assert abs(rows.max() - 220) <= 1 and abs(np.ptp(rows) - 150) <= 2
    assert abs(columns.mean() - 150) < 1
    np.testing.assert_allclose(layer.keypoints[0], [150, 145, 2], atol=1)


def test_scenarios_cover_crossings_pans_drops_and_gaps():
    names = " ".join(s.name for s in scenarios(drawn(np.random.default_rng(0)), [None]))
    for word in ("crossing", "60 fps", "dropped", "pan", "rising wall", "gap 0.3", "gap 5.0"):
        assert word in names


def test_figures_of_a_short_crossing():
    torch.set_num_threads(1)
    clip = Clip((Drawn(line(110, 215, 80), 150), Drawn(line(210, 225, -80), 165, 1.1)))
    rng = np.random.default_rng(0)
    look = occlusion.ground_truth_fields(ModelInfo(), rng, noise=0.0)
    played = {"short": occlusion.play(Scenario("short", clip, 1.3, rate=15), look, rng)}
    result = occlusion.figures(played)
    default, literal = result["all"][occlusion.DEFAULT], result["all"]["literal argmax (DM_c)"]
    assert default["HOTA"] > 0.9 and default["id_switches"] == 0
    assert literal["centroid_switches_per_minute"] > 5 * default["centroid_switches_per_minute"]
    text = occlusion.markdown(result, "Short")
    assert text.count("box tracker") == 4 and "0.60-0.80" in text


def test_gains_resample_casts_of_one_clip_together():
    def clip(ours, theirs):
        of = {"HOTA": ours, "iou_half_hidden": None}
        return {occlusion.DEFAULT: of, "other": {"HOTA": theirs, "iou_half_hidden": 0.5}}

    clips = {"a #1": clip(0.9, 0.6), "a #2": clip(0.8, 0.7), "b #1": clip(0.6, 0.6)}
    clips["b #2"] = clip(0.5, None)
    found = occlusion.gains(clips, "other")
    assert found["iou_half_hidden"] is None
    mean, low, high = found["HOTA"]
    assert mean == pytest.approx(0.4 / 3, abs=1e-4)
    assert (low, high) == pytest.approx((0.0, 0.2)), "twice b alone, twice a alone"
    del clips["b #1"]
    assert occlusion.gains(clips, "other")["HOTA"] is None, "one kind says nothing about others"


def test_summary_counts_a_gap_as_regained_with_the_old_id_only():
    clip = Clip(
        (Drawn(lambda t: (160.0, 220.0), 150, 0),),
        pillars=lambda t: [(0.0, 0.0, 320.0, 240.0)] if 0.5 <= t < 1.0 else [],
    )
    rates = []
    for later in (1, 2):
        ledger = ClipRecord()
        for t in np.arange(0, 1.6, 0.1):
            shot = clip.at(float(t))
            people = _answer(shot, 1 if t < 0.7 else later)
            ledger.add(float(t), shot, people)
        (gap,) = [g for g in summary([ledger])["regained"].values() if g["gaps"]]
        rates.append((gap["gaps"], gap["rate"]))
    assert rates == [(1, 1.0), (1, 0.0)]


@pytest.mark.parametrize("dropped", [0.0, 0.5])
@pytest.mark.parametrize("wall", [[], [(100.0, 0.0, 250.0, 240.0)]])
def test_summary_of_even_motion_has_no_jitter(wall, dropped):
    clip = Clip((Drawn(line(40, 230, 100), 150, 0),), pillars=lambda t: wall)
    stamps = Scenario("walk", clip, 2.7, 30, dropped).stamps(np.random.default_rng(0))
    exact, shaken = ClipRecord(), ClipRecord()
    for index, t in enumerate(stamps.tolist()):
        shot = clip.at(t)
        people = _answer(shot, 1)
        exact.add(t, shot, people)
        off = np.array([index % 2, 0, 0])  # a pixel: second differences of 2, of a scale of 10
        shaken.add(t, shot, replace(people, keypoints=people.keypoints + off))
    assert len(exact.jitter) > 50 and max(exact.jitter) < 1e-9
    assert summary([shaken])["jitter"] == pytest.approx(0.2, abs=1e-4)


def _answer(shot, identity):
    """People that are exactly the truth, under one id."""
    from kdc_core.types import People, Phase

    n = int(shot.share[0] > 0)
    return People(
        ids=np.full(n, identity), score=np.ones(n), mask_score=np.ones(n),
        keypoints=shot.keypoints[:n], visible=shot.keypoints[:n, :, 2] == 2,
        boxes=np.tile([0.0, 0.0, 10.0, 10.0], (n, 1)), centroid=np.zeros(n, int),
        centroid_xy=np.zeros((n, 2)), labels=(shot.owner * identity).astype(np.uint16),
        phase=np.full(n, Phase.CONFIRMED, np.uint8),
    )  # fmt: skip

"""``kdc occlusion-bench`` from arguments to files."""

from __future__ import annotations

import argparse
import json

import numpy as np
import pytest

pytest.importorskip("torch", reason="perfect fields are made by the training targets")

from kdc_lab.commands import occlusion_bench
from kdc_lab.evaluate import scenarios
from kdc_lab.evaluate.composed_clips import Clip, Drawn, line


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


def test_command_writes_tables_plots_and_clips(one_short_clip, tmp_path, capsys):
    assert run("--out", tmp_path, "--seed", 3) == 0
    text = capsys.readouterr().out
    assert "weighted, temporal" in text and "noise 1" in text
    result = json.loads((tmp_path / "occlusion_oracle.json").read_text())
    assert result["protocol"]["seed"] == 3 and result["protocol"]["people"] == "drawn"
    assert result["clips"]["walk"]["weighted, temporal"]["HOTA"] > 0.9
    assert (tmp_path / "occlusion_oracle.md").read_text() in text
    assert "weighted, temporal" in (tmp_path / "oracle_iou_by_hidden.svg").read_text()
    assert (tmp_path / "clips" / "walk.mp4").stat().st_size > 1000


@pytest.mark.parametrize("form", ["in the bag", "walk.json", "walk.txt"])
def test_replay_reads_images_and_truth_of_a_clip(one_short_clip, tmp_path, form):
    pytest.importorskip("rosbags", reason="rosbags is not installed: pip install -e '.[replay]'")
    from kdc_lab.replay import cameras, cdr_messages, ground_truth
    from kdc_lab.replay.bag import Bag

    run("--out", tmp_path)
    bag = Bag(tmp_path / "clips" / "walk")
    prefixes = cameras.prefixes(cameras.choose(bag, []))
    (camera,) = prefixes
    file = None if form == "in the bag" else tmp_path / "clips" / form
    known = ground_truth.load(bag, prefixes, file, "")
    clip = Clip((Drawn(line(120, 220, 60), 150),))
    pictures = [cdr_messages.decode(m.data, m.kind) for m in bag.messages({camera})]
    bag.close()
    assert len(pictures) == 6
    for index, message in enumerate(pictures):
        shot = clip.at(index / 10)
        assert cdr_messages.image_of(message).shape == shot.image.shape
        (person,) = known.find(camera, cdr_messages.stamp_of(message.header), index)
        assert person["area"] == (shot.owner == 1).sum() and not person["iscrowd"]
        assert person["track_id"] % 1000 == 1
        if form != "walk.txt":
            np.testing.assert_allclose(
                np.reshape(person["keypoints"], (17, 3)), shot.keypoints[0], atol=0.01
            )


@pytest.mark.parametrize("level", ["nan", "-3", "inf"])
def test_noise_refuses_other_than_finite_numbers(level, capsys):
    with pytest.raises(SystemExit):
        run("--noise", level)
    assert f"--noise: expected a number from 0 to 1e9, got '{level}'" in capsys.readouterr().err


def test_command_reports_wrong_arguments_in_one_line(one_short_clip, tmp_path):
    for argv, words in (
        (["--only", "nothing of this name"], "no clip"),
        (["--people", "drawn", "--images", tmp_path], "--people cannot be used with --images"),
        (["--split", "tune"], "--split can only be used with --images"),
        (["--images", tmp_path], "can only be used together"),
        (["--backgrounds", tmp_path / "none"], "no such folder"),
        (["--backgrounds", tmp_path], "no images"),
    ):
        with pytest.raises(ValueError, match=words) as error:
            run(*argv)
        assert "\n" not in str(error.value)

"""Two replays side by side, and the guard against getting worse."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kdc_core.cli import main
from kdc_core.types import Frame
from kdc_lab.replay import baseline
from kdc_lab.replay.cdr_messages import NS
from kdc_lab.replay.comparison import compare, difference, people_in
from tests.replay.recordings import InOrder, Known, Recording, record, stamp, writer


class Blind(Known):
    """Sees what was there a second ago in the second half."""

    def __call__(self, frame):
        late = frame.stamp - 1_700_000_000 > 0.95
        return super().__call__(Frame(frame.image, frame.stamp - 0.4 * late))


@pytest.fixture
def two(play, tmp_path):
    recording = Recording(frames=20, truth=True)
    bag = recording.write(tmp_path / "bag")
    good, a = play(recording, bag, "a")
    bad, b = play(recording, bag, "b", engine=Blind(recording))
    return good, a, bad, b


def test_compare_finds_where_two_runs_differ(two, tmp_path):
    _, a, _, b = two
    content = compare(a, b, tmp_path / "c")
    assert content["frames"] == 20 and 9 <= content["equal_frames"] <= 11
    assert all(e["stamp_ns"] - 1_700_000_000 * 10**9 > 9e8 for e in content["most_different"])
    before, after = content["figures"]["mask AP"]
    assert before > after + 0.1
    page = (tmp_path / "c" / "compare.html").read_text()
    assert page.count("data:image/jpeg;base64,") == len(content["most_different"]) >= 1
    assert json.loads((tmp_path / "c" / "compare.json").read_text()) == content


def test_compare_with_itself_finds_nothing(two, tmp_path):
    _, a, _, _ = two
    content = compare(a, a, tmp_path / "c")
    assert (content["equal_frames"], content["most_different"]) == (20, [])


def test_compare_of_one_camera_with_two_of_equal_stamps(play, tmp_path):
    left, right = (Recording(topic=f"/{side}/image_raw", frames=6) for side in ("left", "right"))
    bag = tmp_path / "bag"
    with writer(bag) as both:
        record(both, left)
        record(both, right)
    _, a = play(right, bag, "a", topics=("/right/image_raw",))
    _, b = play(left, bag, "b")
    content = compare(a, b, tmp_path / "c")
    assert (content["frames"], content["equal_frames"]) == (6, 6)


def test_compare_keeps_frames_with_repeated_stamps_apart(play, tmp_path):
    """A clock set back by 1.5 s at frame 20 gives 20 to 23 the stamps of 5 to 8."""
    recording = Recording(frames=24, truth=True, clock=lambda t: t - (t >= stamp(20)) * 3 * NS // 2)
    bag = recording.write(tmp_path / "bag")
    summary, a = play(recording, bag, "a", engine=InOrder(recording))
    assert (summary["frames"], summary["truth"]["frames"]) == (24, 16)
    assert [(e["reason"], e["count"]) for e in summary["skipped"]] == [
        ("two ground truths have the same stamp", 4)
    ]
    _, b = play(recording, bag, "b", engine=Blind(recording))
    content = compare(a, b, tmp_path / "c")
    assert content["frames"] == 24 and content["equal_frames"] < 24
    page = (tmp_path / "c" / "compare.html").read_text()
    assert page.count("data:image/jpeg;base64,") == len(content["most_different"]) >= 1
    assert compare(a, a, tmp_path / "c")["equal_frames"] == 24


def test_compare_without_the_recording_still_has_figures(two, tmp_path):
    _, a, _, b = two
    (tmp_path / "bag").rename(tmp_path / "moved")
    assert compare(a, b, tmp_path / "c")["frames"] == 20
    assert "data:image" not in (tmp_path / "c" / "compare.html").read_text()


def test_difference_counts_people_and_missing_overlap(two):
    _, a, _, _ = two
    people = dict(people_in(a / "people"))
    first = next(iter(people.values()))
    assert len(first) == 2 and difference(first, first) == 0
    from dataclasses import replace

    labels = first.labels.copy()
    labels[labels == 2] = 0
    assert difference(first, replace(first, labels=labels)) == 1


def test_compare_refuses_other_folders(two, tmp_path):
    with pytest.raises(ValueError, match="expected the output folder of kdc replay"):
        compare(two[1], tmp_path, tmp_path / "c")


def test_fallen_names_figures_and_their_values(two):
    good, a, bad, _ = two
    before = baseline.read(a)
    assert baseline.fallen(good, before, 0.0) == []
    lines = baseline.fallen(bad, before, 0.01)
    assert any(line.startswith(f"mask AP: {good['truth']['segm']['AP']:.4f} -> ") for line in lines)
    assert baseline.fallen(bad, before, 1.0) == []
    assert baseline.fallen({"truth": None}, before, 0.01)[0].endswith("no figure (margin 0.01)")


def test_read_refuses_baseline_without_truth(tmp_path):
    (tmp_path / "summary.json").write_text('{"truth": null}')
    with pytest.raises(ValueError, match="no figures against a ground truth"):
        baseline.read(tmp_path)
    (tmp_path / "summary.json").write_text("[]")
    with pytest.raises(ValueError, match=r"expected a summary.json"):
        baseline.read(tmp_path / "summary.json")


def test_replay_of_drawn_people_is_as_good_as_the_baseline(play, tmp_path):
    """The decoder and the tracker on a short rendered bag may not get worse than baseline.json."""
    recording = Recording(frames=24, truth=True)
    summary, _ = play(recording, recording.write(tmp_path / "bag"))
    before = baseline.read(Path(__file__).with_name("baseline.json"))
    assert baseline.fallen(summary, before, 0.01) == []


def test_command_compares(two, tmp_path, capsys):
    _, a, _, b = two
    assert main(["replay", "--compare", str(a), str(b), "--out", str(tmp_path / "c")]) == 0
    assert "of 20 frames are equal" in capsys.readouterr().out

"""Offline replay: the same bytes every time, from every kind of recording."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from rosbags.rosbag2 import CompressionMode

from kdc_core.pipeline import Pipeline
from kdc_core.types import Frame
from kdc_lab.replay import cdr_messages
from kdc_lab.replay.bag import Bag
from kdc_lab.replay.camera_stats import describe_stamps
from kdc_lab.replay.cameras import paced, prefixes
from kdc_lab.replay.cdr_messages import NS
from kdc_lab.replay.comparison import people_in
from kdc_lab.replay.play import Replay, RobotClock, Settings
from kdc_lab.replay.result_files import Output
from tests.replay.recordings import InOrder, Known, Recording, record, stamp, writer

RESULTS = ("keypoints.json", "masks.json", "images.json", "mot_camera_image_raw.txt",
           "mots_camera_image_raw.txt")  # fmt: skip


def contents(out: Path, skip: tuple[str, ...] = ("run.json",)) -> dict[str, bytes]:
    files = sorted(p for p in out.rglob("*") if p.is_file() and p.name not in skip)
    return {str(p.relative_to(out)): p.read_bytes() for p in files}


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_replay_gives_the_same_bytes_twice(play, tmp_path, storage):
    recording = Recording(truth=True)
    bag = recording.write(tmp_path / "bag")
    first = contents(play(recording, bag, "a", storage=storage)[1])
    assert first == contents(play(recording, bag, "b", storage=storage)[1])
    assert {"summary.json", "report.html", "people/metadata.yaml", *RESULTS} <= set(first)


@pytest.mark.parametrize("compression", list(CompressionMode))
def test_replay_gives_the_same_results_from_every_storage(play, tmp_path, compression):
    recording = Recording(truth=True)
    expected = contents(play(recording, recording.write(tmp_path / "plain"), "a")[1])
    for storage in ("mcap", "sqlite3"):
        if (storage, compression) == ("sqlite3", CompressionMode.STORAGE):
            continue  # there is no such thing
        other = Recording(truth=True, storage=storage, compression=compression)
        summary, out = play(recording, other.write(tmp_path / storage), f"out_{storage}")
        assert {name: (out / name).read_bytes() for name in RESULTS} == {
            name: expected[name] for name in RESULTS
        }
        assert summary["truth"] == json.loads(expected["summary.json"])["truth"]
        assert summary["skipped"] == []


def test_output_bag_agrees_with_the_result_files(play, tmp_path):
    recording = Recording()
    _, out = play(recording, recording.write(tmp_path / "bag"))
    answers = dict(people_in(out / "people"))
    assert list(answers) == [("/kdc", stamp(i), stamp(i)) for i in range(12)]
    skeletons = json.loads((out / "keypoints.json").read_text())
    assert sum(len(people) for people in answers.values()) == len(skeletons) > 12
    first = [s for s in skeletons if s["image_id"] == 1]
    people = answers["/kdc", stamp(0), stamp(0)]
    assert people.ids.tolist() == [s["track_id"] for s in first]
    assert np.allclose(people.keypoints.reshape(len(first), -1), [s["keypoints"] for s in first],
                       atol=0.006)  # fmt: skip
    assert set(np.unique(people.labels)) == {0, *people.ids.tolist()}
    bag = Bag(out / "people")
    assert bag.topics["/kdc/persons"] == "kdc_msgs/msg/PersonArray"
    message = next(bag.messages({"/kdc/persons"}))
    assert (message.time, cdr_messages.decode(message.data, message.kind).header.frame_id) == (
        stamp(0), "optical",
    )  # fmt: skip
    bag.close()


def test_replay_reads_split_files_in_order_of_recording(play, tmp_path):
    whole = Recording(frames=22)
    expected = contents(play(whole, whole.write(tmp_path / "whole"), "a")[1])
    split = tmp_path / "split"
    split.mkdir()
    names = []
    for part in range(11):  # split_10 comes after split_9, not after split_1
        with writer(tmp_path / f"p{part}") as bag:
            record(bag, _Part(part))
        names.append(f"split_{part}.mcap")
        (tmp_path / f"p{part}" / f"p{part}.mcap").rename(split / names[-1])
    yaml = (tmp_path / "p0" / "metadata.yaml").read_text()
    listed = "relative_file_paths:\n  - " + "\n  - ".join(names)
    (split / "metadata.yaml").write_text(yaml.replace("relative_file_paths:\n  - p0.mcap", listed))
    summary, out = play(whole, split, "b")
    assert summary["frames"] == 22 and summary["skipped"] == []
    for name in RESULTS:
        assert (out / name).read_bytes() == expected[name]


class _Part(Recording):
    """Frames 2n and 2n + 1."""

    def __init__(self, number: int) -> None:
        super().__init__(frames=22)
        object.__setattr__(self, "number", number)

    def shots(self):
        return islice(super().shots(), 2 * self.number, 2 * self.number + 2)


def test_replay_of_several_cameras_raw_and_compressed(play, tmp_path):
    left = Recording(topic="/left/image_raw", frames=6)
    right = Recording(topic="/right/image_raw/compressed", frames=6, jpeg=True)
    path = tmp_path / "bag"
    with writer(path) as bag:
        record(bag, left)
        record(bag, right)
    summary, out = play(left, path)
    assert sorted(summary["cameras"]) == ["/left/image_raw", "/right/image_raw/compressed"]
    assert {place.camera for place, _ in people_in(out / "people")} == {"/left/kdc", "/right/kdc"}
    one, _ = play(left, path, "one", topics=("/right/image_raw/compressed",))
    assert list(one["cameras"]) == ["/right/image_raw/compressed"] and one["frames"] == 6
    with pytest.raises(ValueError, match="no images on /nowhere; topics with images: /left"):
        play(left, path, "none", topics=("/nowhere",))


def test_replay_counts_requested_topics_that_are_missing(play, tmp_path):
    recording = Recording(frames=6, truth=True)
    bag = recording.write(tmp_path / "bag")
    summary, _ = play(recording, bag, "a", topics=(recording.topic, "/rear/image_rwa"))
    assert [(e["where"], e["reason"]) for e in summary["skipped"]] == [
        ("/rear/image_rwa", "not in the recording")
    ]
    summary, _ = play(recording, bag, "b", truth_topic="/typo/persons")
    assert {(e["where"], e["reason"]) for e in summary["skipped"]} == {
        ("/typo/persons", "not in the recording"),
        ("persons", "no image has this ground truth: stamps or topics differ"),
    }


def test_replay_does_not_report_people_below_min_score(play, tmp_path):
    recording = Recording(frames=6, truth=True)
    bag = recording.write(tmp_path / "bag")
    _, out = play(recording, bag, "a", min_score=0.99)
    assert all(len(people) == 0 for _, people in people_in(out / "people"))
    assert json.loads((out / "keypoints.json").read_text()) == []


def test_replay_replaces_only_its_own_results(play, tmp_path):
    recording = Recording(frames=4)
    bag = recording.write(tmp_path / "data" / "people")
    before = contents(bag)
    with pytest.raises(ValueError, match="the results would replace"):
        play(recording, bag, "data")
    with pytest.raises(ValueError, match="the results would replace"):
        play(recording, bag / "people.mcap", "data")
    cut = tmp_path / "cut" / "people"
    cut.mkdir(parents=True)
    (cut / "people.mcap").write_bytes(b"a replay that was killed")
    assert play(recording, bag, "cut")[0]["frames"] == 4
    photos = tmp_path / "album" / "people"
    photos.mkdir(parents=True)
    (photos / "anna.jpg").write_bytes(b"photo")
    with pytest.raises(ValueError, match="an older recording"):
        play(recording, bag, "album")
    assert contents(bag) == before and (photos / "anna.jpg").read_bytes() == b"photo"


def test_prefixes_of_cameras_in_one_namespace_differ():
    assert prefixes(["/a/left", "/a/right/compressed", "/b/image_raw"]) == {
        "/a/left": "/a/left/kdc", "/a/right/compressed": "/a/right/kdc", "/b/image_raw": "/b/kdc",
    }  # fmt: skip
    assert prefixes(["/image_raw"]) == {"/image_raw": "/kdc"}
    assert prefixes(["/a/image_raw"]) == {"/a/image_raw": "/kdc"}
    # one of two cameras of a recording, which the robot's node serves both
    two = ["/a/image_raw", "/b/image_raw"]
    assert prefixes(two[1:], two) == {"/b/image_raw": "/b/kdc"}
    compressed = ["/a/image_raw/compressed"]
    assert prefixes(compressed, two[:1]) == {compressed[0]: "/kdc"}


def test_replay_start_and_duration_choose_frames(play, tmp_path):
    recording = Recording()
    path = recording.write(tmp_path / "bag")
    summary, out = play(recording, path, start=0.35, duration=0.5)
    stamps = [image["stamp_ns"] for image in json.loads((out / "images.json").read_text())]
    assert stamps == [stamp(i) for i in range(4, 9)]
    assert summary["cameras"]["/camera/image_raw"]["seconds"] == 0.4
    assert (out / "mot_camera_image_raw.txt").read_text().startswith("1,")


def test_paced_drops_messages_that_are_replaced():
    recorded = [_Recorded("/a", 100 * i) for i in range(10)] + [_Recorded("/b", 250)]
    recorded.sort(key=lambda m: m.time)
    now, dropped, worked = [0.0], [], []

    def sleep(seconds: float) -> None:
        now[0] += seconds

    steps = paced(iter(recorded), 1.0, dropped.append, lambda: now[0], sleep)
    for message, arrived in steps:
        worked.append((message.topic, message.time // 10**6, round(now[0] - arrived, 3)))
        now[0] += 0.25  # the network takes 250 ms, the camera gives a frame every 100
    assert worked == [("/a", 0, 0.0), ("/a", 200, 0.05), ("/b", 250, 0.25), ("/a", 700, 0.05),
                      ("/a", 900, 0.1)]  # fmt: skip
    assert [m.time // 10**6 for m in dropped] == [100, 300, 400, 500, 600, 800]


class _Recorded:
    def __init__(self, topic: str, ms: int) -> None:
        self.topic, self.time = topic, ms * 10**6


def test_realtime_counts_frames_and_measures_latency(play, tmp_path):
    import time

    recording = Recording(frames=20)
    known = Known(recording)

    class Slow(Known):
        def __init__(self) -> None:
            self.info = known.info

        def __call__(self, frame):
            time.sleep(0.2)
            return known(frame)

    for time_ns, _ in recording.shots():
        known(Frame(np.zeros((1, 1, 3), np.uint8), time_ns / 1e9))  # drawn beforehand
    summary, out = play(recording, recording.write(tmp_path / "bag"), engine=Slow(),
                        realtime=True)  # fmt: skip
    figures = summary["cameras"]["/camera/image_raw"]
    assert figures["received"] == 20 == figures["frames"] + figures["dropped"]
    assert 3 <= figures["frames"] <= 11  # 2 s, 200 ms each and what decoding takes
    assert 200 <= figures["latency_p50_ms"] < 2 * 2000 / figures["frames"] + 200
    assert "Latency" in (out / "report.html").read_text()


class ManualClock:
    """Time that moves on only when something takes time."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_robot_clock_stands_still_while_paused():
    time = ManualClock()
    clock = RobotClock(time, time.sleep)
    time.sleep(1.0)
    with clock.paused():
        time.sleep(10.0)
    time.sleep(0.5)
    assert clock() == 1.5


@pytest.mark.parametrize("step", ["persons", "switches", "texts"])
def test_realtime_does_not_count_writing_and_evaluating(tmp_path, config, monkeypatch, step):
    """The network takes 50 ms, writing half a second: a robot would process every frame."""
    time = ManualClock()
    recording = Recording(frames=8, truth=True)
    known = Known(recording)

    class Timed(Known):
        def __call__(self, frame):
            time.sleep(0.05)
            return known(frame)

    write = getattr(Output, step)

    def slow(*args):
        time.sleep(0.5)
        write(*args)

    monkeypatch.setattr(Output, step, slow)
    bag = recording.write(tmp_path / "bag")
    pipeline = Pipeline(Timed(recording), config)
    clock = RobotClock(time, time.sleep)
    summary = Replay(bag, tmp_path / "out", pipeline, Settings(realtime=True), clock).run()
    figures = summary["cameras"]["/camera/image_raw"]
    assert (figures["frames"], figures["dropped"]) == (8, 0)
    assert figures["latency_p50_ms"] == figures["latency_max_ms"] == 50.0


def test_switches_of_people_below_the_score_are_not_written(play, tmp_path):
    recording = Recording(frames=12)
    bag = recording.write(tmp_path / "bag")

    def events(out):
        written = Bag(out / "people")
        found = [m for m in written.messages(set(written.topics)) if m.topic.endswith("/events")]
        written.close()
        return len(found)

    summary, out = play(recording, bag, "all")
    figures = summary["cameras"]["/camera/image_raw"]
    assert events(out) == figures["centroid_switches"] > 0
    summary, out = play(recording, bag, "none", min_score=1.0)
    figures = summary["cameras"]["/camera/image_raw"]
    assert (figures["ids"], figures["centroid_switches"], events(out)) == (0, 0, 0)


@pytest.mark.parametrize(
    ("clock", "counts", "skipped"),
    [
        (lambda t: t, {}, {}),
        (lambda t: 0, {"unstamped": 8}, {}),
        (lambda t: stamp(0), {"repeated": 3, "standing": 4}, {"stamp repeats": 3}),
        (lambda t: t - 5 * NS * (t >= stamp(4)), {"resets": 1}, {}),
    ],
)
def test_summary_counts_stamps_of_no_use(play, tmp_path, clock, counts, skipped):
    recording = Recording(frames=8, clock=clock)
    bag = recording.write(tmp_path / "bag")
    summary, out = play(recording, bag, engine=InOrder(recording))
    none = {"late": 0, "repeated": 0, "unstamped": 0, "standing": 0, "resets": 0}
    assert summary["stamps"] == {"/camera/image_raw": {**none, **counts}}
    assert {e["reason"]: e["count"] for e in summary["skipped"]} == skipped
    text = describe_stamps(summary["stamps"]["/camera/image_raw"])
    assert bool(text) == bool(counts) and text in (out / "report.html").read_text()

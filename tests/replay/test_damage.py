"""Broken recordings: what can be read is evaluated, what cannot is counted with its reason."""

from __future__ import annotations

import json
import struct

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rosbags.rosbag2 import CompressionMode

from kdc_lab.replay import cdr_messages
from kdc_lab.replay.bag import Bag, bags_in
from tests.replay.recordings import InOrder, Recording, connect, picture, stamp, writer

CAMERA = "/camera/image_raw"
NS = cdr_messages.NS


def storage_of(path):
    return next(p for p in path.iterdir() if p.suffix in (".mcap", ".db3", ".zstd"))


def cut(path, share):
    file = storage_of(path)
    file.write_bytes(file.read_bytes()[: int(file.stat().st_size * share)])


def reasons(summary):
    return {e["reason"]: e["count"] for e in summary["skipped"]}


@pytest.mark.parametrize("storage, compression", [
    ("mcap", CompressionMode.NONE), ("mcap", CompressionMode.STORAGE),
    ("mcap", CompressionMode.FILE), ("sqlite3", CompressionMode.NONE),
    ("sqlite3", CompressionMode.MESSAGE),
])  # fmt: skip
def test_bag_reads_a_truncated_file_up_to_the_break(play, tmp_path, storage, compression):
    recording = Recording(frames=30, storage=storage, compression=compression)
    path = recording.write(tmp_path / "bag")
    cut(path, 0.7)
    summary, _ = play(recording, path)
    assert 10 <= summary["frames"] < 30
    assert reasons(summary) == {"storage file is damaged": 1}


def test_bag_loses_only_the_messages_of_a_damaged_chunk(play, tmp_path):
    recording = Recording(frames=30, compression=CompressionMode.STORAGE)
    path = recording.write(tmp_path / "bag")
    file = storage_of(path)
    data = bytearray(file.read_bytes())
    middle = data.index(b"zstd", len(data) // 3) + 40
    data[middle : middle + 40] = bytes(40)
    file.write_bytes(data)
    summary, _ = play(recording, path)
    assert 20 <= summary["frames"] < 30
    assert reasons(summary) == {"storage file is damaged": 1}


def test_bag_without_metadata_reads_files_in_order(play, tmp_path):
    recording = Recording(frames=5)
    path = recording.write(tmp_path / "bag")
    (path / "metadata.yaml").unlink()
    summary, _ = play(recording, path)
    assert summary["frames"] == 5 and reasons(summary) == {"missing": 1}
    (path / "metadata.yaml").write_text("a: [")
    assert reasons(play(recording, path)[0]) == {"unreadable": 1}
    single, _ = play(recording, storage_of(path), "single")
    assert single["frames"] == 5 and single["skipped"] == []


def test_bag_reports_a_missing_split_file(play, tmp_path):
    recording = Recording(frames=5)
    path = recording.write(tmp_path / "bag")
    yaml = (path / "metadata.yaml").read_text()
    (path / "metadata.yaml").write_text(
        yaml.replace("  - bag.mcap", "  - bag.mcap\n  - b_1.mcap", 1)
    )
    summary, _ = play(recording, path)
    assert summary["frames"] == 5 and reasons(summary) == {"storage file is missing": 1}


def test_replay_counts_bad_messages_and_evaluates_the_rest(play, tmp_path):
    recording = Recording(frames=4)
    shots = list(recording.shots())
    path = tmp_path / "bag"
    good = [
        cdr_messages.encode(picture(shot.image, cdr_messages.header(t, ""))) for t, shot in shots
    ]
    wrong = picture(shots[0][1].image, cdr_messages.header(stamp(9), ""))
    wrong.encoding = "bayer_unheard_of"
    back = picture(shots[3][1].image, cdr_messages.header(stamp(1), ""))
    empty = cdr_messages.image_message(shots[0][1].image[:0, :0], cdr_messages.header(stamp(9), ""))
    with writer(path) as bag:
        camera = connect(bag, CAMERA, cdr_messages.IMAGE)
        lidar = bag.add_connection(
            "/lidar", "our_msgs/msg/Sweep", msgdef="uint8[] data\n", rihs01="RIHS01_0"
        )
        for index, data in enumerate([
            good[0], good[1], b"", good[2], good[2][:50], cdr_messages.encode(wrong), good[3],
            cdr_messages.encode(back), good[3], cdr_messages.encode(empty),
        ]):  # fmt: skip
            bag.write(camera, stamp(index), data)
            bag.write(lidar, stamp(index), b"\x00\x01\x00\x00abcd")
    summary, _ = play(recording, path)
    assert summary["frames"] == 4
    assert reasons(summary) == {
        "zero-length message": 1, "message does not decode": 1, "image does not decode": 2,
        "stamp jumps back": 1,
        "stamp repeats": 1,
    }  # fmt: skip
    first = {e["reason"]: e["first"] for e in summary["skipped"]}
    assert (
        first["stamp jumps back"] == "by 0.200 s"
        and "bayer_unheard_of" in first["image does not decode"]
    )
    asked, _ = play(recording, path, "asked", topics=(CAMERA, "/lidar"))
    assert reasons(asked)["not an image: our_msgs/msg/Sweep"] == 10


def test_replay_gives_unstamped_images_the_time_of_recording(play, tmp_path):
    recording = Recording(frames=3)
    path = tmp_path / "bag"
    with writer(path) as bag:
        camera = connect(bag, CAMERA, cdr_messages.IMAGE)
        for time, shot in recording.shots():
            message = picture(shot.image, cdr_messages.header(0, ""))
            bag.write(camera, time, cdr_messages.encode(message))
    summary, out = play(recording, path)
    assert summary["frames"] == 3 and summary["skipped"] == []
    assert str(stamp(2)) in (out / "images.json").read_text()


@pytest.mark.parametrize("clock, frames, back", [
    (lambda t: t + 3600 * NS * (t == stamp(2)), 12, 0),  # one picture stamped an hour ahead
    (lambda t: t - 5 * NS * (t >= stamp(4)), 12, 0),  # a clock that is set back
    (lambda t: t - NS * (t >= stamp(4)), 4, 8),  # by a second alone: till time has caught up
])  # fmt: skip
def test_replay_keeps_images_after_the_clock_is_set(play, tmp_path, clock, frames, back):
    recording = Recording(clock=clock)
    path = recording.write(tmp_path / "bag")
    summary, out = play(recording, path, engine=InOrder(recording))
    assert (summary["frames"], reasons(summary).get("stamp jumps back", 0)) == (frames, back)
    stamps = [entry["stamp_ns"] for entry in json.loads((out / "images.json").read_text())]
    assert stamps == [clock(stamp(i)) for i in range(frames)]


def test_bag_without_messages_is_refused(tmp_path):
    (tmp_path / "bag").mkdir()
    (tmp_path / "bag" / "bag_0.mcap").write_bytes(b"no bag at all")
    with pytest.raises(ValueError, match="no messages can be read from this recording"):
        Bag(tmp_path / "bag")
    with pytest.raises(ValueError, match="no such recording"):
        bags_in(tmp_path / "nowhere")


def test_bags_in_tells_a_folder_from_a_split_recording(tmp_path):
    for name in ("b_0", "b_1"):
        path = Recording(frames=1).write(tmp_path / "apart" / name)
        (path / f"{name}.mcap").rename(tmp_path / "apart" / f"{name}x.mcap")
    found = [p.name for p in bags_in(tmp_path / "apart")]
    assert found == ["b_0", "b_0x.mcap", "b_1", "b_1x.mcap"]
    parts = tmp_path / "parts"
    parts.mkdir()
    for number in range(2):
        (tmp_path / "apart" / f"b_{number}x.mcap").rename(parts / f"walk_{number}.mcap")
    assert bags_in(parts) == [parts]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = Recording(frames=3, jpeg=True).write(tmp_path_factory.mktemp("whole") / "bag")
    return storage_of(path).read_bytes()


def test_bag_leaves_out_names_that_are_not_text(whole, tmp_path):
    """In a file that breaks off: without a topic there is nothing, without a type no content."""
    file = tmp_path / "broken.mcap"
    for word, topics in ((b"/camera/image_raw", {}), (b"sensor_msgs/msg/Comp", {CAMERA: ""})):
        file.write_bytes(whole.replace(word, b"\x80" + word[1:])[:-8])
        if topics:
            bag = Bag(file)
            assert bag.topics == topics
            bag.close()
        else:
            with pytest.raises(ValueError, match="no messages can be read"):
                Bag(file)


def test_bag_leaves_out_records_that_are_too_short(whole, tmp_path):
    file = tmp_path / "broken.mcap"
    short = b"".join(struct.pack("<BQ", kind, 1) + b"x" for kind in (3, 4, 5))
    file.write_bytes(whole[:8] + short + whole[8:-8])
    bag = Bag(file)
    assert len(list(bag.messages(set(bag.topics)))) == 3
    bag.close()


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_bag_with_random_damage_raises_input_errors_only(whole, tmp_path, data):
    """Bytes overwritten and cut anywhere: messages come or a ValueError, never a crash."""
    broken = bytearray(whole)
    for _ in range(data.draw(st.integers(0, 4))):
        at = data.draw(st.integers(0, len(broken) - 1))
        broken[at] = data.draw(st.integers(0, 255))
    broken = broken[: data.draw(st.integers(0, len(broken)))]
    file = tmp_path / "broken.mcap"
    file.write_bytes(broken)
    try:
        bag = Bag(file)
    except ValueError as error:
        assert "no messages can be read" in str(error)
        return
    for message in bag.messages(set(bag.topics)):
        try:
            content = cdr_messages.decode(message.data, message.kind)
            cdr_messages.image_of(content)
        except (ValueError, AttributeError):
            pass
    bag.close()

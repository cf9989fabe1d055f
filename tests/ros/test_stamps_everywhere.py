"""One recorded sequence with bad stamps through node, replay, session and ``kdc run``."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from std_msgs.msg import Header

from kdc_core.cli import main
from kdc_core.io import Source
from kdc_core.pipeline import Pipeline
from kdc_core.session import Session
from kdc_core.types import Frame, People
from tests.fake_engines import ClipEngine
from tests.ros.fakes import FakeNode

pytest.importorskip("rosbags", reason="extra `replay`")
pytest.importorskip("pycocotools", reason="extra `replay`")

START = 1_700_000_000 * 10**9  # ns, of the recording
STEP = 10**8  # ns between the frames

#: stamp of every frame in steps, None = no stamp
STAMPS = (
    *(0, 1, 2, 3, 4),
    *(4, 3.5),  # repeated, late
    *(None, None),
    *(9, 10, 11),
    *[11] * 7,  # stand still
    *(12, 13, 14),  # move on
    *(-300, -299),  # set back by half a minute
)
DROPPED = (5, 6, 12, 13, 14)
RESET = 22
WARNINGS = ("no stamp", "stand still", "ids start anew")


class MarkedEngine(ClipEngine):
    """Finds the people of the frame whose number is in the first pixel."""

    def __init__(self) -> None:
        super().__init__(lambda frame: int(frame.image[0, 0, 0]) * 0.1)


def images() -> list[np.ndarray]:
    """Return the images of the clip with their numbers."""
    engine, found = MarkedEngine(), []
    for index in range(len(STAMPS)):
        image = engine.frame(index * 0.1, None).image.copy()
        image[0, 0] = index
        found.append(image)
    return found


def stamp_ns(index: int) -> int | None:
    steps = STAMPS[index]
    return None if steps is None else START + round(steps * STEP)


def arrival_ns(index: int) -> int:
    return START + index * STEP


Results = list[People | None]


def through_session(warnings: list[str]) -> Results:
    session = Session(Pipeline(MarkedEngine()), warn=warnings.append)
    results: Results = []
    for index, image in enumerate(images()):
        stamp = stamp_ns(index)
        frame = Frame(image, None if stamp is None else stamp / 1e9)
        result = session(frame, arrival_ns(index) / 1e9)
        results.append(None if result is None else result.people)
    return results


def through_node(warnings: list[str]) -> Results:
    from kdc_ros.camera_stream import CameraStream
    from kdc_ros.image_messages import to_message
    from kdc_ros.params import NodeConfig

    node, config = FakeNode(), NodeConfig()
    stream = CameraStream(
        node, lambda: config, Pipeline(MarkedEngine()), "image_raw", "/kdc", "abcde"
    )
    heard: Results = []
    stream.outputs.publish = lambda result, others: heard.append(result.people)
    results: Results = []
    for index, image in enumerate(images()):
        header = Header(frame_id="eye")
        header.stamp.sec, header.stamp.nanosec = divmod(stamp_ns(index) or 0, 10**9)
        stream.work((to_message(image, "bgr8", header), arrival_ns(index) / 1e9))
        results.append(heard.pop() if heard else None)
    warnings += [text for level, text in node.logger.lines if level == "warning"]
    return results


def through_replay(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Results:
    from rosbags.rosbag2 import StoragePlugin, Writer

    from kdc_lab.replay import cdr_messages
    from kdc_lab.replay.play import Replay, Settings
    from kdc_lab.replay.result_files import Output

    bag = Writer(folder / "bag", version=9, storage_plugin=StoragePlugin.MCAP)
    with bag:
        camera = bag.add_connection(
            "/image_raw", cdr_messages.IMAGE, typestore=cdr_messages.store()
        )
        for index, image in enumerate(images()):
            header = cdr_messages.header(stamp_ns(index) or 0, "eye")
            message = cdr_messages.encode(cdr_messages.image_message(image, header))
            bag.write(camera, arrival_ns(index), message)
    results: Results = [None] * len(STAMPS)

    def record(output, prefix, message, header, people) -> None:
        results[(message.time - START) // STEP] = people
        persons(output, prefix, message, header, people)

    persons = Output.persons
    monkeypatch.setattr(Output, "persons", record)
    Replay(folder / "bag", folder / "out", Pipeline(MarkedEngine()), Settings()).run()
    return results


def through_command(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[np.ndarray | None]:
    """Return the label images that ``kdc run --save-masks`` writes."""
    clock = SimpleNamespace(now=0.0)

    def frames():
        for index, image in enumerate(images()):
            stamp = stamp_ns(index)
            clock.now = arrival_ns(index) / 1e9
            yield Frame(image, None if stamp is None else stamp / 1e9, f"{index:06d}")

    source = Source("sequence", "video", frames, count=len(STAMPS))
    fake_time = SimpleNamespace(monotonic=lambda: clock.now)
    monkeypatch.setattr("kdc_core.session.time", fake_time)
    monkeypatch.setattr("kdc_core.commands.run.open_source", lambda text: source)
    monkeypatch.setattr("kdc_core.commands.run.engine_from", lambda args: MarkedEngine())
    assert main(["run", "sequence", "--save-masks", str(folder)]) == 0
    paths = [folder / f"{index:06d}.png" for index in range(len(STAMPS))]
    return [cv2.imread(str(p), cv2.IMREAD_UNCHANGED) if p.exists() else None for p in paths]


@pytest.fixture(scope="module")
def expected() -> tuple[Results, list[str]]:
    warnings: list[str] = []
    return through_session(warnings), warnings


def assert_same(results: Results, expected: Results) -> None:
    for people, wanted in zip(results, expected, strict=True):
        assert (people is None) == (wanted is None)
        if people is not None:
            assert people.ids.tolist() == wanted.ids.tolist()
            np.testing.assert_allclose(people.boxes, wanted.boxes, atol=0.1)
            np.testing.assert_array_equal(people.labels, wanted.labels)
            np.testing.assert_array_equal(people.phase, wanted.phase)


def test_session_finds_never_more_people_than_there_are(expected) -> None:
    results, warnings = expected
    assert tuple(i for i, people in enumerate(results) if people is None) == DROPPED
    for index, people in enumerate(results):
        if people is not None:
            assert sorted(people.ids.tolist()) == ([1, 2] if index < RESET else [3, 4])
    assert len(warnings) == len(WARNINGS)
    assert all(part in text for part, text in zip(WARNINGS, warnings, strict=True))


def test_node_finds_the_same_people_as_the_session(expected) -> None:
    warnings: list[str] = []
    assert_same(through_node(warnings), expected[0])
    assert warnings == [f"/image_raw: {text}" for text in expected[1]]


def test_replay_finds_the_same_people_as_the_session(expected, tmp_path, monkeypatch) -> None:
    assert_same(through_replay(tmp_path, monkeypatch), expected[0])


def test_kdc_run_finds_the_same_people_as_the_session(
    expected, tmp_path, monkeypatch, capsys
) -> None:
    masks = through_command(tmp_path, monkeypatch)
    for mask, people in zip(masks, expected[0], strict=True):
        assert (mask is None) == (people is None)
        if people is not None:
            np.testing.assert_array_equal(mask, people.labels)

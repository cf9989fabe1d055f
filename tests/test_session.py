"""Session: stamps as cameras send them, and who is reported."""

from __future__ import annotations

import math
from dataclasses import asdict, replace

import numpy as np
import pytest

from kdc_core.config import DecodeConfig
from kdc_core.errors import InputError
from kdc_core.pipeline import Pipeline
from kdc_core.session import (
    DEFAULT_MIN_SCORE,
    LATE,
    STANDING,
    FrameClock,
    FrameCounts,
    Session,
    Skip,
    Timing,
)
from kdc_core.track import CentroidSwitch, TrackConfig, VideoDecoder
from kdc_core.types import Frame, People, Phase
from tests.fake_engines import ClipEngine, EmptyEngine
from tests.people import two_people

R, L = Skip.REPEATED, Skip.LATE
IMAGE = np.zeros((48, 64, 3), np.uint8)


class Camera:
    """A clock whose frames are all processed, and what it said."""

    def __init__(self) -> None:
        self.warnings: list[str] = []
        self.clock = FrameClock(self.warnings.append)
        self.resets: list[int] = []

    def send(self, *frames: tuple[float | None, float]) -> list[float | Skip]:
        """Return the time of every frame (stamp, arrived), or why it is dropped."""
        results: list[float | Skip] = []
        for stamp, arrived in frames:
            timing = self.clock.check(stamp, arrived)
            if isinstance(timing, Timing):
                self.clock.commit(timing)
                if timing.reset:
                    self.resets.append(len(results))
            results.append(timing if isinstance(timing, Skip) else round(timing.time, 6))
        return results

    @property
    def counts(self) -> dict[str, int]:
        """The counts that are not zero."""
        return {name: count for name, count in asdict(self.clock.counts).items() if count}


UNSTAMPED = "frames have no stamp: using the time of arrival"
STILL = "stamps stand still at 10.000 s: using the time of arrival"

#: frames (stamp, arrived); their times or reasons; counts; warnings
STAMPS = {
    "in order: arrival does not matter": (
        [(10.0, 5.0), (10.1, 9.0), (10.4, 9.0)],
        [10.0, 10.1, 10.4],
        {},
        [],
    ),
    "late: dropped, and the newest stamp stays": (
        [(10.0, 0.0), (11.0, 0.1), (10.5, 0.2), (10.7, 0.3), (11.1, 0.4)],
        [10.0, 11.0, L, L, 11.1],
        {"late": 2},
        [],
    ),
    "late by exactly LATE": ([(10.0, 0.0), (10.0 - LATE, 0.1)], [10.0, L], {"late": 1}, []),
    "older than LATE: the clock was set back": (
        [(10.0, 0.0), (8.75, 0.1), (8.85, 0.2)],
        [10.0, 8.75, 8.85],
        {"resets": 1},
        ["stamps went back by 1.250 s: ids start anew"],
    ),
    "repeated": ([(10.0, 0.0), (10.0, 0.1), (10.1, 0.2)], [10.0, R, 10.1], {"repeated": 1}, []),
    "repeated again and again, with new stamps between": (
        [(10.0, 0.0), (10.0, 0.1), (10.0, 0.2), (10.1, 0.3), (10.1, 0.4), (10.1, 0.5)],
        [10.0, R, R, 10.1, R, R],
        {"repeated": 4},
        [],
    ),
    "standing: timed by arrival after STANDING duplicates": (
        [(10.0, 0.0), (10.0, 0.1), (10.0, 0.2), (10.0, 0.3), (10.0, 0.4), (10.0, 0.6)],
        [10.0, R, R, R, 10.4, 10.6],
        {"repeated": STANDING, "standing": 2},
        [STILL],
    ),
    "standing, then moving on slowly: no time is lost": (
        [(10.0, 0.1 * i) for i in range(6)] + [(10.01, 0.6), (10.11, 5.0), (10.21, 5.0)],
        [10.0, R, R, R, 10.4, 10.5, 10.6, 10.7, 10.8],
        {"repeated": 3, "standing": 2},
        [STILL],
    ),
    "standing, then a jump to the present: no time is invented": (
        [(10.0, 0.1 * i) for i in range(6)] + [(90.0, 0.6), (90.1, 0.7)],
        [10.0, R, R, R, 10.4, 10.5, 10.6, 10.7],
        {"repeated": 3, "standing": 2},
        [STILL],
    ),
    "standing twice: two warnings": (
        [(9.0, 0.1 * i) for i in range(5)] + [(10.0, 0.5 + 0.1 * i) for i in range(5)],
        [9.0, R, R, R, 9.4, 9.5, R, R, R, 9.9],
        {"repeated": 6, "standing": 2},
        ["stamps stand still at 9.000 s: using the time of arrival", STILL],
    ),
    "standing, set back, standing: three warnings": (
        [(10.0, 0.1 * i) for i in range(5)] + [(2.0, 0.5 + 0.1 * i) for i in range(5)],
        [10.0, R, R, R, 10.4, 2.0, R, R, R, 2.4],
        {"repeated": 6, "standing": 2, "resets": 1},
        [
            STILL,
            "stamps went back by 8.000 s: ids start anew",
            "stamps stand still at 2.000 s: using the time of arrival",
        ],
    ),
    "standing, then set back: stamps count again": (
        [(10.0, 0.1 * i) for i in range(5)] + [(2.0, 0.5), (2.5, 0.6)],
        [10.0, R, R, R, 10.4, 2.0, 2.5],
        {"repeated": 3, "standing": 1, "resets": 1},
        [STILL, "stamps went back by 8.000 s: ids start anew"],
    ),
    "duplicates, then set back: duplicates are counted from zero": (
        [(10.0, 0.0), (10.0, 0.1), (10.0, 0.2), (2.0, 0.3), (2.0, 0.4), (2.0, 0.5), (2.0, 0.6)],
        [10.0, R, R, 2.0, R, R, R],
        {"repeated": 5, "resets": 1},
        ["stamps went back by 8.000 s: ids start anew"],
    ),
    "unstamped: the time of arrival": (
        [(None, 5.0), (None, 5.25), (None, 5.5)],
        [5.0, 5.25, 5.5],
        {"unstamped": 3},
        [UNSTAMPED],
    ),
    "unstamped: arrival goes back": (
        [(None, 5.0), (None, 4.0)],
        [5.0, 5.0],
        {"unstamped": 2},
        [UNSTAMPED],
    ),
    "unstamped first": (
        [(None, 5.0), (900.0, 5.2), (900.3, 7.0)],
        [5.0, 5.2, 5.5],
        {"unstamped": 1},
        [UNSTAMPED],
    ),
    "unstamped in the middle": (
        [(10.0, 0.0), (None, 0.2), (10.3, 0.5), (10.4, 0.9), (None, 1.0)],
        [10.0, 10.2, 10.5, 10.6, 10.7],
        {"unstamped": 2},
        [UNSTAMPED],
    ),
    "unstamped between duplicates": (
        [(10.0, 0.0), (None, 0.1), (10.0, 0.2), (9.5, 0.3)],
        [10.0, 10.1, R, L],
        {"unstamped": 1, "repeated": 1, "late": 1},
        [UNSTAMPED],
    ),
}


@pytest.mark.parametrize(("frames", "times", "counts", "warnings"), STAMPS.values(), ids=STAMPS)
def test_frame_clock(frames, times, counts, warnings) -> None:
    camera = Camera()
    assert camera.send(*frames) == times
    assert camera.counts == counts
    assert camera.warnings == warnings
    assert len(camera.resets) == counts.get("resets", 0)


@pytest.mark.parametrize("frames", [row[0] for row in STAMPS.values()], ids=STAMPS)
def test_frame_clock_time_decreases_only_at_a_reset(frames) -> None:
    camera = Camera()
    times = camera.send(*frames)
    last = -math.inf
    for index, time in enumerate(times):
        if isinstance(time, Skip):
            continue
        assert time >= last or index in camera.resets
        last = time


def test_frame_clock_frame_that_is_not_committed_does_not_count() -> None:
    """Its image may be broken: the same stamp is then welcome a second time."""
    camera = Camera()
    assert isinstance(camera.clock.check(10.0, 0.0), Timing)
    assert camera.send((10.0, 0.1), (10.0, 0.2)) == [10.0, R]


def test_frame_clock_restart_forgets_stamps_and_keeps_counts() -> None:
    camera = Camera()
    camera.send((None, 0.0), (10.0, 0.1), (10.0, 0.2), (10.0, 0.3), (10.0, 0.4))
    camera.clock.restart()
    assert camera.send((1.0, 0.5), (1.0, 0.6), (1.0, 0.7), (1.0, 0.8)) == [1.0, R, R, R]
    assert camera.counts == {"unstamped": 1, "repeated": 6}
    assert camera.warnings == [UNSTAMPED]
    camera.send((None, 1.0))
    assert camera.warnings == [UNSTAMPED, UNSTAMPED]


def test_frame_clock_restart_forgets_the_last_frame() -> None:
    camera = Camera()
    camera.send((None, 5.0))
    camera.clock.restart()
    assert camera.send((20.0, 6.0)) == [20.0]
    camera.clock.restart()
    assert camera.send((None, 7.0)) == [7.0]


def test_frame_clock_restart_forgets_the_offset() -> None:
    camera = Camera()
    camera.send((None, 0.0), (10.0, 0.1))
    camera.clock.restart()
    assert camera.send((20.0, 5.0)) == [20.0]


@pytest.mark.parametrize("stamp", [math.nan, math.inf, -math.inf])
def test_frame_clock_refuses_a_stamp_that_is_not_finite(stamp: float) -> None:
    with pytest.raises(InputError, match="finite stamp"):
        Camera().clock.check(stamp, 0.0)
    with pytest.raises(InputError, match="finite stamp"):
        Frame(IMAGE, stamp)


class ScriptedPipeline(Pipeline):
    """Returns people and switches as told, and records when the frames were taken."""

    def __init__(self, *script: tuple[People, tuple[CentroidSwitch, ...]]) -> None:
        super().__init__(EmptyEngine(), DecodeConfig())
        self.script = list(script)
        self.times: list[float | None] = []
        self.videos: list[VideoDecoder | None] = []

    def __call__(self, frame, video=None, time=None) -> People:
        self.times.append(time)
        self.videos.append(video)
        people, switches = self.script.pop(0)
        if video is not None:
            video.switches = switches
        return people


def scored(seven: float, three: float) -> People:
    """Return id 7, known by its mask, and id 3, known by its skeleton, with these scores."""
    return replace(
        two_people(),
        score=np.array([0.0, three], np.float32),
        mask_score=np.array([seven, 0.0], np.float32),
    )


def switch(identity: int) -> CentroidSwitch:
    return CentroidSwitch(identity, 5, 6, "why", 0.0)


def session_of(*people: People, switches=(), **options) -> Session:
    pipeline = ScriptedPipeline(*((one, switches) for one in people))
    return Session(pipeline, warn=lambda text: None, **options)


def ids(session: Session, stamp: float | None) -> list[int] | None:
    result = session(Frame(IMAGE, stamp), 0.0)
    return None if result is None else result.people.ids.tolist()


def test_session_reports_from_min_score() -> None:
    assert ids(session_of(scored(0.24, 0.26)), 0.0) == [3]
    assert ids(session_of(scored(0.24, 0.26), min_score=0.0), 0.0) == [7, 3]
    exactly = scored(DEFAULT_MIN_SCORE, 0.1)
    assert ids(session_of(exactly), 0.0) == [7]


def test_session_person_that_was_reported_stays_reported() -> None:
    session = session_of(scored(0.9, 0.1), scored(0.1, 0.1))
    assert [ids(session, 0.0), ids(session, 0.1)] == [[7], [7]]


def test_session_min_score_acts_on_the_next_frame_and_on_everybody() -> None:
    session = session_of(*[scored(0.6, 0.3)] * 3)
    assert ids(session, 0.0) == [7, 3]
    session.min_score = 0.5
    assert ids(session, 0.1) == [7]
    session.min_score = 0.2
    assert ids(session, 0.2) == [7, 3]


@pytest.mark.parametrize("value", [-0.1, 1.1, math.nan])
def test_session_refuses_a_min_score_outside_0_to_1(value: float) -> None:
    with pytest.raises(InputError, match=r"min_score: expected 0 to 1, got"):
        session_of(min_score=value)
    session = session_of()
    with pytest.raises(InputError, match=r"min_score: expected 0 to 1, got"):
        session.min_score = value
    assert session.min_score == DEFAULT_MIN_SCORE


def test_session_switches_are_of_reported_people() -> None:
    session = session_of(scored(0.9, 0.1), switches=(switch(7), switch(3), switch(99)))
    result = session(Frame(IMAGE, 0.0))
    assert [one.id for one in result.switches] == [7]


def test_session_erases_the_pixels_of_people_that_are_not_reported() -> None:
    result = session_of(scored(0.1, 0.9))(Frame(IMAGE, 0.0))
    assert not result.people.labels.any()


def test_session_drops_frames_without_running_the_network() -> None:
    session = session_of(*[scored(0.9, 0.9)] * 2)
    stamps = [10.0, 10.0, 9.5, 10.1]
    assert [ids(session, stamp) for stamp in stamps] == [[7, 3], None, None, [7, 3]]
    assert session.pipeline.times == [10.0, 10.1]
    assert session.counts == FrameCounts(late=1, repeated=1)


def test_session_times_unstamped_frames_by_arrival(monkeypatch) -> None:
    session = session_of(*[scored(0.9, 0.9)] * 3)
    for arrived in (7.0, 7.5):
        session(Frame(IMAGE), arrived)
    monkeypatch.setattr("time.monotonic", lambda: 8.0)
    session(Frame(IMAGE))
    assert session.pipeline.times == [7.0, 7.5, 8.0]


def test_session_warns_through_the_given_function(caplog) -> None:
    told: list[str] = []
    session = Session(ScriptedPipeline((two_people(), ())), warn=told.append)
    session(Frame(IMAGE))
    assert told == [UNSTAMPED] and not caplog.records
    Session(ScriptedPipeline((two_people(), ())))(Frame(IMAGE))
    assert [record.getMessage() for record in caplog.records] == [UNSTAMPED]


def test_session_reset_forgets_stamps_and_who_was_reported() -> None:
    session = session_of(scored(0.9, 0.9), scored(0.1, 0.9))
    assert ids(session, 10.0) == [7, 3]
    session.reset()
    assert ids(session, 9.9) == [3]
    assert session.counts == FrameCounts()


def test_session_passes_the_tracker_its_parameters() -> None:
    config = TrackConfig()
    pipeline = ScriptedPipeline((two_people(), ()))
    Session(pipeline, track=config)(Frame(IMAGE, 0.0))
    assert pipeline.videos[0].tracker.config is config


def test_session_without_tracking_drops_no_frame() -> None:
    session = session_of(*[scored(0.9, 0.9), scored(0.1, 0.9)] * 2, tracking=False)
    assert not session.tracking and session_of().tracking
    results = [session(Frame(IMAGE, stamp)) for stamp in (10.0, 10.0, 9.5, None)]
    assert [result.people.ids.tolist() for result in results] == [[7, 3], [3]] * 2
    assert all(result.switches == () for result in results)
    assert session.pipeline.times == [None] * 4, "no time: a still image has no past"
    assert session.counts == FrameCounts()
    session.reset()


def test_session_check_without_tracking_keeps_the_stamp() -> None:
    session = session_of(tracking=False)
    assert session.check(3.0, 9.0) == Timing(3.0, 3.0, 9.0)
    assert session.check(None, 9.0) == Timing(9.0, None, 9.0)


def test_session_tracked_people_need_a_time() -> None:
    with pytest.raises(InputError, match="expected a stamp"):
        Pipeline(EmptyEngine())(Frame(IMAGE), VideoDecoder())


STEP = 0.1
FRAMES = 15


def play(stamp_of) -> tuple[list[People | None], Session]:
    """Play a clip of two people who pass each other; ``stamp_of(index)`` stamps its frames."""
    engine = ClipEngine(lambda frame: float(frame.frame_id))
    session = Session(Pipeline(engine), warn=lambda text: None)
    results = []
    for index in range(FRAMES):
        time = index * STEP
        frame = engine.frame(time, stamp_of(index), str(time))
        result = session(frame, 100.0 + time)
        results.append(result and result.people)
    return results, session


@pytest.fixture(scope="module")
def moving() -> list[People | None]:
    return play(lambda index: 50.0 + index * STEP)[0]


def test_session_moving_stamps_find_two_people(moving) -> None:
    assert {identity for people in moving for identity in people.ids.tolist()} == {1, 2}
    assert all(len(people) == 2 for people in moving)


@pytest.mark.parametrize(
    ("stamp_of", "dropped"),
    [
        (lambda index: None, 0),
        (lambda index: 50.0, STANDING),
        (lambda index: 50.0 + STEP * min(index, 9), STANDING),
        (lambda index: 50.0 if index < 10 else 50.0 + STEP * index, STANDING),
        (lambda index: None if index in (0, 7, 8) else 50.0 + STEP * index, 0),
        (lambda index: 50.0 + STEP * (index - (index % 2)), FRAMES // 2),
        (lambda index: 50.0 + STEP * (index - 3 * (index % 5 == 4)), FRAMES // 5),
    ],
    ids=[
        "unstamped",
        "standing",
        "then standing",
        "then moving",
        "some unstamped",
        "twice",
        "late",
    ],
)
def test_session_never_reports_more_people_than_with_moving_stamps(
    moving, stamp_of, dropped: int
) -> None:
    results, _ = play(stamp_of)
    assert sum(people is None for people in results) == dropped
    for people, expected in zip(results, moving, strict=True):
        if people is not None:
            assert sorted(people.ids.tolist()) == sorted(expected.ids.tolist()) == [1, 2]
            order, other = np.argsort(people.ids), np.argsort(expected.ids)
            np.testing.assert_allclose(people.boxes[order], expected.boxes[other], atol=8)


def test_session_clock_set_back_starts_new_ids(caplog) -> None:
    results, session = play(lambda index: 50.0 + STEP * index - 20.0 * (index >= 10))
    assert [sorted(people.ids.tolist()) for people in results] == [[1, 2]] * 10 + [[3, 4]] * (
        FRAMES - 10
    )
    assert (results[10].phase == Phase.CONFIRMED).all()
    assert not caplog.records, "the session resets the tracker before it sees the older time"
    assert session.counts == FrameCounts(resets=1)


def test_session_reset_does_not_use_ids_again() -> None:
    engine = ClipEngine()
    session = Session(Pipeline(engine))
    assert sorted(session(engine.frame(0.0, 0.0)).people.ids) == [1, 2]
    session.reset()
    assert sorted(session(engine.frame(0.0, 0.0)).people.ids) == [3, 4]

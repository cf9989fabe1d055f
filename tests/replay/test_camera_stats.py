"""Statistics of a camera: who counts, what is among the worst frames, how stamps are described."""

from __future__ import annotations

import numpy as np
import pytest

from kdc_core.session import FrameCounts
from kdc_core.track import CentroidSwitch
from kdc_core.types import Frame, People, Phase
from kdc_lab.replay.camera_stats import MIN_DISTANCE, WORST, CameraStats, describe_stamps

CONFIRMED, OCCLUDED = int(Phase.CONFIRMED), int(Phase.OCCLUDED)
IMAGE = np.zeros((24, 32, 3), np.uint8)


def people(phases: dict[int, int]) -> People:
    """People by id, in phases, without pixels."""
    count = len(phases)
    return People(
        ids=np.array(list(phases), int),
        score=np.ones(count, np.float32),
        mask_score=np.ones(count, np.float32),
        keypoints=np.zeros((count, 17, 3), np.float32),
        visible=np.zeros((count, 17), bool),
        boxes=np.zeros((count, 4), np.float32),
        centroid=np.zeros(count, int),
        centroid_xy=np.zeros((count, 2), np.float32),
        labels=np.zeros(IMAGE.shape[:2], np.uint16),
        phase=np.array(list(phases.values()), np.uint8),
    )


def collect(frames, switches=(), errors=None) -> CameraStats:
    """Statistics of frames 0.1 s apart; ``frames`` are phases by id."""
    camera = CameraStats("/camera")
    for index, phases in enumerate(frames):
        time = index / 10
        error = errors[index] if errors else None
        camera.add(time, Frame(IMAGE, time), index, people(phases), tuple(switches), error)
    return camera


def test_figures_do_not_count_occluded_people():
    camera = collect([{1: CONFIRMED, 2: OCCLUDED}, {1: CONFIRMED, 2: CONFIRMED}])
    figures = camera.figures()
    assert figures["people_per_frame"] == 1.5 and figures["most_people"] == 2
    assert figures["ids"] == 2 and camera.people == [1, 2]
    hidden = collect([{1: OCCLUDED, 2: OCCLUDED}] * 3).figures()
    assert (hidden["people_per_frame"], hidden["most_people"], hidden["ids"]) == (0.0, 0, 2)


def test_stays_end_where_the_phase_changes():
    camera = collect([{1: CONFIRMED}, {1: OCCLUDED}, {}, {1: CONFIRMED}])
    assert [(s.phase, s.first, s.last) for s in camera.stays] == [
        (CONFIRMED, 0.0, 0.1),
        (OCCLUDED, 0.1, 0.1),
        (CONFIRMED, 0.3, 0.3),
    ]


def test_figures_count_switches():
    switch = CentroidSwitch(id=1, before=0, after=1, reason="hidden", stamp=0.0)
    assert collect([{1: CONFIRMED}] * 3, [switch]).figures()["centroid_switches"] == 3


def test_worst_frames_are_apart_and_sorted():
    errors = [float(i % 10) for i in range(200)]
    camera = collect([{}] * 200, errors=errors)
    assert len(camera.worst) == WORST
    assert all(frame.badness == 9 and frame.why == "error 9.00" for frame in camera.worst)
    times = sorted(frame.time for frame in camera.worst)
    assert np.diff(times).min() >= MIN_DISTANCE - 1e-9


def test_worst_frames_without_errors_are_none():
    assert collect([{}] * 20, errors=[0.0] * 20).worst == []


@pytest.mark.parametrize(
    ("counts", "text"),
    [
        (FrameCounts(), ""),
        (FrameCounts(late=3, repeated=2), ""),  # dropped: the summary lists them as skipped
        (FrameCounts(unstamped=4), "4 frames have no stamp (timed by arrival)"),
        (FrameCounts(standing=5), "5 frames repeat the last stamp (timed by arrival)"),
        (
            FrameCounts(unstamped=1, resets=2),
            "1 frames have no stamp (timed by arrival); "
            "the clock was set back 2 x (ids start anew)",
        ),
    ],
)
def test_describe_stamps(counts, text):
    assert describe_stamps(vars(counts)) == text


def test_figures_of_no_frames_are_zero():
    figures = CameraStats("/camera").figures()
    assert (figures["frames"], figures["seconds"], figures["most_people"]) == (0, 0.0, 0)
    assert "latency_p50_ms" not in figures


def test_figures_span_from_the_first_to_the_last_frame():
    assert collect([{1: CONFIRMED}] * 4).figures()["seconds"] == 0.3


def test_figures_round_latencies_to_tenths():
    camera = collect([{}])
    camera.latency = [10.04, 20.26, 30.44]
    figures = camera.figures()
    names = ("latency_p50_ms", "latency_p95_ms", "latency_max_ms")
    assert [figures[name] for name in names] == [20.3, 29.4, 30.4]


def test_worst_frames_give_way_to_a_worse_one_only():
    camera = CameraStats("/camera")
    badness = [float(WORST - i) for i in range(WORST)]  # 8, 7, ..., 1
    for index, error in enumerate([*badness, 0.5, 1.5]):
        time = float(2 * index)
        camera.add(time, Frame(IMAGE, time), index, people({}), (), error)
    assert [frame.badness for frame in camera.worst] == [*badness[:-1], 1.5]


def test_worst_frames_without_ground_truth_are_the_doubtful_ones():
    camera = CameraStats("/camera")
    sure, doubtful = people({1: CONFIRMED}), people({1: CONFIRMED})
    doubtful.score[:] = 0.25
    for index, found in enumerate((sure, doubtful, people({}))):
        time = float(2 * index)
        camera.add(time, Frame(IMAGE, time), index, found, (), None)
    # the last frame lost one person, which counts more than a doubt of 0.75
    assert [(frame.stamp, frame.badness) for frame in camera.worst] == [(2, 1.0), (1, 0.75)]

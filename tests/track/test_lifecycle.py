"""Phases, deletion and ids of tracks, one rule per row."""

from __future__ import annotations

import numpy as np
import pytest

from kdc_core.track import kalman
from kdc_core.track.lifecycle import IdAllocator, prune
from kdc_core.track.tracks import Tracks
from kdc_core.types import Phase
from tests.track.steps import observation, step, tracks

MIDDLE, EDGE = (160.0, 180.0), (8.0, 180.0)
NOW = 10.0


def track(phase: Phase, unseen: float, age: float, at=MIDDLE, drift: float = 0.0) -> Tracks:
    """One track, seen ``unseen`` seconds ago, whose prediction has moved by ``drift`` pixels."""
    one = tracks(observation(at), phase=phase, seen=NOW - unseen, born=NOW - age)
    one.motion.xy[:, kalman.BODY, 0] += drift
    return one


@pytest.mark.parametrize(
    ("phase", "unseen", "age", "posed", "expected"),
    [
        (Phase.TENTATIVE, 0.0, 0.05, True, Phase.TENTATIVE),  # too young
        (Phase.TENTATIVE, 0.0, 0.11, True, Phase.CONFIRMED),
        (Phase.TENTATIVE, 0.0, 0.11, False, Phase.TENTATIVE),  # pixels alone do not confirm
        (Phase.TENTATIVE, 0.09, 0.2, False, Phase.TENTATIVE),
        (Phase.TENTATIVE, 0.11, 0.2, False, None),
        (Phase.CONFIRMED, 0.0, 5.0, True, Phase.CONFIRMED),
        (Phase.CONFIRMED, 0.1, 5.0, False, Phase.OCCLUDED),
        (Phase.OCCLUDED, 0.0, 5.0, False, Phase.CONFIRMED),  # seen by its pixels
        (Phase.OCCLUDED, 0.49, 5.0, False, Phase.OCCLUDED),
        (Phase.OCCLUDED, 0.51, 5.0, False, Phase.LOST),
        (Phase.LOST, 0.0, 5.0, True, Phase.CONFIRMED),
        (Phase.LOST, 5.9, 9.0, False, Phase.LOST),
        (Phase.LOST, 6.1, 9.0, False, None),
    ],
)
def test_prune_phase(phase, unseen, age, posed, expected):
    pose = np.array([0 if posed else -1])
    after, pose_of = prune(track(phase, unseen, age), pose, step(NOW))
    assert after.phase.tolist() == ([] if expected is None else [expected])
    assert len(pose_of) == len(after)


@pytest.mark.parametrize(
    ("at", "drift", "unseen", "kept"),
    [
        (MIDDLE, 0.0, 2.0, True),
        (MIDDLE, -200.0, 2.0, True),  # was last seen in the middle: hides, wherever it is predicted
        (EDGE, -30.0, 2.0, False),  # left the image
        (EDGE, -30.0, 1.4, True),
        (EDGE, 0.0, 2.0, True),  # at the edge, but predicted inside
        ((312.0, 180.0), 30.0, 2.0, False),  # to the right
    ],
)
def test_prune_people_who_left_are_forgotten_sooner(at, drift, unseen, kept):
    one = track(Phase.LOST, unseen, 9.0, at, drift)
    assert len(prune(one, np.array([-1]), step(NOW))[0]) == kept


def test_prune_keeps_the_poses_of_the_rows_that_stay():
    three = tracks(observation((60, 180), (160, 180), (260, 180)))
    three.seen[:] = NOW, NOW - 7, NOW
    after, pose_of = prune(three, np.array([4, -1, 5]), step(NOW))
    assert after.id.tolist() == [1, 3] and pose_of.tolist() == [4, 5]


@pytest.mark.parametrize(
    ("phase", "seen", "ids"),
    [
        (Phase.CONFIRMED, 0.0, [1, 2]),
        (Phase.TENTATIVE, 0.0, [1, 2]),  # alone: at once
        (Phase.TENTATIVE, 0.1, [0, 1]),  # not seen now
    ],
)
def test_allocate_new_people(phase, seen, ids):
    two = tracks(observation((60, 180), (260, 180)), id=0)
    two.phase[:], two.seen[:] = (phase, Phase.CONFIRMED), (NOW - seen, NOW)
    assert IdAllocator().allocate(two, step(NOW)).id.tolist() == ids


@pytest.mark.parametrize(
    ("phase", "hidden", "unseen", "distance", "named"),
    [
        (Phase.TENTATIVE, Phase.OCCLUDED, 0.2, 30, False),  # may be the occluded person
        (Phase.TENTATIVE, Phase.LOST, 0.2, 30, False),
        (Phase.CONFIRMED, Phase.OCCLUDED, 0.2, 30, True),
        (Phase.TENTATIVE, Phase.CONFIRMED, 0.0, 30, True),
        (Phase.TENTATIVE, Phase.OCCLUDED, 0.2, 100, False),  # reach: (1 + 3 · 0.2) · 66.7 = 107
        (Phase.TENTATIVE, Phase.OCCLUDED, 0.2, 115, True),
        (Phase.TENTATIVE, Phase.OCCLUDED, 0.4, 115, False),  # longer unseen: reaches farther
    ],
)
def test_allocate_waits_beside_an_occluded_person(phase, hidden, unseen, distance, named):
    two = tracks(observation((60, 180), (60 + distance, 180)))
    two.id[:], two.phase[:], two.seen[:] = (7, 0), (hidden, phase), (NOW - unseen, NOW)
    got = IdAllocator(last=7).allocate(two, step(NOW)).id.tolist()
    assert got == [7, 8 if named else 0]


def test_allocate_skips_ids_in_use_after_the_last_one():
    three = tracks(observation((60, 180), (160, 180), (260, 180)), seen=NOW)
    three.id[:] = 1, 0, 0
    assert IdAllocator(last=65534).allocate(three, step(NOW)).id.tolist() == [1, 65535, 2]

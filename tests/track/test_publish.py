"""Which tracks are published, and with what, one rule per row."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from kdc_core.config import CentroidMode
from kdc_core.skeleton import CENTRE
from kdc_core.track import TrackConfig
from kdc_core.track.kalman import BODY
from kdc_core.track.publish import publish
from kdc_core.track.visibility import CentroidSwitch
from kdc_core.types import Phase
from tests.track.steps import observation, step, tracks

NOW = 5.0
NOBODY = np.array([-1])


def one_track(phase=Phase.CONFIRMED, unseen=0.0, x=160.0, **columns):
    seen = observation((x, 180))
    stamps = {"seen": NOW - unseen, "posed": NOW - unseen}
    return seen, tracks(seen, phase=phase, **{**stamps, **columns})


@pytest.mark.parametrize(
    ("phase", "unseen", "x", "id", "shown"),
    [
        (Phase.CONFIRMED, 0.0, 160, 1, True),
        (Phase.TENTATIVE, 0.0, 160, 1, True),
        (Phase.TENTATIVE, 0.05, 160, 1, False),
        (Phase.CONFIRMED, 0.0, 160, 0, False),  # no id yet
        (Phase.OCCLUDED, 0.2, 160, 1, True),
        (Phase.OCCLUDED, 0.2, -20, 1, False),  # predicted outside the image
        (Phase.OCCLUDED, 0.2, 330, 1, False),
        (Phase.LOST, 0.2, 160, 1, False),
        (Phase.CONFIRMED, 0.0, -20, 1, True),  # seen, so it does not matter where
    ],
)
def test_publish_shows(phase, unseen, x, id, shown):
    seen, one = one_track(phase, unseen, x, id=id)
    frame = publish(one, NOBODY, seen, (), step(NOW))
    assert frame.ids.tolist() == [1] * shown
    assert frame.measured.tolist() == [unseen == 0] * shown


@pytest.mark.parametrize(("unposed", "share"), [(0.0, 1.0), (0.5, np.exp(-1)), (1.0, np.exp(-2))])
def test_publish_score_fades_without_a_pose(unposed, share):
    seen, one = one_track(posed=NOW - unposed)
    frame = publish(one, NOBODY, seen, (), step(NOW))
    np.testing.assert_allclose(frame.poses.score, 0.9 * share, rtol=1e-6)
    np.testing.assert_allclose(frame.poses.anchor_score[0, :17], 0.8 * 0.5 * share, rtol=1e-6)
    np.testing.assert_allclose(frame.poses.anchor_score[0, CENTRE], 0.5 * share, rtol=1e-6)
    assert not frame.poses.matched.any() and not frame.poses.vis.any()


def test_publish_takes_confidences_from_the_pose():
    seen, one = one_track()
    frame = publish(one, np.array([0]), seen, (), step(NOW))
    np.testing.assert_array_equal(frame.poses.anchor_score, seen.poses.anchor_score)
    np.testing.assert_array_equal(frame.poses.vis, seen.poses.vis)
    np.testing.assert_array_equal(frame.centroids.confidence, seen.centroids.confidence)
    assert frame.poses.matched.all()


def test_publish_keypoints_are_smoothed_and_anchors_measured():
    seen, one = one_track()
    one.smoothed.value[:] += 0.1  # scales
    frame = publish(one, np.array([0]), seen, (), step(NOW))
    shift = 0.1 * one.body.scale[0]
    np.testing.assert_allclose(frame.poses.xy, seen.poses.xy + shift, atol=1e-3)
    np.testing.assert_array_equal(frame.centroids.xy, seen.poses.xy)
    hidden = publish(one, NOBODY, seen, (), step(NOW))  # predicted: the filter is not used
    np.testing.assert_allclose(hidden.poses.xy, one.motion.xy[:, :BODY], atol=1e-3)


def test_publish_best_score_first_then_smallest_id():
    seen = observation((60, 180), (160, 180), (260, 180))
    three = tracks(seen, seen=NOW, posed=NOW)
    three.score[:] = 0.5, 0.8, 0.5
    three.id[:] = 9, 4, 2
    frame = publish(three, np.array([0, 1, 2]), seen, (), step(NOW))
    assert frame.ids.tolist() == [4, 2, 9]
    np.testing.assert_allclose(frame.origin[:, 0], [160, 260, 60], atol=8)
    np.testing.assert_allclose(frame.poses.xy[:, 0, 0] - frame.poses.xy[0, 0, 0], [0, 100, -100])


@pytest.mark.parametrize(
    ("mode", "temporal", "factor"),
    [
        (CentroidMode.WEIGHTED, True, 0.3),
        (CentroidMode.NEAREST, True, 0.3),
        (CentroidMode.SINGLE, True, 1.0),
        (CentroidMode.WEIGHTED, False, 1.0),
    ],
)
def test_publish_merged_anchors_count_less(mode, temporal, factor):
    apart, close = observation((60, 180), (200, 180)), observation((60, 180), (70, 180))
    here = step(NOW, config=TrackConfig(temporal=temporal), mode=mode)
    weights = [
        publish(tracks(seen, seen=NOW, posed=NOW), np.array([0, 1]), seen, (), here).centroids
        for seen in (apart, close)
    ]
    np.testing.assert_allclose(weights[1].weight, factor * weights[0].weight, rtol=1e-6)


def test_publish_merged_anchors_are_those_of_the_filter():
    seen = observation((60, 180), (70, 180))
    two = tracks(seen, seen=NOW, posed=NOW)
    two.motion.xy[:, 3] += 2.0
    two.motion.xy[:, 5, 0] += [-20.0, 20.0]  # far from each other
    frame = publish(two, np.array([0, 1]), seen, (), step(NOW))
    np.testing.assert_allclose(frame.centroids.xy[:, 3], seen.poses.xy[:, 3] + 2, atol=1e-4)
    np.testing.assert_array_equal(frame.centroids.xy[:, 5], seen.poses.xy[:, 5])


def test_publish_sigma_is_relative_to_the_average_scale():
    seen, one = one_track(relative_sigma=0.25)
    frame = publish(one, np.array([0]), seen, (), step(NOW))
    np.testing.assert_allclose(frame.centroids.sigma, 0.25 * one.body.scale, rtol=1e-6)
    np.testing.assert_allclose(frame.centroids.scale, one.body.scale, rtol=1e-6)
    assert frame.centroids.primary.tolist() == one.visibility.primary.tolist()


def test_publish_events_of_shown_people_only():
    seen = observation((60, 180), (260, 180))
    two = tracks(seen, seen=NOW, posed=NOW)
    two.phase[1], two.seen[1] = Phase.LOST, NOW - 1
    events = tuple(CentroidSwitch(i, 0, 1, "", NOW) for i in (1, 2))
    frame = publish(two, np.array([0, -1]), seen, events, step(NOW))
    assert [event.id for event in frame.switches] == [1]
    assert replace(events[0], id=2) == events[1]

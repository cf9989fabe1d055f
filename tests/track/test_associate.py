"""Costs, gates and camera motion on drawn people."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from kdc_core.config import DecodeConfig
from kdc_core.decode import find_poses
from kdc_core.track import TrackConfig, body
from kdc_core.track.associate import solve
from kdc_core.track.camera_motion import common_shift, compensate
from kdc_core.track.costs import mask_iou, match_costs, revival_costs
from kdc_core.track.observation import observe
from kdc_core.track.update import spawn
from kdc_core.types import Phase
from kdc_lab.evaluate.composed_clips import Clip, Drawn
from tests.track.clips import fields_of
from tests.track.steps import step

CONFIG = TrackConfig()


def seen_and_tracks(*people):
    """Poses of standing people (x, tall), and tracks that start on them."""
    figures = tuple(Drawn(lambda t, x=x: (x, 225.0), tall, 0) for x, tall in people)
    fields = fields_of(Clip(figures).at(0.0))
    seen = observe(fields, *find_poses(fields, DecodeConfig()), CONFIG.association)
    tracks = spawn(seen, np.arange(len(seen)), Phase.CONFIRMED, step(0.0, 0.0))
    return seen, tracks


def test_match_costs_are_lowest_for_the_same_person():
    seen, tracks = seen_and_tracks((60, 120), (120, 150), (200, 140), (270, 170))
    cost = match_costs(tracks, seen, step(0.03, 0.03))
    assert np.diag(cost).max() < 0.05
    assert cost[~np.eye(4, dtype=bool)].min() > 0.3
    rows, columns = solve(cost, CONFIG.association.max_cost)
    assert rows.tolist() == columns.tolist() == [0, 1, 2, 3]


def test_solve_drops_pairs_above_the_limit():
    cost = np.array([[np.inf, np.inf, 0.2], [0.9, np.inf, np.inf]])
    rows, columns = solve(cost, 0.7)
    assert rows.tolist() == [0] and columns.tolist() == [2]
    assert [len(part) for part in solve(np.full((2, 2), np.inf), 0.7)] == [0, 0]


def test_mask_iou_moves_masks_with_the_body():
    seen, tracks = seen_and_tracks((60, 120), (200, 150))
    np.testing.assert_allclose(np.diag(mask_iou(tracks, seen.cells, 2)), 1)
    away = compensate(
        tracks, np.array([40.0, 0.0]), step(dt=1.0)
    )  # bodies and masks moved together
    away = replace(away, cells_at=away.cells_at - [40.0, 0.0])
    assert mask_iou(away, seen.cells, 2)[0, 0] < 0.3


@pytest.mark.parametrize("by", [(35.0, 0.0), (-60.0, 10.0)])
def test_common_shift_of_all_people_is_the_cameras(by):
    seen, tracks = seen_and_tracks((60, 120), (120, 150), (200, 140), (270, 170))
    turned = compensate(tracks, -np.array(by), step(dt=1.0))
    np.testing.assert_allclose(common_shift(turned, seen), by, atol=1.0)


def test_common_shift_ignores_one_person_who_jumps():
    seen, tracks = seen_and_tracks((60, 120), (120, 150), (200, 140), (270, 170))
    xy = tracks.motion.xy.copy()
    xy[1] += 35
    jumped = replace(tracks, motion=replace(tracks.motion, xy=xy))
    np.testing.assert_array_equal(common_shift(jumped, seen), 0)
    np.testing.assert_array_equal(common_shift(tracks[:1], seen), 0)


def test_revival_costs_allow_what_a_walk_can_reach():
    seen, tracks = seen_and_tracks((60, 150), (230, 150))
    tracks = tracks[:1]
    near = revival_costs(tracks, seen, step(1.0))
    assert np.isfinite(near[0, 0]) and np.isfinite(near[0, 1])  # 170 px in a second: 2.4 s
    soon = revival_costs(tracks, seen, step(0.3))
    assert np.isfinite(soon[0, 0]) and np.isinf(soon[0, 1])


def test_costs_separate_a_child_from_an_adult():
    seen, _ = seen_and_tracks((160, 190))
    _, tracks = seen_and_tracks((160, 100))
    assert np.isinf(match_costs(tracks, seen, step(0.03, 0.03))).all()
    assert np.isinf(revival_costs(tracks, seen, step(2.0))).all()


def test_match_costs_allow_a_person_who_turns():
    seen, tracks = seen_and_tracks((160, 190))
    narrow = replace(seen.centroids, scale=seen.centroids.scale / 1.9)
    assert np.isfinite(match_costs(tracks, replace(seen, centroids=narrow), step(0.2, 0.2)))


def test_bone_distance_does_not_depend_on_the_scale():
    seen, tracks = seen_and_tracks((70, 100), (220, 200))
    learned = replace(tracks.body, learned=np.ones((2, 18)))
    alike = body.bone_distance(learned, seen.poses.xy, seen.centroids.confidence)
    assert alike.max() < 0.1
    stretched = seen.poses.xy.copy()
    stretched[:, 11:17, 1] = stretched[:, 11:12, 1] + 0.3 * (
        stretched[:, 11:17, 1] - stretched[:, 11:12, 1]
    )  # legs of a third of the length
    assert (
        body.bone_distance(learned, stretched, seen.centroids.confidence).min() > alike.max() + 0.2
    )

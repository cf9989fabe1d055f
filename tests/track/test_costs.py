"""Costs and gates of pairs, and the order in which tracks choose, one rule per row."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from kdc_core.track.associate import associate, find_duplicates, solve
from kdc_core.track.camera_motion import compensate
from kdc_core.track.costs import mask_iou, match_costs, oks, revival_costs
from kdc_core.track.kalman import BODY
from kdc_core.types import Phase
from tests.track.steps import observation, step, tracks

CONFIG = step().config.association


def moved(seen, x=0.0, y=0.0):
    """Tracks on the poses, moved by (x, y) pixels together with their masks."""
    return compensate(tracks(seen), np.array([x, y]), step(dt=0.0))


@pytest.mark.parametrize(
    ("unseen", "dt", "extra"),
    [
        (0.1, 0.1, 0.0),  # seen in the last frame
        (0.14, 0.1, 0.0),
        (0.16, 0.1, 0.15 * (1 - np.exp(-0.16 / 0.3))),
        (0.6, 0.1, 0.15 * (1 - np.exp(-2))),
    ],
)
def test_match_costs_occluded_tracks_cost_more(unseen, dt, extra):
    seen = observation((160, 180))
    one = tracks(seen, seen=5.0 - unseen)
    np.testing.assert_allclose(match_costs(one, seen, step(5.0, dt)), extra, atol=1e-6)


@pytest.mark.parametrize(
    ("colour", "mask", "share_of_oks", "share_of_mask"),
    [(True, True, 0.45 / 1.3, 0.25 / 1.3), (False, True, 0.45 / 0.7, 0.25 / 0.7),
     (True, False, 0.45 / 1.05, 0.0), (False, False, 1.0, 0.0)],
)  # fmt: skip
def test_match_costs_shares_are_renormalised(colour, mask, share_of_oks, share_of_mask):
    seen, one = observation((160, 180)), moved(observation((160, 180)), 12.0)
    if colour:
        alike = np.full((1, 2, 24), 1 / 8)
        seen, one = replace(seen, descriptor=alike), replace(one, descriptor=alike)
    if not mask:
        one.cells[0] = np.zeros(0, np.intp)
    one = replace(one, cells_at=one.cells_at - 12 * np.array([1.0, 0]))
    similarity = oks(
        one.motion.xy[:, :17], one.motion.variance[:, :17, 0], one.body.scale[:, None],
        seen.poses.xy[:, :17], seen.centroids.confidence[:, :17],
    )  # fmt: skip
    overlap = np.nan_to_num(mask_iou(one, seen.cells, 1))
    assert 0.1 < similarity[0, 0] < 0.95
    expected = share_of_oks * (1 - similarity) + share_of_mask * (1 - overlap)
    np.testing.assert_allclose(match_costs(one, seen, step()), expected, atol=1e-9)


@pytest.mark.parametrize(
    ("x", "dt", "allowed"),
    # (0.5 + 3 dt) scales of 66.7 pixels and 3 deviations of the filter: 3 · 0.05 · 66.7 = 10
    [(40, 0.01, True), (50, 0.01, False), (50, 0.1, True), (62, 0.1, True), (68, 0.1, False)],
)
def test_match_costs_gate_of_distance(x, dt, allowed):
    seen = observation((160, 180))
    assert np.isfinite(match_costs(moved(seen, x), seen, step(dt=dt)))[0, 0] == allowed


@pytest.mark.parametrize(
    ("average", "last", "sized", "whole", "allowed"),
    [
        (1.0, 1.0, True, True, True),
        (1.9, 1.9, True, True, True),
        (2.1, 2.1, True, True, False),
        (2.1, 1.9, True, True, True),  # as large as in the last pose
        (1.9, 2.1, True, True, True),
        (2.1, 2.1, False, True, True),  # the track's size is unknown
        (2.1, 2.1, True, False, True),  # the pose is seen in part
    ],
)
def test_match_costs_gate_of_size(average, last, sized, whole, allowed):
    seen = observation((160, 180))
    one = tracks(seen)
    body = replace(one.body, scale=one.body.scale * average, sized=np.array([sized]))
    one = replace(one, body=body, size=one.size * last)
    if not whole:
        seen.centroids.confidence[0, 4:17] = 0.1
    assert np.isfinite(match_costs(one, seen, step()))[0, 0] == allowed


def test_oks_is_softened_by_the_variance_and_needs_three_keypoints():
    seen = observation((160, 180))
    xy, confidence = seen.poses.xy[:, :17], seen.centroids.confidence[:, :17].copy()
    scale, sure = np.full((1, 1), 66.7), np.zeros((1, 17))
    track = (xy + 12).astype(float)
    near, soft = (oks(track, sure + v, scale, xy, confidence)[0, 0] for v in (0, 400))
    assert 0 < near < soft < 1
    np.testing.assert_allclose(oks(xy.astype(float), sure, scale, xy, confidence), 1)
    confidence[:] = 0.3  # not above
    confidence[0, :3] = 0.31
    assert np.isfinite(oks(track, sure, scale, xy, confidence)).all()
    confidence[0, 2] = 0.3
    assert np.isnan(oks(track, sure, scale, xy, confidence)).all()


def test_oks_of_one_keypoint_by_hand():
    # κ of the nose is 4 · 0.026: exp(−10² / (2 · (100 · 0.104)²)) for one of 17 keypoints
    xy = np.zeros((1, 17, 2))
    track = xy.copy()
    track[0, 0] = 6.0, 8.0
    expected = (16 + np.exp(-100 / (2 * 10.4**2))) / 17
    got = oks(track, np.zeros((1, 17)), np.full((1, 1), 100.0), xy, np.ones((1, 17)))
    np.testing.assert_allclose(got, expected, rtol=1e-3)


def test_mask_iou_by_hand():
    seen = observation((100, 180), (200, 180))
    two = moved(seen, 16.0)  # two cells
    two = replace(two, cells_at=two.cells_at - np.array([16.0, 0.0]))
    got = mask_iou(two, seen.cells, 2)
    for j in range(2):
        own = set(seen.cells.at[seen.cells.owner == j].tolist())
        shifted = {cell + 2 for cell in own}
        np.testing.assert_allclose(got[j, j], len(own & shifted) / len(own | shifted))
    outside = replace(two, cells_at=two.cells_at + np.array([400.0, 0.0]))
    assert (mask_iou(outside, seen.cells, 2) == 0).all()


@pytest.mark.parametrize(("dx", "dy"), [(40, 0), (-40, 0), (0, 30), (0, -30), (-1, 0), (0, -1)])
def test_mask_iou_does_not_wrap_at_the_borders(dx, dy):
    """The last mask is one cell in a corner; moved out of the image it meets nothing."""
    seen = observation((160, 180))
    everywhere = replace(
        seen.cells, at=np.arange(1200), xy=np.zeros((2, 1200)), owner=np.zeros(1200, int)
    )
    one = tracks(seen)
    one.cells[0] = np.array([0])
    one = replace(one, cells_at=one.cells_at - 8.0 * np.array([[dx, dy]]))
    assert mask_iou(one, everywhere, 1).tolist() == [[0]]
    one = replace(one, cells_at=one.motion.xy[:, BODY])
    assert mask_iou(one, everywhere, 1).tolist() == [[1 / 1200]]


@pytest.mark.parametrize(
    ("x", "unseen", "allowed"),
    # (0.5 + 3 · unseen) scales of 66.7 pixels
    [(90, 0.3, True), (96, 0.3, False), (96, 0.4, True)],
)
def test_revival_costs_gate_of_distance(x, unseen, allowed):
    seen = observation((160, 180))
    one = moved(seen, x)
    one = replace(one, seen=np.array([5.0 - unseen]))
    assert np.isfinite(revival_costs(one, seen, step(5.0)))[0, 0] == allowed
    back = replace(one, seen_at=seen.position)  # reappears where it was last seen
    assert np.isfinite(revival_costs(back, seen, step(5.0)))[0, 0]


@pytest.mark.parametrize(
    ("factor", "sized", "allowed"),
    [(1.6, True, True), (1.7, True, False), (1.7, False, True), (2.4, False, True),
     (2.6, False, False)],
)  # fmt: skip
def test_revival_costs_gate_of_size(factor, sized, allowed):
    seen = observation((160, 180))
    one = tracks(seen, seen=4.0)
    body = replace(one.body, scale=one.body.scale * factor, sized=np.array([sized]))
    one = replace(one, body=body, size=one.size * factor)
    cost = revival_costs(one, seen, step(5.0))
    assert np.isfinite(cost[0, 0]) == allowed


@pytest.mark.parametrize(("x", "allowed"), [(99, True), (101, False)])  # 1.5 scales of 66.7
def test_revival_costs_centre_only_must_be_close(x, allowed):
    seen = observation((160, 180))
    one = replace(moved(seen, x), seen=np.array([4.0]))
    assert np.isfinite(revival_costs(one, seen, step(5.0)))[0, 0]
    bare = replace(seen, centre_only=np.array([True]))
    assert np.isfinite(revival_costs(one, bare, step(5.0)))[0, 0] == allowed


def test_revival_costs_terms_by_hand():
    seen = observation((160, 180))
    one = replace(moved(seen, 30), seen=np.array([4.0]))
    scale = float(one.body.scale[0])
    spread = 0.5 * scale + np.sqrt(one.motion.variance[0, BODY, 0])
    unknown = revival_costs(one, seen, step(5.0))[0, 0]
    np.testing.assert_allclose(unknown, 30 / spread + 0.5, rtol=1e-5)  # 0.5: unknown colour
    resized = replace(one, body=replace(one.body, scale=one.body.scale * 1.3))
    spread = 0.65 * scale + np.sqrt(one.motion.variance[0, BODY, 0])
    got = revival_costs(resized, seen, step(5.0))[0, 0]
    np.testing.assert_allclose(got, 30 / spread + 0.5 + np.log(1.3), rtol=1e-4)


def test_solve_minimises_the_sum():
    rows, columns = solve(np.array([[0.1, 0.2], [0.15, 0.9]]), 0.7)
    assert columns[rows.argsort()].tolist() == [1, 0]


# --- associate


@pytest.mark.parametrize(
    ("phase", "strength", "x", "matched"),
    [
        (Phase.CONFIRMED, 0.8, 0, True),
        (Phase.CONFIRMED, 0.4, 0, True),  # weak poses continue tracks
        (Phase.OCCLUDED, 0.4, 0, True),
        (Phase.TENTATIVE, 0.8, 0, True),
        (Phase.TENTATIVE, 0.4, 0, False),  # … but not new ones
        (Phase.CONFIRMED, 0.8, 38, True),  # cost 0.56: above max_cost_weak, below max_cost
        (Phase.CONFIRMED, 0.4, 38, False),
    ],
)
def test_associate_phase_and_strength(phase, strength, x, matched):
    seen = replace(observation((160, 180)), strength=np.array([strength]))
    one = replace(moved(observation((160, 180)), x), phase=np.array([phase], np.uint8))
    if x:
        assert 0.5 < match_costs(one, seen, step())[0, 0] < 0.7
    pose_of, kept = associate(one, seen, step())
    assert pose_of.tolist() == [0 if matched else -1] and kept.all()


def test_associate_confirmed_tracks_choose_before_tentative_ones():
    seen = observation((160, 180))
    two = moved(observation((160, 180), (160, 180)), 0.0)
    two.motion.xy[1] += 6.0  # farther away, but confirmed
    two.phase[:] = Phase.TENTATIVE, Phase.CONFIRMED
    assert associate(two, seen, step())[0].tolist() == [-1, 0]


def test_associate_strong_poses_are_matched_before_weak_ones():
    seen = replace(observation((160, 180), (164, 180)), strength=np.array([0.4, 0.8]))
    assert associate(tracks(seen)[:1], seen, step())[0].tolist() == [1]


@pytest.mark.parametrize(
    ("phase", "unseen", "revived"),
    [(Phase.LOST, 1.0, True), (Phase.OCCLUDED, 0.4, True), (Phase.OCCLUDED, 0.14, False)],
)
def test_associate_revives_hidden_tracks_beyond_the_reach(phase, unseen, revived):
    seen = observation((160, 180))
    one = moved(seen, 75.0)  # no match: 53 pixels and 10 of deviation at most
    one = replace(one, phase=np.array([phase], np.uint8), seen=np.array([5.0 - unseen]))
    assert associate(one, seen, step(5.0))[0].tolist() == [0 if revived else -1]


@pytest.mark.parametrize(("id", "kept"), [(0, False), (3, True)])
def test_associate_a_lost_track_takes_the_pose_of_an_unnamed_one_only(id, kept):
    seen = observation((160, 180))
    two = moved(observation((160, 180), (160, 180)))
    two.id[:], two.phase[:], two.seen[:] = (id, 7), (Phase.TENTATIVE, Phase.LOST), (4.9, 4.0)
    pose_of, stays = associate(two, seen, step(5.0))
    assert stays.tolist() == [kept, True]
    assert pose_of.tolist() == ([0, -1] if kept else [-1, 0])


def test_associate_an_unnamed_track_keeps_its_pose_if_no_lost_one_fits():
    seen = observation((60, 180))
    two = moved(observation((60, 180), (290, 180)))
    two.id[:], two.phase[:], two.seen[:] = (0, 7), (Phase.TENTATIVE, Phase.LOST), (4.9, 4.8)
    pose_of, stays = associate(two, seen, step(5.0))
    assert pose_of.tolist() == [0, -1] and stays.all()


@pytest.mark.parametrize(
    ("x", "sure", "duplicate"),
    [
        (0, 17, True),
        (4, 17, True),  # OKS 0.8 with COCO's own tolerance
        (9, 17, False),
        (100, 17, False),
        (0, 4, True),
    ],
)
def test_find_duplicates_of_a_matched_pose(x, sure, duplicate):
    seen = observation((100, 180), (100 + x, 180))
    seen.centroids.confidence[1, sure:17] = 0.0
    far = moved(seen, 150.0)[:1]  # the track itself is elsewhere
    got = find_duplicates(far, seen, np.array([1]), np.array([0]), CONFIG.duplicate)
    assert got.tolist() == [duplicate]


def test_find_duplicates_fragment_lies_on_a_track_with_its_sure_keypoints():
    seen = observation((100, 180), (100, 180))
    seen.poses.xy[1, 5:17] += 90.0  # anywhere
    seen.centroids.confidence[1, 5:17] = 0.0
    none = np.zeros(0, int)
    one = tracks(seen)[:1]
    assert find_duplicates(one, seen, np.array([1]), none, 0.7).tolist() == [True]
    seen.centroids.confidence[1, 5:17] = 0.8
    assert find_duplicates(one, seen, np.array([1]), none, 0.7).tolist() == [False]

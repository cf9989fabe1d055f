"""Tracks with a pose, with pixels alone, and with nothing; new people; parameters."""

from __future__ import annotations

import math
from dataclasses import fields as columns_of
from dataclasses import replace

import cv2
import numpy as np
import pytest

from kdc_core.config import CentroidMode
from kdc_core.errors import InputError
from kdc_core.letterbox import Letterbox
from kdc_core.skeleton import CENTRE, A, K
from kdc_core.track import (
    AssociationConfig,
    LifecycleConfig,
    MotionConfig,
    PixelConfig,
    SmoothingConfig,
    TrackConfig,
    Tracker,
    VisibilityConfig,
    appearance,
    body,
    kalman,
    one_euro,
)
from kdc_core.track import visibility as v
from kdc_core.track.camera_motion import common_shift, compensate
from kdc_core.track.kalman import BODY, POINTS
from kdc_core.track.observation import observe
from kdc_core.track.pixel_prior import PixelPrior, shape_factors
from kdc_core.track.requery import requery
from kdc_core.track.tracks import no_tracks
from kdc_core.track.update import (
    overlapping,
    predict_tracks,
    spawn,
    update_matched,
    update_unmatched,
)
from kdc_core.types import Phase
from tests.track.steps import GRID, SIZE, STRIDE, observation, pointing, step, tracks

EMPTY = np.zeros(0, int)


# --- parameters


@pytest.mark.parametrize(
    ("part", "name", "value"),
    [
        (MotionConfig, "overlap_noise", -0.1),
        (MotionConfig, "keypoint_noise", 0.0),
        (MotionConfig, "crowd", 0),
        (MotionConfig, "min_confidence", 1.5),
        (LifecycleConfig, "forget_after", -1.0),
        (AssociationConfig, "strong", 1.1),
        (AssociationConfig, "scale_ratio", 0.9),
        (AssociationConfig, "max_cost", math.nan),
        (VisibilityConfig, "off", 0.7),  # above ``on``
        (VisibilityConfig, "margin", 0.5),
        (PixelConfig, "max_anchors", 0),
        (PixelConfig, "max_anchors", 19),
        (SmoothingConfig, "min_cutoff", 0.0),
        (SmoothingConfig, "overlap_weight", -0.1),
    ],
)
def test_config_refuses(part, name, value):
    with pytest.raises(InputError, match=rf"{part.__name__}\.{name}: expected .*, got {value}"):
        part(**{name: value})


@pytest.mark.parametrize(
    "part",
    [MotionConfig, LifecycleConfig, AssociationConfig, VisibilityConfig, PixelConfig,
     SmoothingConfig],
)  # fmt: skip
def test_config_checks_every_field(part):
    for field in columns_of(part):
        with pytest.raises(InputError, match=f"{part.__name__}.{field.name}: "):
            part(**{field.name: math.nan})


@pytest.mark.parametrize(
    ("part", "name", "value"),
    [
        (MotionConfig, "overlap_noise", 0.0),
        (MotionConfig, "pan_persistence", 1.0),
        (MotionConfig, "crowd", 1),
        (AssociationConfig, "strong", 0.0),
        (AssociationConfig, "scale_ratio", 1.0),
        (PixelConfig, "max_anchors", 18),
        (VisibilityConfig, "off", 0.6),
    ],
)
def test_config_accepts_the_limits(part, name, value):
    assert getattr(part(**{name: value}), name) == value


# --- motion


def test_predict_tracks_by_hand():
    one = tracks(observation((160, 180)))
    one.motion.velocity[:] = 10.0, -20.0
    scale = one.body.scale[0]
    config = TrackConfig(motion=MotionConfig(limb_agility=3.0, body_agility=0.6))
    after = predict_tracks(one, step(dt=0.5, config=config)).motion
    np.testing.assert_allclose(after.xy - one.motion.xy, [[[5, -10]] * POINTS], atol=1e-9)
    gained = after.variance[0, :, 2] - one.motion.variance[0, :, 2]
    np.testing.assert_allclose(gained[:A], (3.0 * scale) ** 2 * 0.5)
    np.testing.assert_allclose(gained[BODY], (0.6 * scale) ** 2 * 0.5)


def test_spawn_by_hand():
    seen = observation((160, 180))
    seen.centroids.confidence[0, [3, 4]] = 0.05, 0.4
    one = spawn(seen, np.array([0]), Phase.TENTATIVE, step(7.0))
    scale = one.body.scale[0]
    assert one.phase.tolist() == [Phase.TENTATIVE] and one.id.tolist() == [0]
    assert one.born.tolist() == one.seen.tolist() == one.posed.tolist() == [7.0]
    deviation = np.sqrt(one.motion.variance[0, :, 0]) / scale
    np.testing.assert_allclose(deviation[[0, 3, 4, BODY]], [0.05, 0.04 / 0.15, 0.1, 0.05])
    np.testing.assert_allclose(np.sqrt(one.motion.variance[0, :, 2]), scale)
    np.testing.assert_allclose(one.motion.xy[0, BODY], seen.position[0], atol=1e-3)
    np.testing.assert_allclose(one.relative_sigma, 0.2, rtol=1e-6)
    assert one.area.tolist() == [np.count_nonzero(seen.cells.owner == 0)]
    np.testing.assert_array_equal(one.cells[0], seen.cells.at[seen.cells.owner == 0])


def test_update_matched_moves_averages_by_their_time_constants():
    seen = observation((160, 180))
    one = tracks(seen, area=400.0, relative_sigma=0.4, posed=-1.0, seen=-1.0)
    after = update_matched(one, seen, np.array([0]), np.array([0]), step(0.1, 0.1))
    area = np.count_nonzero(seen.cells.owner == 0)
    np.testing.assert_allclose(after.area, 400 + (1 - np.exp(-0.05)) * (area - 400))  # shrinks
    np.testing.assert_allclose(after.relative_sigma, 0.4 - 0.2 * (1 - np.exp(-0.2)), rtol=1e-6)
    assert after.seen.tolist() == after.posed.tolist() == [0.1] and after.born.tolist() == [0.0]
    grown = update_matched(
        replace(one, area=np.array([10.0])), seen, np.array([0]), np.array([0]), step(0.1, 0.1)
    )
    np.testing.assert_allclose(grown.area, 10 + (1 - np.exp(-0.2)) * (area - 10))


@pytest.mark.parametrize(("share", "factor"), [(1.0, 1.0), (2.0, 1.0), (0.5, 4.0), (0.05, 100.0)])
def test_update_matched_trusts_partial_views_less(share, factor):
    seen = observation((160, 180))
    area = np.count_nonzero(seen.cells.owner == 0)
    one = tracks(seen, area=area / share)
    one.motion.xy[0, BODY] += 10.0
    one.motion.variance[:, :, 0] = 25.0
    origin, error = body.locate(one.body, seen.poses.xy, seen.centroids.confidence)
    noise = factor * error[0] * one.body.scale[0]
    after = update_matched(one, seen, np.array([0]), np.array([0]), step(0.1, 0.0))
    gain = 25 / (25 + noise**2)
    np.testing.assert_allclose(after.motion.xy[0, BODY], origin[0] + 10 * (1 - gain), rtol=1e-5)


def test_update_matched_doubts_merged_anchors():
    apart, close = observation((60, 180), (200, 180)), observation((60, 180), (70, 180))
    gains = []
    for seen in (apart, close):
        two = tracks(seen)
        two.motion.variance[:, :, 0] = 9.0
        two.motion.xy[:, 0, 1] += 1.0
        after = update_matched(two, seen, np.arange(2), np.arange(2), step(0.1, 0.0)).motion
        gains.append(two.motion.xy[0, 0, 1] - after.xy[0, 0, 1])
    noise = (0.04 / 0.8) * float(two.body.scale[0])
    np.testing.assert_allclose(gains, [9 / (9 + noise**2), 9 / (9 + (2.5 * noise) ** 2)], rtol=1e-5)


@pytest.mark.parametrize(("phase", "start"), [(Phase.LOST, True), (Phase.OCCLUDED, False)])
def test_update_matched_lost_tracks_start_at_the_pose_with_their_velocity(phase, start):
    seen = observation((160, 180))
    one = tracks(seen, phase=phase)
    one.motion.xy[:] += 40.0
    one.motion.velocity[:] = 7.0
    after = update_matched(one, seen, np.array([0]), np.array([0]), step(0.1, 0.1)).motion
    assert np.allclose(after.xy[0, :A], seen.poses.xy[0], atol=1e-3) == start
    np.testing.assert_allclose(after.velocity, 7.0)


@pytest.mark.parametrize(("poses", "moved"), [(2, 0.0), (3, 5.0)])
def test_update_matched_shares_the_common_correction(poses, moved):
    seen = observation((50, 180), (130, 180), (210, 180), (290, 180))
    four = tracks(seen)
    four.motion.variance[:, :, 0] = 1e9  # the correction is complete
    four.motion.xy[:, :, 0] -= 5.0
    rows = np.arange(poses)
    after = update_matched(four, seen, rows, rows, step(0.1, 0.1)).motion
    np.testing.assert_allclose(after.xy[3] - four.motion.xy[3], [[moved, 0]] * POINTS, atol=0.1)


@pytest.mark.parametrize(("x", "learned"), [(200, True), (100, False)])
def test_update_matched_learns_colours_only_of_people_apart(x, learned):
    seen = observation((60, 180), (x, 180))
    two = tracks(seen, descriptor=1 / 8)
    red = np.zeros((2, 2, 24))
    red[..., ::8] = 1
    seen = replace(seen, descriptor=red)
    after = update_matched(two, seen, np.arange(2), np.arange(2), step(0.1, 0.1)).descriptor
    rate = (1 - np.exp(-0.05)) * learned
    np.testing.assert_allclose(after, 1 / 8 + rate * (red - 1 / 8))


def test_update_matched_filters_keypoints_relative_to_body_and_scale():
    seen = observation((160, 180))
    config = TrackConfig(smoothing=SmoothingConfig(min_cutoff=1e9))  # follows at once
    one = tracks(seen)
    one.smoothed.value[:] = 0.0
    here = step(0.1, 0.1, config)
    after = update_matched(one, seen, np.array([0]), np.array([0]), here)
    relative = (seen.poses.xy - after.motion.xy[:, BODY:]) / after.body.scale[0]
    np.testing.assert_allclose(after.smoothed.value, relative, atol=1e-6)


def test_update_matched_without_poses_changes_nothing():
    one = tracks(observation((160, 180)))
    assert update_matched(one, observation(), EMPTY, EMPTY, step()) is one


def test_overlapping_compares_anchors_of_one_type():
    xy = np.zeros((3, A, 2))
    xy[1], xy[2] = 15.0 / math.sqrt(2), 500.0
    xy[1, 4] = 100.0
    merged = overlapping(xy, 15.1)
    assert merged[0].tolist() == merged[1].tolist() == [k != 4 for k in range(A)]
    assert not merged[2].any() and not overlapping(xy, 14.9).any()


# --- without a pose


@pytest.mark.parametrize(
    ("phase", "unposed", "seen_now"),
    [
        (Phase.CONFIRMED, 0.1, True),
        (Phase.OCCLUDED, 0.59, True),
        (Phase.OCCLUDED, 0.61, False),  # too long without a pose
        (Phase.TENTATIVE, 0.1, False),
        (Phase.LOST, 0.1, False),
    ],
)
def test_update_unmatched_by_pixels(phase, unposed, seen_now):
    seen = observation((160, 180))
    one = tracks(seen, phase=phase, posed=5 - unposed, seen=4.9)
    after = update_unmatched(one, EMPTY, pointing(seen), seen, step(5.0), None)
    assert after.seen.tolist() == [5.0 if seen_now else 4.9]
    assert after.posed.tolist() == [5 - unposed]
    if seen_now:
        np.testing.assert_array_equal(np.sort(after.cells[0]), seen.cells.at)
        np.testing.assert_allclose(after.motion.xy[0, :A], seen.poses.xy[0], atol=1e-2)


def test_update_unmatched_coasts():
    seen = observation((160, 180))
    one = tracks(seen, phase=Phase.LOST)
    one.motion.velocity[:] = 10.0, 0.0
    one.motion.velocity[0, 3] = 99.0
    one.motion.xy[0, 3] += 8.0
    after = update_unmatched(one, EMPTY, pointing(seen), seen, step(5.0, 0.1), None).motion
    np.testing.assert_allclose(after.velocity, [[[10 * np.exp(-0.05), 0]] * POINTS])
    away = after.xy[0, 3] - one.body.anchors_at(one.motion.xy[:, BODY])[0, 3]
    np.testing.assert_allclose(away, 8 * np.exp(-0.5), rtol=1e-6)


@pytest.mark.parametrize(("share", "found"), [(0.14, False), (0.16, True)])
def test_update_unmatched_needs_a_share_of_the_mask(share, found):
    seen = observation((160, 180))
    cells = len(seen.cells.at)
    one = tracks(seen, posed=4.9, seen=4.9, area=cells / share)
    after = update_unmatched(one, EMPTY, pointing(seen), seen, step(5.0), None)
    assert (after.seen == 5.0).tolist() == [found]


def test_update_unmatched_leaves_matched_tracks_alone():
    seen = observation((60, 180), (260, 180))
    two = tracks(seen, posed=4.9, seen=4.9)
    after = update_unmatched(two, np.array([0]), pointing(seen), seen, step(5.0), None)
    assert after.seen.tolist() == [4.9, 5.0]
    np.testing.assert_array_equal(after.motion.xy[0], two.motion.xy[0])


# --- requery


@pytest.mark.parametrize(
    ("miss", "margin", "found"),
    # both are at the same place; φ of the rival is exp(−miss² / 2), in sigmas
    [(0.0, 0.2, False), (0.5, 0.2, False), (0.8, 0.2, True), (0.5, 0.0, True), (0.0, 0.0, False)],
)
def test_requery_cells_must_fit_a_rival_clearly_less(miss, margin, found):
    seen = observation((160, 180))
    one = tracks(seen)
    sigma = one.relative_sigma[0] * one.body.scale[0]
    rival = tracks(seen)
    rival.motion.xy[:, :, 0] += miss * sigma
    config = PixelConfig(rival_margin=margin)
    got = requery(pointing(seen), seen.cells, one, rival, None, config)
    assert got.share.tolist() == [1.0 if found else 0.0]


@pytest.mark.parametrize(("miss", "found"), [(1.1, True), (1.25, False)])  # φ = 0.5 at 1.177 σ
def test_requery_cells_must_point_at_the_track(miss, found):
    seen = observation((160, 180))
    one = tracks(seen)
    one.motion.xy[:, :, 0] += miss * one.relative_sigma[0] * one.body.scale[0]
    got = requery(pointing(seen), seen.cells, one, no_tracks(TrackConfig()), None, PixelConfig())
    assert got.share.tolist() == [1.0 if found else 0.0]
    anchors = seen.poses.xy if found else one.motion.xy[:, :A]
    np.testing.assert_allclose(got.xy, anchors, atol=1e-2)


def test_requery_tracks_without_weights_use_their_centre():
    seen = observation((60, 180), (260, 180))
    two = tracks(seen)
    two.visibility.weight[0] = 0.0
    two.motion.xy[0, :CENTRE] += 12.0  # only the CENTRE is where the cells point
    got = requery(pointing(seen), seen.cells, two, two[:0], None, PixelConfig())
    np.testing.assert_allclose(got.share, [1.0, 1.0], rtol=0.05)


def test_requery_cells_go_to_the_best_of_two_tracks():
    seen = observation((160, 180))
    two = tracks(observation((160, 180), (160, 180)))
    two.motion.xy[0, :, 0] += 5.0
    got = requery(pointing(seen), seen.cells, two, two[:0], None, PixelConfig())
    assert got.share[0] == 0 and got.share[1] > 0.9
    assert len(got.cells[0]) == 0 and len(got.cells[1]) == len(seen.cells.at)


@pytest.mark.parametrize(
    ("covered", "expected"), [(False, 1.0), (True, 0.3)]
)  # share of the usual mask that is expected beside a rival, at least 0.3
def test_requery_expects_the_uncovered_part_of_the_silhouette(covered, expected):
    seen = observation((160, 180))
    one, fields = tracks(seen), pointing(seen)
    labels = np.zeros(SIZE[::-1], np.uint16)
    for at in seen.cells.at:
        y, x = STRIDE * (at // GRID[1]), STRIDE * (at % GRID[1])
        labels[y : y + STRIDE, x : x + STRIDE] = 1
    prior, origin = PixelPrior(), one.motion.xy[:, BODY]
    prior.update(labels, np.array([1]), origin, one.body.scale, fields, 0.0)
    rivals = replace(tracks(seen), id=np.array([2]))
    prior.update(np.where(labels, 2, 0).astype(np.uint16), np.array([2]), origin, one.body.scale,
                 fields, 0.0)  # fmt: skip
    rivals.motion.xy[:] = rivals.motion.xy + (0.0 if covered else 80.0)
    config = PixelConfig(rival_margin=0.0, shape_prior=0.0)
    far = replace(rivals, visibility=replace(rivals.visibility, weight=np.eye(A)[[CENTRE]]))
    far.motion.xy[:, CENTRE] += 60.0  # the fields do not point at the rival
    got = requery(fields, seen.cells, one, far, prior, config)
    np.testing.assert_allclose(got.share * expected, 1.0, rtol=0.25)


# --- body


@pytest.mark.parametrize(
    ("sure", "whole"),
    [
        (range(17), True),
        ((5, 6, 11, 12, 0, 1), True),
        ((5, 6, 11, 12, 0), False),  # five
        ((0, 1, 2, 3, 4, 5), False),  # the upper part alone
        ((0, 1, 2, 3, 4, 11), True),
        ((11, 12, 13, 14, 15, 16), False),
        ((7, 8, 9, 10, 11, 12), False),
    ],
)
def test_is_whole(sure, whole):
    confidence = np.zeros((1, A))
    confidence[0, list(sure)] = 0.31
    assert body.is_whole(confidence).tolist() == [whole]
    assert not body.is_whole(np.full((1, A), 0.3)).any()


def test_locate_follows_the_trunk_and_states_its_error():
    seen = observation((160, 180))
    known = tracks(seen).body
    xy, confidence = seen.poses.xy.astype(float), seen.centroids.confidence
    origin, error = body.locate(known, xy + 7.0, confidence)
    np.testing.assert_allclose(origin, seen.position + 7.0, atol=1e-3)
    np.testing.assert_allclose(error, 0.02 + 0.06 / (1 + 0.8 * body.RIGID.sum()))
    swung = xy.copy()
    swung[0, 9] += 50.0  # a wrist
    away = np.linalg.norm(body.locate(known, swung, confidence)[0] - seen.position)
    assert away < 1.0
    blind, error = body.locate(known, xy + 7.0, np.full((1, A), 0.1))
    np.testing.assert_allclose(blind, seen.position + 7.0, atol=1e-3)
    assert error.tolist() == [0.2]


def test_update_body_learns_only_from_visible_joints():
    seen = observation((160, 180))
    known = tracks(seen).body
    confidence = np.full((1, A), 0.8)
    confidence[0, 9] = 0.1
    xy = seen.poses.xy.astype(float)
    xy[0, [9, 10]] += known.scale[0]
    args = seen.position, confidence, known.scale
    after = body.update_body(known, xy, *args, 0.1, MotionConfig())
    np.testing.assert_allclose(after.shape[0, 10] - known.shape[0, 10], 1.0, atol=1e-3)  # first
    np.testing.assert_allclose(after.shape[0, 9], known.shape[0, 9], atol=1e-6)
    assert after.learned[0, [9, 10]].tolist() == [0.0, 0.1]
    old = replace(known, learned=np.full((1, A), 2.0))
    after = body.update_body(old, xy, *args, 0.1, MotionConfig())
    gain = after.shape[0, 10] - known.shape[0, 10]
    np.testing.assert_allclose(gain, 1 - np.exp(-0.05), rtol=1e-3)
    assert after.learned.max() == 2.0


@pytest.mark.parametrize(
    ("sized", "whole", "scale"),
    [(True, True, 2 ** (1 - np.exp(-1 / 3))), (True, False, 1.0), (False, False, 2.0)],
)
def test_update_body_scale(sized, whole, scale):
    seen = observation((160, 180))
    known = replace(tracks(seen).body, sized=np.array([sized]))
    confidence = np.full((1, A), 0.8 if whole else 0.1)
    after = body.update_body(
        known, seen.poses.xy.astype(float), seen.position, confidence, 2 * known.scale, 0.1,
        MotionConfig(),
    )  # fmt: skip
    np.testing.assert_allclose(after.scale, scale * known.scale)
    assert after.sized.tolist() == [sized or whole]
    if not whole:  # hidden joints keep their shape, or their pixels if the scale was a guess
        kept = known.shape if sized else known.shape / scale
        np.testing.assert_allclose(after.shape, kept)


def test_update_body_centre_of_a_partial_mask_is_not_learned():
    seen = observation((160, 180))
    known = tracks(seen).body
    xy = seen.poses.xy.astype(float)
    xy[0, CENTRE] += 50
    confidence = np.full((1, A), 0.8)
    confidence[0, 4:17] = 0.1
    after = body.update_body(known, xy, seen.position, confidence, known.scale, 0.1, MotionConfig())
    np.testing.assert_allclose(after.shape[0, CENTRE], known.shape[0, CENTRE])
    assert after.learned[0, CENTRE] == 0 and after.learned[0, 0] == 0.1


@pytest.mark.parametrize(("joints", "known"), [([0, 5, 6, 11], True), ([0, 5, 6], False)])
def test_bone_distance_needs_four_bones(joints, known):
    seen = observation((160, 180))
    one = replace(tracks(seen).body, learned=np.zeros((1, A)))
    one.learned[0, joints] = 1.0
    other = seen.poses.xy.astype(float)
    other[0, 5] += 25.0
    confidence = seen.centroids.confidence
    assert (body.bone_distance(one, other, confidence)[0, 0] > 0) == known
    np.testing.assert_allclose(body.bone_distance(one, 3 * seen.poses.xy, confidence), 0, atol=1e-5)


def test_is_isolated_by_hand():
    origin = np.array([[0.0, 0], [90, 0], [300, 0]])
    scale = np.array([40.0, 60.0, 50.0])
    assert body.is_isolated(origin, scale, 0.89).tolist() == [True, True, True]
    assert body.is_isolated(origin, scale, 0.91).tolist() == [False, False, True]


@pytest.mark.parametrize(
    ("joint", "rigid"),
    [(0, 1), (1, 1), (2, 1), (3, 1), (4, 1), (5, 2), (6, 2), (7, 0.7), (8, 0.7), (9, 0.2),
     (10, 0.2), (11, 2), (12, 2), (13, 0.7), (14, 0.7), (15, 0.3), (16, 0.3)],
)  # fmt: skip
def test_locate_weight_of_each_joint(joint, rigid):
    seen = observation((160, 180))
    xy = seen.poses.xy.astype(float)
    xy[0, joint, 0] += 16.8
    origin, _ = body.locate(tracks(seen).body, xy, seen.centroids.confidence)
    shift = origin[0, 0] - seen.position[0, 0]
    np.testing.assert_allclose(shift, rigid, rtol=1e-3)  # the weights' sum is 16.8


@pytest.mark.parametrize("joint", range(K))
def test_bone_distance_depends_on_the_trunk_and_what_is_next_to_it(joint):
    seen = observation((160, 180))
    one = replace(tracks(seen).body, learned=np.ones((1, A)))
    xy = seen.poses.xy.astype(float)
    xy[0, joint] += (9.0, 4.0)
    changed = body.bone_distance(one, xy, seen.centroids.confidence)[0, 0] > 1e-3
    assert changed == (joint in (0, 5, 6, 11, 12, 13, 14))


# --- filters


def test_one_euro_by_hand():
    state = one_euro.initial_state(np.zeros((1, A, 2)))
    config = SmoothingConfig(min_cutoff=1.0, beta=0.5, slope_cutoff=2.0)
    value = np.zeros((1, A, 2))
    value[..., 0] = 0.3
    after = one_euro.filter_keypoints(state, value, 0.1, config)
    slope = 3.0 / (1 + 1 / (2 * math.pi * 2.0 * 0.1))
    cutoff = 1.0 + 0.5 * slope
    np.testing.assert_allclose(after.slope[..., 0], slope)
    np.testing.assert_allclose(after.value[..., 0], 0.3 / (1 + 1 / (2 * math.pi * cutoff * 0.1)))
    assert not after.value[..., 1].any()
    assert one_euro.filter_keypoints(state, value, 0.0, config) is state


def test_kalman_correct_by_hand():
    motion = kalman.initiate(
        np.zeros((1, POINTS, 2)), np.full((1, POINTS), 3.0), np.full((1, POINTS), 5.0)
    )
    motion = kalman.predict(motion, 2.0, np.full((1, POINTS), 6.0))
    np.testing.assert_allclose(motion.variance[0, 0], [9 + 100 + 16, 50 + 12, 25 + 12])
    after = kalman.correct(motion, np.full((1, POINTS, 2), 10.0), np.full((1, POINTS), 5.0))
    gain, other = 125 / 150, 62 / 150
    np.testing.assert_allclose(after.xy, 10 * gain)
    np.testing.assert_allclose(after.velocity, 10 * other)
    np.testing.assert_allclose(
        after.variance[0, 0], [125 * (1 - gain), 62 * (1 - gain), 37 - other * 62]
    )


# --- visibility


@pytest.mark.parametrize(
    ("state_on", "value", "above", "on"),
    [
        (True, 0.36, 0.0, True),  # hysteresis
        (True, 0.34, 0.0, False),
        (False, 0.59, 0.0, False),
        (False, 0.61, 0.0, False),  # not for long enough
        (False, 0.61, 0.10, True),
    ],
)
def test_update_visibility_hysteresis(state_on, value, above, on):
    config = VisibilityConfig()
    confidence = np.full((1, A), value)
    state = replace(
        v.initial_visibility(confidence, config),
        on=np.full((1, K), state_on), above=np.full((1, K), above),
    )  # fmt: skip
    shape = np.arange(2 * A).reshape(1, A, 2).astype(float)
    after = v.update_visibility(state, confidence, shape, 0.05, config)
    assert after.on.tolist() == [[on] * K]


def test_update_visibility_averages_and_fades_by_hand():
    config = VisibilityConfig(average_time=0.2, fade=0.1)
    state = v.initial_visibility(np.full((1, A), 0.8), config)
    confidence = np.full((1, A), 0.9)
    after = v.update_visibility(state, confidence, np.zeros((1, A, 2)), 0.05, config)
    value = 0.8 + 0.1 * (1 - np.exp(-0.25))
    np.testing.assert_allclose(after.value, value)
    np.testing.assert_allclose(after.above, 0.05)
    rate = 1 - np.exp(-0.5)
    np.testing.assert_allclose(after.weight[0, :K], 0.8 + rate * (value - 0.8))
    np.testing.assert_allclose(after.weight[0, CENTRE], 16 * (0.8 + rate * 0.1))


def test_initial_visibility_by_hand():
    confidence = np.full((2, A), 0.47)
    confidence[0, [3, 8]] = 0.5, 0.6
    state = v.initial_visibility(confidence, VisibilityConfig())  # on above 0.475
    assert np.flatnonzero(state.on[0]).tolist() == [3, 8] and not state.on[1].any()
    assert state.primary.tolist() == [8, CENTRE] and np.isinf(state.since).all()
    assert np.flatnonzero(state.weight[0]).tolist() == [3, 8, CENTRE]


@pytest.mark.parametrize(
    ("before", "offered", "since", "primary"),
    [(0.5, 0.9, 1.0, 5), (0.6, 0.9, 1.0, 2), (0.5, 0.9, 0.05, 2), (0.0, 0.9, 0.05, 5)],
)
def test_update_visibility_primary_changes_for_a_much_better_one(before, offered, since, primary):
    config = VisibilityConfig()
    confidence = np.zeros((1, A))
    confidence[0, [2, 5]] = before, offered
    state = v.initial_visibility(confidence, config)
    state = replace(state, primary=np.array([2]), since=np.array([since]))
    on = np.zeros((1, K), bool)
    on[0, [2, 5]] = True
    shape = np.zeros((1, A, 2))
    shape[0, :, 0] = np.arange(A) * 0.0
    shape[0, [2, 5]] = 5.0  # both far from what is hidden
    after = v.update_visibility(replace(state, on=on), confidence, shape, 0.01, config)
    assert after.primary.tolist() == [primary]
    assert after.since.tolist() == [0.0 if primary == 5 else pytest.approx(since + 0.01)]


@pytest.mark.parametrize(("seen", "primary"), [(True, 2), (False, 5)])
def test_revived_visibility_keeps_the_primary_anchor_if_it_is_seen(seen, primary):
    config = VisibilityConfig()
    confidence = np.full((1, A), 0.8)
    confidence[0, 5] = 0.9
    state = replace(v.initial_visibility(confidence, config), primary=np.array([2]))
    confidence[0, 2] = 0.8 if seen else 0.1
    assert v.revived_visibility(state, confidence, config).primary.tolist() == [primary]


def test_revived_visibility_leaves_the_centre_for_a_visible_keypoint():
    config = VisibilityConfig()
    confidence = np.full((1, A), 0.8)
    confidence[0, 5] = 0.9
    state = replace(v.initial_visibility(confidence, config), primary=np.array([CENTRE]))
    assert v.revived_visibility(state, confidence, config).primary.tolist() == [5]


@pytest.mark.parametrize(
    ("mode", "temporal", "anchors"),
    [
        (CentroidMode.WEIGHTED, True, list(range(A))),
        (CentroidMode.SINGLE, True, [0]),
        (CentroidMode.STATIC, True, [4]),
        (CentroidMode.ALL, True, [4]),
        (CentroidMode.WEIGHTED, False, [4]),
    ],
)
def test_apply_mode(mode, temporal, anchors):
    seen = observation((160, 180))
    state = v.initial_visibility(np.full((1, A), 0.8), VisibilityConfig())
    still = replace(seen.centroids, weight=np.eye(A)[[4]], primary=np.array([4]))
    after = v.apply_mode(state, still, mode, temporal)
    assert np.flatnonzero(after.weight[0]).tolist() == anchors


def test_find_switches_by_hand():
    config = VisibilityConfig()
    before = v.initial_visibility(np.full((3, A), 0.8), config)
    after = replace(before, primary=np.array([4, 0, CENTRE]))
    before = replace(before, primary=np.array([0, 0, CENTRE - 1]))
    first, second = v.find_switches(before, after, np.array([7, 8, 9]), 2.5)
    assert (first.id, first.before, first.after, first.stamp) == (7, 0, 4, 2.5)
    assert first.reason == "nose 0.80 -> 0.80, right_ear 0.80"
    assert (second.id, second.after) == (9, CENTRE)
    assert second.reason == "right_ankle 0.80 -> 0.80, no keypoint"
    back = v.find_switches(after, before, np.array([7, 8, 9]), 2.5)
    assert back[1].reason == "right_ankle 0.80"


# --- camera


def test_common_shift_must_explain_two_people():
    seen = observation((60, 180), (250, 180))
    two = tracks(seen)
    two.motion.xy[:] -= 30.0
    np.testing.assert_allclose(common_shift(two, seen), 30.0, rtol=1e-5)
    one_moved = tracks(seen)
    one_moved.motion.xy[0] -= 30.0
    one_moved.motion.xy[1] += 100.0
    assert not common_shift(one_moved, seen).any()
    four = observation((40, 180), (110, 190), (190, 170), (280, 180))
    panned = tracks(four)
    panned.motion.xy[:] -= (30.0, -12.0)
    panned.motion.xy[1] += (47.0, 9.0)  # walks on its own
    np.testing.assert_allclose(common_shift(panned, four), (30, -12), rtol=1e-4)
    near = tracks(seen)
    near.motion.xy[:] -= 5.0  # well within the predictions' error
    assert not common_shift(near, seen).any()


@pytest.mark.parametrize(("dt", "speed"), [(0.1, 150.0), (0.015, 1000.0), (0.014, 0.0)])
def test_compensate_moves_everything(dt, speed):
    one = tracks(observation((160, 180)))
    after = compensate(one, np.array([30.0, 0.0]), step(dt=dt))
    for name in ("seen_at", "cells_at"):
        np.testing.assert_allclose(getattr(after, name) - getattr(one, name), [[30, 0]])
    np.testing.assert_allclose(after.motion.velocity - one.motion.velocity, [[[speed, 0]] * POINTS])


# --- appearance


def test_describe_upper_and_lower_halves():
    seen = observation((160, 180))
    image = np.zeros((240, 320, 3), np.uint8)
    hips = int(seen.poses.xy[0, [11, 12], 1].mean())
    image[:] = 0, 200, 0  # green around the person
    left, right = (int(seen.cells.xy[0].min()) - 4, int(seen.cells.xy[0].max()) + 4)
    image[:hips, left:right], image[hips:, left:right] = (40, 40, 180), (170, 60, 40)
    letterbox = Letterbox.fit(SIZE, 320, 16)
    found = appearance.describe(
        image, letterbox, STRIDE, seen.cells.at, seen.cells.owner, seen.poses
    )
    swapped = found[:, ::-1]
    lab = cv2.cvtColor(np.uint8([[(40, 40, 180)] * 6]), cv2.COLOR_BGR2LAB)[0]
    red = appearance.histograms(lab, np.zeros(6, int), 1)
    np.testing.assert_allclose(found[0, 0], red[0], atol=0.2)  # red above, blue below
    assert appearance.descriptor_distance(found, found, 0.4)[0, 0] < 1e-6
    assert appearance.descriptor_distance(found, swapped, 0.4)[0, 0] == 1
    none = appearance.describe(
        image, letterbox, STRIDE, seen.cells.at, np.full(len(seen.cells.at), -1), seen.poses
    )
    assert np.isnan(none).all()


def test_describe_ignores_cells_in_the_padding():
    seen = observation((160, 180))
    letterbox = Letterbox.fit((308, 232), 308, 16)  # in an input of 320 x 240
    assert letterbox.input_size == SIZE
    image, at = np.full((232, 308, 3), 90, np.uint8), np.arange(1200)
    found = appearance.describe(image, letterbox, STRIDE, at, np.zeros(1200, int), seen.poses)
    assert np.isfinite(found).all() and found.shape == (1, 2, 24)


@pytest.mark.parametrize(("cells", "known"), [(5, False), (6, True)])
def test_histograms_need_six_cells(cells, known):
    found = appearance.histograms(np.full((cells, 3), 128, np.uint8), np.zeros(cells, int), 1)
    assert np.isfinite(found).all() == known


def test_histograms_split_a_colour_between_two_bins():
    lab = np.full((8, 3), 128, np.uint8)  # 128 / 32 − 0.5 = 3.5: half to bin 3, half to bin 4
    found = appearance.histograms(lab, np.zeros(8, int), 1).reshape(3, 8)
    assert found.tolist() == [[0, 0, 0, 0.5, 0.5, 0, 0, 0]] * 3
    lab[:, 1] = 128 + 12  # chroma is stretched by 256 / 96: 160 / 32 − 0.5 = 4.5
    found = appearance.histograms(lab, np.zeros(8, int), 1).reshape(3, 8)
    assert found[1].tolist() == [0, 0, 0, 0, 0.5, 0.5, 0, 0]


# --- priors


def test_shape_factors_by_hand():
    shares = np.array([[1.0, 0.5, np.nan], [0.0, 0.5, 0.8]], np.float32)
    got = shape_factors(shares, 0.3)
    np.testing.assert_allclose(got, [[1, 1, 1], [np.exp(-0.3), 1, 1]], rtol=1e-6)


def test_pixel_prior_learns_by_its_time_constant_and_only_apart():
    seen = observation((60, 180), (260, 180))
    fields, ids = pointing(seen), np.array([1, 2])
    made = tracks(seen)
    origin, scale = made.motion.xy[:, BODY], made.body.scale
    prior = PixelPrior(PixelConfig(shape_time=1.0))
    prior.update(np.zeros((240, 320), np.uint16), ids, origin, scale, fields, 1.0)
    full = np.full((240, 320), 1, np.uint16)
    prior.update(full, ids, origin, scale, fields, 1.5)
    at = np.unravel_index(seen.cells.at[seen.cells.owner == 0], GRID)
    shares = prior.occupancy(ids, origin, scale, fields)
    np.testing.assert_allclose(shares[0][at], 1 - np.exp(-0.5), rtol=1e-5)
    assert not shares[1].any()


# --- observe and new people


def test_observe_drops_weak_poses_and_sorts_from_left_to_right():
    seen = observation((260, 180), (60, 180), (160, 180))
    centroids = seen.centroids
    centroids.confidence[2] = 0.0
    centroids.confidence[2, [0, 1]] = 0.74  # 2 · 0.74 / 5 < 0.3
    centroids.confidence[1] = 0.0
    centroids.confidence[1, CENTRE] = 0.9
    got = observe(pointing(seen), seen.poses, centroids, AssociationConfig())
    np.testing.assert_allclose(got.position[:, 0], seen.position[[1, 0], 0])
    np.testing.assert_allclose(got.strength, [0.8 * 0.9, 0.8])
    assert got.centre_only.tolist() == [True, False]
    assert got.duplicate.tolist() == [False, False]
    own = [set(got.cells.at[got.cells.owner == j].tolist()) for j in range(2)]
    for row, source in enumerate((1, 0)):
        assert own[row] == set(seen.cells.at[seen.cells.owner == source].tolist())


def test_observe_marks_duplicates_of_better_poses():
    seen = observation((100, 180), (110, 180), (200, 180))
    seen.poses.score[:] = 0.5, 0.9, 0.4
    got = observe(pointing(seen), seen.poses, seen.centroids, AssociationConfig())
    assert got.duplicate.tolist() == [True, False, False]


@pytest.mark.parametrize(
    ("x", "centre_only", "score", "started"),
    [
        (60, True, 0.9, False),  # a CENTRE alone among others
        (75, True, 0.9, True),  # farther than a scale of 66.7
        (60, False, 0.9, True),
        (75, False, 0.4, False),  # weak
        (2, False, 0.9, False),  # a duplicate
    ],
)
def test_new_people(x, centre_only, score, started):
    both = observation((120, 180), (120 + x, 180))
    both.centroids.confidence[1] = score * 0.9
    if centre_only:
        both.centroids.confidence[1, :CENTRE] = 0.0
    tracker, one = Tracker(), np.array([0])
    fields = pointing(both)
    tracker.update(fields, both.poses[one], both.centroids[one], 1.0)
    tracker.update(fields, both.poses, both.centroids, 1.1)
    assert len(tracker.tracks) == 1 + started
    assert tracker.tracks.phase.tolist() == [Phase.CONFIRMED] + [Phase.TENTATIVE] * started

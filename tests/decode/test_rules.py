"""Thresholds and choices of the decoder, one rule per row, on fields and peaks made by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from kdc_core.config import (
    AssignConfig,
    CentroidConfig,
    CentroidMode,
    GroupConfig,
    HoughConfig,
    ScoreConfig,
)
from kdc_core.decode import (
    anchor_weights,
    build_people,
    find_peaks,
    foreground,
    group,
    inverse_square_weights,
    mean_distance,
    phi,
    rank_poses,
    reach_boxes,
    refine_unmatched,
    select,
    smooth_votes,
    suppress_duplicates,
    vote,
    weigh_anchors,
)
from kdc_core.decode.centroid import person_size
from kdc_core.decode.paint import paint
from kdc_core.decode.phi import decay
from kdc_core.decode.refine import votes_at
from kdc_core.decode.sample import pool, sample
from kdc_core.letterbox import Letterbox
from kdc_core.skeleton import CENTRE, MAX_DEGREE, OUT_EDGES, A, K
from kdc_core.types import Centroids, InstanceMap, Peaks, Phase, Poses
from tests.decode.test_stages import blank, one_person, one_pose

RNG = np.random.default_rng(3)
#: anchors of a person in scales, in general position: no two are close to each other
SHAPE = np.stack([np.arange(A) % 5, np.arange(A) // 5], axis=1) / 4.0


def person(at=(100.0, 100.0), size=100.0) -> np.ndarray:
    """Anchors (18, 2) of a person of ``size`` pixels."""
    return np.array(at, np.float32) + np.float32(size) * SHAPE.astype(np.float32)


def peaks_of(people, kinds=None, scores=None, slots=8) -> Peaks:
    """Peaks of people (18, 2), with edges and anchors as they should be read there.

    ``kinds`` are the anchor types that have a peak, of each person.
    """
    xy, score = np.zeros((A, slots, 2), np.float32), np.zeros((A, slots), np.float32)
    reach = np.full((A, slots, MAX_DEGREE, 2), -9999, np.float32)
    anchors = np.zeros((A, slots, A, 2), np.float32)
    vis = np.zeros((A, slots), np.float32)
    filled = np.zeros(A, int)
    for row, points in enumerate(people):
        for kind in range(A) if kinds is None else kinds[row]:
            slot = filled[kind]
            filled[kind] += 1
            xy[kind, slot], anchors[kind, slot] = points[kind], points
            score[kind, slot] = 0.5 if scores is None else scores[row]
            vis[kind, slot] = 0.8
            for i, (_, end) in enumerate(OUT_EDGES[kind]):
                reach[kind, slot, i] = points[end]
    return Peaks(xy=xy, score=score, vis=vis, reach=reach, anchors=anchors)


def poses_of(xy, score=0.5, matched=True) -> Poses:
    xy = np.asarray(xy, np.float32)
    full = lambda value: np.full(xy.shape[:2], value, np.float32)  # noqa: E731
    return Poses(xy, full(score), full(0.9), full(matched).astype(bool),
                 np.full(len(xy), score, np.float32))  # fmt: skip


# --- φ


def test_phi_by_hand():
    distance = np.array([0.0, 3.0, 6.0])
    np.testing.assert_allclose(phi(distance, np.float64(3.0)), np.exp([0, -0.5, -2]))
    single = phi(distance.astype(np.float32), np.float32(3.0))
    np.testing.assert_array_equal(single, decay(np.array([0, 0.5, 2], np.float32)))


def test_inverse_square_weights_by_hand():
    offset = np.array([[0.0, 12.0]])
    got = inverse_square_weights(np.array([[2.0]]), offset, 50.0)
    np.testing.assert_allclose(got, [[2 / 16, 2 / 256]])  # 0.08 · 50 = 4
    np.testing.assert_allclose(inverse_square_weights(1.0, offset, 50.0, 0.1), [[1 / 25, 1 / 289]])


def test_mean_distance_by_hand():
    distance = np.array([[4.0, 1.0], [8.0, 2.0]])
    weight = np.array([[1.0, 1.0], [3.0, 0.0]])
    np.testing.assert_allclose(mean_distance(distance, weight), [7.0, 1.0])


def test_decay_is_exp():
    t = np.concatenate([np.linspace(0, 20, 4001), [80.0]]).astype(np.float32)
    np.testing.assert_allclose(decay(t), np.exp(-t.astype(float)), rtol=3e-7)
    assert decay(np.array([1e6], np.float32))[0] == decay(np.array([80.0], np.float32))[0] > 0


# --- votes and peaks


@pytest.mark.parametrize(("heat", "votes"), [(0.1, False), (0.11, True)])
def test_vote_needs_heat(heat, votes):
    fields = blank()
    fields.heat[3, 4, 4] = heat
    assert bool(vote(fields, HoughConfig()).any()) == votes


def test_vote_splits_between_cells():
    fields = blank()
    fields.heat[0, 4, 5] = 1.0  # (43.5, 35.5)
    fields.short[0, :, 4, 5] = (1 / 16, -1 / 16)  # → (44.5, 34.5) = vote cell (10.75, 8.25)
    votes = vote(fields, HoughConfig())[0].astype(float)
    expected = np.zeros((16, 16))
    expected[8, 11], expected[8, 10], expected[9, 11], expected[9, 10] = 9, 3, 3, 1
    np.testing.assert_allclose(votes / votes.sum(), expected / 16, atol=1e-3)


def peaks_from(votes, **config):
    votes = votes.astype(np.int32)
    return find_peaks(blank(), votes, smooth_votes(votes), HoughConfig(**config))


def test_find_peaks_plateau_gives_the_first_in_raster_order():
    votes = np.zeros((A, 16, 16))
    votes[2, 5, 5] = votes[2, 5, 7] = votes[2, 7, 5] = votes[2, 7, 7] = 60000
    votes[2, 12, 12] = 60000
    peaks = peaks_from(votes)
    assert np.count_nonzero(peaks.score) == 2
    np.testing.assert_allclose(peaks.xy[2, :2], [[21.5, 21.5], [49.5, 49.5]])


@pytest.mark.parametrize("direction", [(1, 0), (0, 1), (1, 1), (-1, 1)])
@pytest.mark.parametrize(("apart", "count"), [(1, 1), (2, 1), (3, 2)])
def test_find_peaks_window_is_5_by_5(apart, count, direction):
    votes = np.zeros((A, 16, 16))
    votes[0, 8, 8] = 60000
    votes[0, 8 + apart * direction[1], 8 + apart * direction[0]] = 30000
    assert np.count_nonzero(peaks_from(votes).score) == count


@pytest.mark.parametrize(
    ("down", "right", "count"),
    [(0, 1, 1), (0, 2, 1), (2, 0, 1), (2, 2, 1), (2, -2, 1), (1, -1, 1), (0, 3, 2), (3, 0, 2),
     (3, 3, 2)],
)  # fmt: skip
def test_find_peaks_of_equal_heights_in_one_window_keeps_the_first(down, right, count):
    heights = np.zeros((A, 16, 16), np.int32)
    heights[4, 6, 6] = heights[4, 6 + down, 6 + right] = 50000
    peaks = find_peaks(blank(), heights, heights, HoughConfig())
    assert np.count_nonzero(peaks.score) == count
    near = HoughConfig().vote_stride * 2.0  # the centre of mass may include the neighbour
    assert np.abs(peaks.xy[4, 0] - (4 * 6 + 1.5)).max() <= near


def test_find_peaks_best_first_and_at_most_max_peaks():
    votes = np.zeros((A, 16, 16))
    for i, height in enumerate((10000, 40000, 20000, 30000)):
        votes[6, 2 + 4 * (i // 2), 2 + 5 * (i % 2)] = height
    score = peaks_from(votes, max_peaks=3).score[6]
    np.testing.assert_allclose(score * 65536, [40000, 30000, 20000], rtol=1e-6)
    low = peaks_from(votes, peak_threshold=20000 / 65536).score[6]
    assert np.count_nonzero(low) == 2  # strictly above


def test_find_peaks_position_is_the_centre_of_mass():
    votes = np.zeros((A, 16, 16))
    votes[0, 5, 5], votes[0, 5, 6], votes[0, 0, 0], votes[0, 1, 0] = 30000, 10000, 60000, 20000
    xy = peaks_from(votes).xy[0, :2]
    np.testing.assert_allclose(xy, [[1.5, 4 * 0.25 + 1.5], [4 * 5.25 + 1.5, 21.5]])
    assert peaks_from(10 * votes).score.max() == 1  # never more


def test_find_peaks_reads_visibility_anchors_and_edges():
    fields = blank()
    fields.vis[4], fields.anchor[:], fields.mid[:] = 0.7, 0.5, 1.0
    votes = np.zeros((A, 16, 16), np.int32)
    votes[[4, CENTRE], 5, 5] = 60000
    peaks = find_peaks(fields, votes, smooth_votes(votes), HoughConfig())
    assert peaks.vis[4, 0] == pytest.approx(0.7) and peaks.vis[CENTRE, 0] == 0
    np.testing.assert_allclose(peaks.anchors[4, 0], 21.5 + 8.0)
    np.testing.assert_allclose(peaks.reach[4, 0, : len(OUT_EDGES[4])], 21.5 + 16.0)
    assert not peaks.reach[4, 0, len(OUT_EDGES[4]) :].any()
    fields.heat[:], fields.short[:] = 0.5, 0.25  # each step adds 16 · 0.5 · 0.25 = 2 pixels
    twice = find_peaks(fields, votes, smooth_votes(votes), HoughConfig(refine_steps=2))
    np.testing.assert_allclose(twice.reach[4, 0, 0], 21.5 + 16.0 + 4.0)


@pytest.mark.parametrize("factor", [1, 2, 4])
def test_pool_is_the_mean(factor):
    field = RNG.random((8, 12), np.float32)
    expected = field.reshape(8 // factor, factor, 12 // factor, factor).mean(axis=(1, 3))
    np.testing.assert_allclose(pool(field, factor), expected, rtol=1e-6)


# --- grouping


def test_group_completes_what_has_no_peak():
    points = person()
    kinds = [k for k in range(A) if k not in (3, 9, CENTRE)]
    poses = group(peaks_of([points], [kinds]), 16.0, GroupConfig())
    assert len(poses) == 1 and np.flatnonzero(~poses.matched[0]).tolist() == [3, 9, CENTRE]
    np.testing.assert_allclose(poses.xy[0], points, atol=1e-3)
    assert poses.anchor_score[0, 3] == 0 and poses.anchor_score[0, 4] == 0.5
    assert poses.vis[0, 4] == pytest.approx(0.8) and poses.vis[0, 3] == 0
    np.testing.assert_allclose(poses.score, 0.5 * 15 / 17, rtol=1e-6)


@pytest.mark.parametrize(
    ("keypoints", "score", "centre", "count"),
    [
        (4, 0.5, 0.0, 1),
        (3, 0.5, 0.0, 0),
        (3, 0.5, 0.051, 1),
        (3, 0.5, 0.049, 0),
        (0, 0.0, 0.06, 1),
        (4, 0.049, 0.0, 0),  # no seed
    ],
)
def test_group_needs_keypoints_or_a_centre(keypoints, score, centre, count):
    peaks = peaks_of([person()], [[*range(keypoints), *([CENTRE] if centre else [])]])
    peaks.score[peaks.score > 0] = score
    peaks.score[CENTRE, 0] = centre
    assert len(group(peaks, 16.0, GroupConfig())) == count


@pytest.mark.parametrize(("weak", "count"), [(0.021, 1), (0.02, 0)])
def test_group_weak_keypoints_do_not_count(weak, count):
    peaks = peaks_of([person()], [range(4)])
    peaks.score[3, 0] = weak
    assert len(group(peaks, 16.0, GroupConfig())) == count


@pytest.mark.parametrize(
    ("size", "apart", "same_place_scale", "count"),
    [
        (400.0, 20.0, 0.08, 1),  # 0.08 of a scale of about 350
        (400.0, 20.0, 0.0, 2),
        (400.0, 40.0, 0.08, 2),
        (100.0, 9.0, 0.0, 1),  # same_place: 10 pixels
        (100.0, 11.0, 0.0, 2),
    ],
)
def test_group_seed_near_the_same_anchor_of_a_person_starts_none(
    size, apart, same_place_scale, count
):
    """A second set of peaks beside the first, as broad disks give them."""
    first = person(size=size)
    second = first + np.array([apart, 0], np.float32)
    config = GroupConfig(same_place_scale=same_place_scale, duplicate=0.001)
    peaks = peaks_of([first, second], [range(A), range(6)], [0.6, 0.4])
    assert len(group(peaks, 16.0, config)) == count


def linked(kind: int, end: int) -> int:
    """Return the slot of the edge from one anchor to another."""
    return [to for _, to in OUT_EDGES[kind]].index(end)


@pytest.mark.parametrize(
    ("ahead", "back", "matched"),
    # the mean of both, the edge back counting half, must be within 8 pixels, half of R
    [(7.9, 7.9, True), (8.1, 8.1, False), (11.9, 0, True), (12.1, 0, False), (0, 23.9, True),
     (0, 24.1, False)],
)  # fmt: skip
def test_group_match_radius(ahead, back, matched):
    peaks = peaks_of([person(size=300.0)], [[5, 11]])
    peaks.score[5] *= 1.2  # the seed
    peaks.reach[5, 0, linked(5, 11)] += (ahead, 0)
    peaks.reach[11, 0, linked(11, 5)] += (0, back)
    peaks.anchors[5, 0] += 200.0  # so that completion does not match it either
    poses = group(peaks, 16.0, GroupConfig(match_scale=0.0, min_keypoints=1))
    assert bool(poses.matched[0, 11]) == matched


@pytest.mark.parametrize(("away", "matched"), [(7.9, True), (8.1, False)])
def test_group_matches_peaks_near_the_completed_anchors(away, matched):
    """The peak is not reached by an edge; its position is its own, not the completed one."""
    points = person(size=300.0)
    peaks = peaks_of([points], [range(6)])
    peaks.reach[:] = -9999  # no edge leads anywhere
    peaks.score[0] *= 1.2
    peaks.xy[3, 0] += (away, 0)
    poses = group(peaks, 16.0, GroupConfig(match_scale=0.0, duplicate=0.001))
    best = poses.matched.sum(axis=1).argmax()
    assert bool(poses.matched[best, 3]) == matched
    np.testing.assert_allclose(poses.xy[best, 3, 0] - points[3, 0], away * matched, atol=1e-3)


@pytest.mark.parametrize(("scores", "taken"), [((0.8, 0.4), 0), ((0.4, 0.8), 1)])
def test_group_follows_the_edges_of_the_most_confident_anchor_first(scores, taken):
    """Nose and CENTRE both lead to a right shoulder, but to different ones."""
    points, away = person(size=300.0), np.array([60.0, 0], np.float32)
    peaks = peaks_of([points, points], [[5, 0, CENTRE, 6], [6]])
    peaks.score[5, 0], peaks.score[0, 0], peaks.score[CENTRE, 0] = 0.9, *scores
    peaks.xy[6, 1] += away
    peaks.reach[CENTRE, 0, linked(CENTRE, 6)] += away
    poses = group(peaks, 16.0, GroupConfig(match_scale=0.0, min_keypoints=3))
    np.testing.assert_allclose(poses.xy[0, 6] - points[6], taken * away, atol=1e-3)


def test_group_completion_by_hand():
    """Weights are score · exp(−drift² / 2) / (0.08 s + offset)², drift in tenths of the scale."""
    points = person(size=200.0)
    peaks = peaks_of([points], [[0, 5, 6, 11]])
    peaks.score[5, 0] = 0.4
    drift = np.array([0, 24.0], np.float32)
    peaks.anchors[6, 0] += drift
    poses = group(peaks, 16.0, GroupConfig())
    scale = float(np.sqrt(np.prod(np.ptp(points[:K], axis=0))))
    missing = 16
    weights, shifts = [], []
    for kind, score in ((0, 0.5), (5, 0.4), (6, 0.5), (11, 0.5)):
        shift = drift[1] if kind == 6 else 0.0
        offset = np.linalg.norm(points[missing] + (0, shift) - points[kind])
        trust = score * np.exp(-((shift / (0.1 * scale)) ** 2) / 2)
        weights.append(trust / (0.08 * scale + offset) ** 2)
        shifts.append(shift)
    expected = np.dot(weights, shifts) / np.sum(weights)
    assert expected > 0.5
    np.testing.assert_allclose(poses.xy[0, missing, 1] - points[missing, 1], expected, rtol=1e-3)


def test_group_at_most_max_people_best_first():
    people = [person((100 + 200 * i, 100)) for i in range(4)]
    peaks = peaks_of(people, scores=[0.2, 0.8, 0.4, 0.6])
    poses = group(peaks, 16.0, GroupConfig(max_people=3))
    np.testing.assert_allclose(poses.xy[:, 0, 0], [300, 700, 500], atol=1e-3)


def test_group_without_peaks():
    assert len(group(peaks_of([]), 16.0, GroupConfig())) == 0


def test_group_predictions_count_less_with_distance_and_drift():
    points, missing = person(size=200.0), 17
    peaks = peaks_of([points], [range(17)])
    near = int(np.linalg.norm(points[:17] - points[missing], axis=1).argmin())
    wrong = np.array([30.0, 0], np.float32)
    peaks.anchors[near, 0, missing] += wrong
    close = group(peaks, 16.0, GroupConfig()).xy[0, missing] - points[missing]
    far = int(np.linalg.norm(points[:17] - points[missing], axis=1).argmax())
    other = peaks_of([points], [range(17)])
    other.anchors[far, 0, missing] += wrong
    distant = group(other, 16.0, GroupConfig()).xy[0, missing] - points[missing]
    assert close[0] > 3 * distant[0] > 0
    peaks.anchors[near, 0] += np.array([0, 90.0], np.float32)  # reads another person's anchors
    drifted = group(peaks, 16.0, GroupConfig()).xy[0, missing] - points[missing]
    assert abs(drifted).max() < 0.5


# --- rank and suppress


def test_rank_poses_a_keypoint_counts_for_the_best_person_only():
    xy = np.stack([person(), person((500, 100)), person()])
    xy[2, :5] += 5.3  # just within R / 3 along x, farther in both axes
    xy[2, 5:] += 300.0
    score = np.full((3, A), 0.4)
    score[0], score[1] = 0.8, 0.6
    poses, rows = rank_poses(poses_of(xy), score, 16.0)
    assert rows.tolist() == [0, 1, 2]
    np.testing.assert_allclose(poses.score, [0.8, 0.6, 0.4], rtol=1e-6)
    xy[2, :5] = xy[0, :5] + (5.3, 0.0)
    poses, _ = rank_poses(poses_of(xy), score, 16.0)
    np.testing.assert_allclose(poses.score[2], 0.4 * 12 / 17, rtol=1e-6)


def test_rank_poses_sorts_and_reports_rows():
    xy = np.stack([person((100 + 300 * i, 100)) for i in range(3)])
    score = np.repeat([[0.3], [0.9], [0.5]], A, axis=1)
    poses, rows = rank_poses(poses_of(xy), score, 16.0)
    assert rows.tolist() == [1, 2, 0]
    np.testing.assert_allclose(poses.anchor_score[:, 0], [0.9, 0.5, 0.3])
    np.testing.assert_allclose(poses.xy[:, 0, 0], [400, 700, 100])


@pytest.mark.parametrize(("apart", "kept"), [(0.22, [0]), (0.25, [0, 1])])
def test_suppress_duplicates_within_1_18_times_the_distance(apart, kept):
    first = person(size=100.0)
    scale = poses_of([first]).scale[0]
    second = first + np.array([apart * scale, 0])
    assert suppress_duplicates(poses_of([first, second]), 0.2).tolist() == kept


@pytest.mark.parametrize(("presence", "centre", "objectness"), [(0.3, 0.1, 0.3), (0.1, 0.3, 0.3)])
def test_objectness_is_the_better_of_skeleton_and_centre(presence, centre, objectness):
    pose = one_pose(presence)
    pose.anchor_score[0, CENTRE] = centre
    assert pose.objectness.tolist() == [pytest.approx(objectness)]


# --- refine


def field_of(points) -> object:
    """Fields all of whose cells point at one person's anchors (18, 2)."""
    fields = blank((128, 128))
    cells = np.stack(np.meshgrid(np.arange(16), np.arange(16)), -1) * 8 + 3.5
    away = np.asarray(points)[:, None, None] - cells  # (18, h, w, 2)
    fields.anchor[:] = np.moveaxis(away, -1, 1) / 16
    fields.seg[:] = 1
    return fields


@pytest.mark.parametrize(
    ("matched", "seg", "steps", "moves"),
    [(False, 1.0, 2, True), (True, 1.0, 2, False), (False, 0.5, 2, False), (False, 0.51, 1, True),
     (False, 1.0, 0, False)],
)  # fmt: skip
def test_refine_unmatched_moves(matched, seg, steps, moves):
    points = person((20, 20), 80.0)
    fields = field_of(points)
    fields.seg[:] = seg
    pose = poses_of([points])
    pose.matched[0, 4] = matched
    pose.xy[0, 4] += 9.0
    after = refine_unmatched(fields, pose, GroupConfig(unmatched_steps=steps))
    np.testing.assert_allclose(after.xy[0, 4], points[4] + (0 if moves else 9), atol=1e-3)
    np.testing.assert_array_equal(np.delete(after.xy, 4, axis=1), np.delete(pose.xy, 4, axis=1))


def test_refine_unmatched_stays_where_the_field_fits_another_pose_better():
    points = person((20, 20), 80.0)
    both = poses_of([points + 6.0, points])  # the field is that of the second
    both.matched[0, 4] = both.matched[1, 5] = False
    both.xy[1, 5] += 9.0
    after = refine_unmatched(field_of(points), both, GroupConfig())
    np.testing.assert_array_equal(after.xy[0], both.xy[0])
    np.testing.assert_allclose(after.xy[1, 5], points[5], atol=1e-3)


def test_votes_at_by_hand():
    heights = np.zeros((A, 16, 16), np.int32)
    heights[3, 5, 5], heights[4, 5, 5] = 32768, 90000
    xy = np.full((1, A, 2), 21.5, np.float32)
    xy[0, 5] = 25.5
    read = votes_at(heights, xy, 4)[0]
    assert read[[3, 4, 5]].tolist() == [0.5, 1.0, 0.0]


# --- centroids


@pytest.mark.parametrize(
    ("scores", "sigma"),
    [
        ([0.31, 0.31, 0.31, 0.3], 0.25),  # the mean over those above 0.3
        ([0.31, 0.31, 0.3, 0.3], 0.212),  # fewer than three
        ([0.9, 0.9, 0.9, 0.9], 0.30),
    ],
)
def test_person_size_sigma_is_read_at_confident_anchors(scores, sigma):
    points = person((20, 20), 80.0)
    fields = blank((128, 128))
    pose = poses_of([points], 0.1)
    scale = float(pose.scale[0])
    pose.anchor_score[0, [0, 4, 10, 14]] = scores
    fields.log_sigma[:] = np.log(0.25 * scale / 16)
    x, y = (points[14] / 8).astype(int)
    fields.log_sigma[y - 1 : y + 3, x - 1 : x + 3] = np.log(0.25 * (0.3 / 0.25) ** 4 * scale / 16)
    got, width = person_size(fields, pose, CentroidConfig(sigma_range=(0.01, 5.0)))
    np.testing.assert_allclose(got, scale)
    np.testing.assert_allclose(width / scale, sigma, rtol=1e-4)


def test_person_size_without_keypoints_follows_sigma():
    pose = poses_of([person((20, 20), 80.0)])
    pose.matched[0, :K] = False
    fields = blank((128, 128))
    fields.log_sigma[:] = np.log(8.0 / 16)
    scale, sigma = person_size(fields, pose, CentroidConfig())
    np.testing.assert_allclose(scale, 8 / 0.212, rtol=1e-5)
    np.testing.assert_allclose(sigma, 8.0, rtol=1e-5)


@pytest.mark.parametrize(("learned", "sigma"), [(0.01, 0.08), (0.3, 0.3), (2.0, 0.45)])
def test_person_size_sigma_is_clamped(learned, sigma):
    pose, fields = poses_of([person((20, 20), 80.0)]), blank((128, 128))
    scale = float(pose.scale[0])
    fields.log_sigma[:] = np.log(learned * scale / 16)
    got = person_size(fields, pose, CentroidConfig())[1]
    np.testing.assert_allclose(got / scale, sigma, rtol=1e-5)


def test_select_confidence_by_hand():
    points = person((20, 20), 80.0)
    pose, fields = poses_of([points], 0.5), field_of(points)
    fields.log_sigma[:] = 0.0
    got = select(fields, pose, CentroidConfig())
    # the cells point exactly at the anchors: stability 1
    np.testing.assert_allclose(got.confidence[0, :K], np.cbrt(0.5 * 0.9), rtol=1e-4)
    np.testing.assert_allclose(got.confidence[0, CENTRE], np.sqrt(0.5), rtol=1e-4)
    fields.anchor[4, 0] += 0.8 * got.sigma[0] / 2 / 16  # half a sigma beside it
    fields.anchor[4, 1] -= 0.6 * got.sigma[0] / 2 / 16
    off = select(fields, pose, CentroidConfig()).confidence[0, 4]
    np.testing.assert_allclose(off, np.cbrt(0.5 * 0.9 * np.exp(-0.5)), rtol=1e-3)
    fields.anchor[5, :, 12:] += 9.0  # wrong, but far outside of the disk
    far = select(fields, pose, CentroidConfig()).confidence[0, 5]
    np.testing.assert_allclose(far, np.cbrt(0.5 * 0.9), rtol=1e-4)
    fields.seg[:] = 0
    assert not select(fields, pose, CentroidConfig()).confidence.any()


@pytest.mark.parametrize(
    ("mode", "used", "primary"),
    [
        (CentroidMode.STATIC, [CENTRE], CENTRE),
        (CentroidMode.SINGLE, [9], 9),
        (CentroidMode.NEAREST, [4, 9, CENTRE], 9),
        (CentroidMode.WEIGHTED, [4, 9, CENTRE], 9),
        (CentroidMode.ALL, list(range(K)), 9),
    ],
)
def test_anchor_weights_of_each_mode(mode, used, primary):
    confidence = np.full((1, A), 0.2, np.float32)
    confidence[0, [4, 9, CENTRE]] = 0.5, 0.9, 0.95
    weight, first = anchor_weights(confidence, one_pose(0.4), CentroidConfig(mode=mode))
    assert np.flatnonzero(weight[0]).tolist() == used and first.tolist() == [primary]
    if mode == CentroidMode.ALL:
        np.testing.assert_allclose(weight[0, :K], 0.401)


def test_anchor_weights_of_a_centre_alone():
    pose = one_pose()
    pose.matched[0, :K] = False
    weight, primary = anchor_weights(np.full((1, A), 0.9, np.float32), pose, CentroidConfig())
    assert np.flatnonzero(weight[0]).tolist() == [CENTRE] and primary.tolist() == [CENTRE]


def test_weigh_anchors_by_hand():
    value = np.full((2, K), 0.6)
    sure = np.zeros((2, K), bool)
    sure[0, 3] = True
    got = weigh_anchors(value, sure, np.array([0.5, 0.5]))
    assert np.flatnonzero(got[0]).tolist() == [3, CENTRE]
    assert got[0, [3, CENTRE]].tolist() == [0.6, 8.0]
    assert got[1].tolist() == [0.6] * K + [0.7]


@pytest.mark.parametrize("corner", [(1.0, 1.0), (126.0, 126.0), (126.0, 1.0), (1.0, 126.0)])
def test_select_anchors_at_the_corners_of_the_image(corner):
    points = np.tile(np.array(corner, np.float32), (A, 1))
    points[1] = 64.0
    fields = field_of(points)
    got = select(fields, poses_of([points], 0.5), CentroidConfig())
    np.testing.assert_allclose(got.confidence[0, :K], np.cbrt(0.5 * 0.9), rtol=1e-3)


# --- pixels


def test_foreground_has_a_margin_of_a_cell():
    fields = blank()
    fields.seg[16:20, 16:20] = 0.12  # cell (4, 4); a quarter of 0.45 is 0.1125
    at = np.zeros((8, 8), bool)
    at.flat[foreground(fields, AssignConfig())] = True
    expected = np.zeros((8, 8), bool)
    expected[3:6, 3:6] = True
    np.testing.assert_array_equal(at, expected)
    fields.seg[:] *= 0.9
    assert not len(foreground(fields, AssignConfig()))


def test_reach_boxes_by_hand():
    one = one_person()  # at (32, 32), σ = 10, s = 40
    np.testing.assert_allclose(reach_boxes(one), [[32 - 110, 32 - 110, 32 + 110, 32 + 110]])


@pytest.mark.parametrize(
    ("phis", "seg", "label"),
    [
        ((0.39, 0.0), 1.0, 0),
        ((0.41, 0.0), 1.0, 7),
        ((0.6, 0.7), 1.0, 9),
        ((0.7, 0.6), 1.0, 7),
        ((0.7, 0.7), 1.0, 7),  # the first
        ((0.7, 0.6), 0.45, 0),
        ((0.7, 0.6), 0.46, 7),
    ],
)
def test_paint_best_person_above_both_thresholds(phis, seg, label):
    fields = blank()
    fields.seg[:] = seg
    cells = np.arange(64)
    values = np.repeat(np.array(phis, np.float32)[:, None], 64, axis=1)
    got = paint(fields, values, cells, np.array([7, 9]), AssignConfig())
    assert np.unique(got.labels).tolist() == [label]
    mean = [p * seg if label == i else 0 for p, i in zip(phis, (7, 9), strict=True)]
    np.testing.assert_allclose(got.phi, mean, atol=1e-4)


def test_paint_smooths_only_above_an_igo_sigma_of_0_12():
    fields = blank()
    fields.seg[:] = 1
    values = np.zeros((1, 64), np.float32)
    values[0, 27] = 1
    areas = [
        (paint(fields, values, np.arange(64), np.array([1]), AssignConfig(igo_sigma=s)).labels > 0)
        .sum() for s in (0.1, 0.12, 3.0)
    ]  # fmt: skip
    assert areas[0] == areas[1] != areas[2]


# --- people


@pytest.mark.parametrize(("side", "kept"), [(5, False), (6, True)])  # min_mask: 32 pixels²
def test_build_people_erases_masks_below_min_mask(side, kept):
    labels = np.zeros((64, 64), np.uint16)
    labels[10 : 10 + side, 20 : 20 + side] = 5
    pose = one_pose(0.5)
    people = build_people(
        pose, one_person(), InstanceMap(labels, np.array([5]), np.array([0.6], np.float32)),
        Letterbox.fit((64, 64), 64, 64), ScoreConfig(),
    )  # fmt: skip
    assert people.labels.any() == kept and (people.mask_score > 0).tolist() == [kept]
    mask_box = [[20, 10, 20 + side, 10 + side]]
    assert (people.boxes.tolist() == mask_box) == kept
    assert people.phase.tolist() == [Phase.UNTRACKED] and people.ids.tolist() == [5]


def test_build_people_scale_of_the_letterbox_counts_for_the_mask():
    labels = np.zeros((32, 32), np.uint16)
    labels[:4, :4] = 5  # 16 pixels of the frame, 64 of the input
    people = build_people(
        one_pose(0.5), one_person(), InstanceMap(labels, np.array([5]), np.ones(1, np.float32)),
        Letterbox.fit((32, 32), 64, 64), ScoreConfig(),
    )  # fmt: skip
    assert people.labels.any()
    logit = -5.23 + 5.11 + 0.52 * math.log(8) + 0.31 * math.log(0.52)
    np.testing.assert_allclose(people.mask_score, 1 / (1 + math.exp(-logit)), rtol=1e-5)
    logit = -2.63 + 2.74 + 0.57 * math.log(40) + 1.06 * math.log(0.52)
    np.testing.assert_allclose(people.score, 1 / (1 + math.exp(-logit)), rtol=1e-5)


@pytest.mark.parametrize(
    ("vis", "matched", "visible"), [(0.5, True, True), (0.49, True, False), (0.9, False, False)]
)
def test_build_people_visible_keypoints(vis, matched, visible):
    pose = one_pose(0.5)
    pose.vis[:], pose.matched[:] = vis, matched
    people = build_people(
        pose, one_person(), InstanceMap(np.zeros((64, 64), np.uint16), np.array([1]), np.zeros(1)),
        Letterbox.fit((64, 64), 64, 64), ScoreConfig(), np.array([Phase.OCCLUDED], np.uint8),
    )  # fmt: skip
    assert people.visible.tolist() == [[visible] * K]
    assert people.phase.tolist() == [Phase.OCCLUDED] and people.mask_score.tolist() == [0]
    points = pose.xy[0, :K].clip(0, 63)
    np.testing.assert_allclose(people.boxes, [[*points.min(axis=0), *points.max(axis=0)]])
    np.testing.assert_allclose(people.centroid_xy, pose.xy[:, CENTRE])
    np.testing.assert_allclose(people.keypoints[0, :, 2], 0.5)


def test_centroids_without_people():
    none = Centroids(
        np.zeros((0, A, 2)), np.zeros((0, A)), np.zeros((0, A)), np.zeros(0), np.zeros(0),
        np.zeros(0, int),
    )  # fmt: skip
    assert len(none) == 0 and reach_boxes(none).shape == (0, 4)


def test_build_people_box_of_keypoints_is_clipped_to_the_image():
    pose = one_pose(0.5)
    pose.xy[0, 3], pose.xy[0, 4] = (-5.0, 20.0), (70.0, 90.0)
    none = InstanceMap(np.zeros((48, 64), np.uint16), np.array([1]), np.zeros(1, np.float32))
    letterbox = Letterbox.fit((64, 48), 64, 16)
    people = build_people(pose, one_person(), none, letterbox, ScoreConfig())
    assert people.boxes.tolist() == [[0, 1, 63, 47]]


def test_build_people_without_pixels_has_no_mask_score_at_any_min_mask():
    none = InstanceMap(np.zeros((64, 64), np.uint16), np.array([1]), np.zeros(1, np.float32))
    letterbox = Letterbox.fit((64, 64), 64, 64)
    people = build_people(one_pose(), one_person(), none, letterbox, ScoreConfig(min_mask=0.0))
    assert people.mask_score.tolist() == [0]


@pytest.mark.parametrize(
    ("at", "value"), [((100, 100), 3), ((-100, -100), 0), ((100, -100), 1), ((5.5, 100), 2.25)]
)
def test_sample_is_clamped_to_the_cells(at, value):
    field = np.array([[0.0, 1.0], [2.0, 3.0]], np.float32)
    np.testing.assert_allclose(sample(field, np.array([at], float), 8), [value])
    both = np.stack([field, 10 * field])
    got = sample(both, np.array([at, at], float), 8, np.array([1, 0]))
    np.testing.assert_allclose(got, [10 * value, value])

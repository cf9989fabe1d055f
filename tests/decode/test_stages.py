"""Numbers that a reader can check by hand, stage by stage."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kdc_core.config import (
    AssignConfig,
    CentroidConfig,
    DecodeConfig,
    HoughConfig,
    ModelInfo,
    ScoreConfig,
)
from kdc_core.decode import decode
from kdc_core.decode.assign import assign, mean_shift, membership
from kdc_core.decode.centroid import SEEN_CENTRE, anchor_weights
from kdc_core.decode.hough import ONE, find_peaks, smooth_votes, vote
from kdc_core.decode.sample import FrameGrid, sample
from kdc_core.decode.score import expected
from kdc_core.letterbox import Letterbox
from kdc_core.skeleton import CENTRE, DIRECTED, A, K
from kdc_core.types import Centroids, Fields, Poses


def blank(size=(64, 64), radius=16.0) -> Fields:
    """Empty fields of a frame that has the size of its input."""
    h, w = size[1] // 8, size[0] // 8
    zeros = lambda *shape: np.zeros(shape, np.float32)  # noqa: E731
    return Fields(
        heat=zeros(A, h, w), short=zeros(A, 2, h, w), mid=zeros(len(DIRECTED), 2, h, w),
        anchor=zeros(A, 2, h, w), log_sigma=zeros(h, w), vis=zeros(K, h, w),
        seg=zeros(4 * h, 4 * w), stride=8, seg_stride=2, radius=radius,
        letterbox=Letterbox.fit(size, max(size), 64),
    )  # fmt: skip


def test_vote_of_one_cell_is_its_share_of_the_disk():
    fields = blank()
    fields.heat[3, 4, 5] = 1.0  # cell centre (43.5, 35.5)
    fields.short[3, :, 4, 5] = (2 / 16, -2 / 16)  # → (45.5, 33.5) = vote cell (11, 8)
    votes = vote(fields, HoughConfig())
    share = round(ONE * 64 / (math.pi * 16**2))
    assert votes[3, 8, 11] == share
    assert votes.sum() == share


def test_vote_outside_the_image_is_dropped():
    fields = blank()
    fields.heat[0, 0, 0] = 1.0
    fields.short[0, :, 0, 0] = (-3, -3)
    assert vote(fields, HoughConfig()).sum() == 0


def test_smooth_votes_keeps_the_centre_and_half_of_the_neighbours():
    votes = np.zeros((A, 5, 5), np.int32)
    votes[0, 2, 2] = 400
    heights = smooth_votes(votes)
    assert heights[0, 2, 2] == 400
    assert heights[0, 2, 1] == 200
    assert heights[0, 1, 1] == 100


def test_find_peaks_of_a_full_disk():
    fields = blank((128, 128))
    cells = np.stack(np.meshgrid(np.arange(16), np.arange(16)), -1) * 8 + 3.5
    target = np.array([61.0, 70.3])
    away = target - cells
    disk = np.linalg.norm(away, axis=-1) <= 16
    fields.heat[7] = disk
    fields.short[7] = np.moveaxis(away / 16, -1, 0)
    votes = vote(fields, HoughConfig())
    peaks = find_peaks(fields, votes, smooth_votes(votes), HoughConfig())
    assert np.count_nonzero(peaks.score[7]) == 1
    np.testing.assert_allclose(peaks.xy[7, 0], target, atol=0.05)
    assert peaks.score[7, 0] > 0.7
    assert np.count_nonzero(np.delete(peaks.score, 7, axis=0)) == 0


def test_sample_between_cells():
    field = np.array([[0.0, 1.0], [2.0, 3.0]], np.float32)
    points = np.array([(3.5, 3.5), (7.5, 3.5), (7.5, 7.5), (-100, 100)])
    np.testing.assert_allclose(sample(field, points, 8), [0, 0.5, 1.5, 2])


@given(st.integers(17, 90), st.integers(17, 90), st.integers(0, 2**31))
@settings(max_examples=20, deadline=None)
def test_frame_grid_spread_equals_point_sampling(width, height, seed):
    letterbox = Letterbox.fit((width, height), 96, 64)
    rng = np.random.default_rng(seed)
    grid = tuple(side // 8 for side in reversed(letterbox.input_size))
    field = rng.random(grid, dtype=np.float32)
    spread = FrameGrid(letterbox, 8).spread(field, slice(0, height), slice(0, width))
    pixels = np.stack(np.meshgrid(np.arange(width), np.arange(height)), -1).reshape(-1, 2)
    expected = sample(field, letterbox.to_input(pixels), 8).reshape(height, width)
    np.testing.assert_allclose(spread, expected, atol=1e-5)


def test_membership_is_a_half_at_1_1774_sigma():
    fields = blank()
    fields.seg[:] = 1
    # every cell points at a centre that is 1.1774 σ right of the person's
    cells = np.stack(np.meshgrid(np.arange(8), np.arange(8)), -1) * 8 + 3.5
    target = np.array([32.0 + 1.17741 * 10, 32.0])
    fields.anchor[CENTRE] = np.moveaxis(target - cells, -1, 0) / 16
    phi = membership(fields, one_person(), np.arange(64), AssignConfig(), "weighted")
    np.testing.assert_allclose(phi, 0.5, atol=1e-4)


def test_mean_shift_moves_the_centre_to_its_members():
    fields = blank()
    fields.seg[:] = 1
    cells = np.stack(np.meshgrid(np.arange(8), np.arange(8)), -1) * 8 + 3.5
    fields.anchor[CENTRE] = np.moveaxis(np.array([36.0, 30.0]) - cells, -1, 0) / 16
    everywhere = np.arange(64)
    phi = membership(fields, one_person(), everywhere, AssignConfig(), "weighted")
    moved = mean_shift(fields, one_person(), everywhere, phi)
    np.testing.assert_allclose(moved.xy[0, CENTRE], [36, 30], atol=1e-4)


def test_assign_pixels_to_the_nearer_centroid_on_the_foreground():
    fields = blank((128, 64))
    fields.seg[:, 8:] = 1  # input pixels x ≥ 16
    cells = np.stack(np.meshgrid(np.arange(16), np.arange(8)), -1) * 8 + 3.5
    target = np.where(cells[..., :1] < 64, (32.0, 32.0), (96.0, 32.0))
    fields.anchor[CENTRE] = np.moveaxis(target - cells, -1, 0) / 16
    both = one_person(2)
    both.xy[1, :, 0] = 96
    instances = assign(fields, both, np.array([7, 300]), AssignConfig(), "weighted")
    assert set(np.unique(instances.labels)) == {0, 7, 300}
    assert not instances.labels[:, :14].any()
    assert (instances.labels[:, 18:60] == 7).all()
    assert (instances.labels[:, 68:] == 300).all()


def test_anchor_weights_fall_back_without_confident_keypoints():
    poses = one_pose(anchor_score=0.2)
    confidence = np.full((1, A), 0.2, np.float32)
    weight, primary = anchor_weights(confidence, poses, CentroidConfig())
    np.testing.assert_allclose(weight[0, :K], 0.2)
    assert weight[0, CENTRE] == pytest.approx(0.7)
    assert primary[0] == 0


def test_anchor_weights_keep_confident_keypoints_and_the_centre():
    confidence = np.full((1, A), 0.2, np.float32)
    confidence[0, [4, 9]] = 0.6, 0.9
    weight, primary = anchor_weights(confidence, one_pose(), CentroidConfig())
    assert np.flatnonzero(weight[0]).tolist() == [4, 9, CENTRE]
    assert weight[0, CENTRE] == pytest.approx(SEEN_CENTRE * 0.2)
    assert primary[0] == 9  # a keypoint is reported
    weight, _ = anchor_weights(confidence, one_pose(), CentroidConfig(mode="single"))
    assert np.flatnonzero(weight[0]).tolist() == [9]


@given(seed=st.integers(0, 2**31), confident=st.floats(0, 1))
@settings(max_examples=15, deadline=None)
def test_decode_of_random_fields_does_not_fail(seed, confident):
    rng = np.random.default_rng(seed)
    fields = blank((160, 96))
    noisy = {
        name: rng.normal(0, 2, getattr(fields, name).shape).astype(np.float32)
        for name in ("short", "mid", "anchor", "log_sigma")
    }
    sure = {
        name: (rng.random(getattr(fields, name).shape) ** (1 / (confident + 1e-3))).astype(
            np.float32
        )
        for name in ("heat", "vis", "seg")
    }
    people = decode(replace(fields, **noisy, **sure), DecodeConfig())
    assert np.isfinite(people.keypoints).all()
    assert np.isfinite(people.mask_score).all()
    assert set(np.unique(people.labels)) <= {0, *people.ids.tolist()}
    assert (people.score >= 0).all() and (people.score <= 1).all()


@pytest.mark.parametrize("kind", ["oks", "iou"])
def test_expected_score_rises_with_every_kind_of_evidence(kind):
    weights = getattr(ScoreConfig(), kind)
    clear, vague = ((0.9, 200.0, 0.5), (0.2, 20.0, 0.0))  # phi, size, votes; 0: a CENTRE alone
    sure, unsure = (float(expected(*map(np.array, case), weights)) for case in (clear, vague))
    assert sure > 0.8 and 0 <= unsure < 0.1
    for part in range(3):
        less = list(map(np.array, clear))
        less[part] = np.array(vague[part])
        assert unsure < expected(*less, weights) < sure


def one_person(count: int = 1) -> Centroids:
    """People at (32, 32) with the CENTRE as only anchor, σ = 10 px, s = 40 px."""
    weight = np.zeros((count, A), np.float32)
    weight[:, CENTRE] = 1
    full = lambda value: np.full(count, value, np.float32)  # noqa: E731
    return Centroids(
        xy=np.full((count, A, 2), 32, np.float32), weight=weight, confidence=weight,
        sigma=full(10), scale=full(40), primary=np.full(count, CENTRE),
    )  # fmt: skip


def one_pose(anchor_score: float = 1.0) -> Poses:
    """A pose whose 18 anchors were all found with the same disk score."""
    return Poses(
        xy=np.arange(A * 2, dtype=np.float32).reshape(1, A, 2),
        anchor_score=np.full((1, A), anchor_score, np.float32), vis=np.ones((1, A), np.float32),
        matched=np.ones((1, A), bool), score=np.full(1, anchor_score, np.float32),
    )  # fmt: skip


def test_model_info_metadata_round_trip():
    info = ModelInfo(radius=24.0, stride=8, seg_stride=4)
    assert ModelInfo.from_metadata(info.to_metadata()) == info
    with pytest.raises(ValueError, match="not a KDC model"):
        ModelInfo.from_metadata({"kdc_preset": "lite"})


def test_fields_refuse_wrong_shapes():
    with pytest.raises(ValueError, match=r"Fields.heat: expected shape \(18, 8, 8\), got \(17"):
        replace(blank(), heat=np.zeros((17, 8, 8), np.float32))

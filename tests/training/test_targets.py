"""Test the targets of two hand-made people against numbers worked out on paper."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch")

from kdc_core.config import DecodeConfig, ModelInfo  # noqa: E402
from kdc_core.decode import decode  # noqa: E402
from kdc_core.letterbox import Letterbox  # noqa: E402
from kdc_core.skeleton import CENTRE, DIRECTED  # noqa: E402
from kdc_lab.training.batch import OVERLAP, POSE_UNKNOWN, SEG_UNKNOWN, Batch  # noqa: E402
from kdc_lab.training.targets import coverage, make_targets, oracle_fields  # noqa: E402
from tests.batches import two_masks  # noqa: E402

INFO = ModelInfo()  # stride 8, seg_stride 2, R = 16
NOSE, LEFT_SHOULDER, RIGHT_SHOULDER, LEFT_HIP = 0, 5, 6, 11


def two_people() -> Batch:
    """Some keypoints lie outside of their own person's mask, as annotators place them."""
    return two_masks(
        (0, LEFT_SHOULDER, 24, 20, 2), (0, RIGHT_SHOULDER, 56, 40, 2), (0, LEFT_HIP, 24, 60, 1),
        (1, NOSE, 88, 100, 2), (1, RIGHT_SHOULDER, 72, 40, 1),
    )  # fmt: skip


def apart() -> Batch:
    """The same two people with a trunk of four keypoints each, inside their own masks."""
    places = ((5, 40, 24), (6, 24, 24), (11, 38, 56), (12, 26, 56))
    return two_masks(
        *((0, *place, 2) for place in places), *((1, k, x + 56, y + 8, 2) for k, x, y in places)
    )


def with_ignore(batch: Batch, bits: int) -> Batch:
    return dataclasses.replace(batch, ignore=torch.full_like(batch.ignore, bits))


def test_short_at_a_known_cell() -> None:
    # cell (row 2, column 2) lies at (19.5, 19.5): (24 - 19.5, 20 - 19.5) / 16
    targets = make_targets(two_people(), INFO)
    assert targets.heat[0, LEFT_SHOULDER, 2, 2] == 1
    assert targets.short[0, LEFT_SHOULDER, :, 2, 2].tolist() == [0.28125, 0.03125]


def test_heat_disk_has_the_cells_within_the_radius() -> None:
    # |(3.5 + 8 i, 3.5 + 8 j) - (24, 60)| <= 16 holds for 13 cells
    targets = make_targets(two_people(), INFO)
    cells = 3.5 + 8 * np.arange(16)
    expected = (cells[None] - 24) ** 2 + (cells[:, None] - 60) ** 2 <= 256
    assert targets.heat[0, LEFT_HIP].numpy().astype(bool).tolist() == expected.tolist()
    assert expected.sum() == 13


def test_heat_overlapping_disks_belong_to_the_nearest_keypoint() -> None:
    # right shoulders at x = 56 and 72: columns 7 (59.5) and 8 (67.5) lie on either side of 64
    targets = make_targets(two_people(), INFO)
    assert targets.short[0, RIGHT_SHOULDER, :, 4, 7].tolist() == [-0.21875, 0.28125]
    assert targets.short[0, RIGHT_SHOULDER, :, 4, 8].tolist() == [0.28125, 0.28125]
    assert targets.vis[0, RIGHT_SHOULDER, 4, 7] == 1  # person 0: v == 2
    assert targets.vis[0, RIGHT_SHOULDER, 4, 8] == 0  # person 1: v == 1
    assert targets.vis_weight[0, RIGHT_SHOULDER, 4, 7:9].tolist() == [1, 1]


def test_mid_points_to_the_same_person_or_is_ignored() -> None:
    targets = make_targets(two_people(), INFO)
    to_hip = DIRECTED.index((LEFT_SHOULDER, LEFT_HIP))
    assert targets.mid_weight[0, to_hip, 2, 2] == 1
    assert targets.mid[0, to_hip, :, 2, 2].tolist() == [0.28125, 2.53125]  # (4.5, 40.5) / 16
    # person 1 has a nose but no left shoulder; person 0's must not be used
    to_shoulder = DIRECTED.index((NOSE, LEFT_SHOULDER))
    assert targets.heat[0, NOSE].sum() > 0
    assert targets.mid_weight[0, to_shoulder].sum() == 0
    from_centre = DIRECTED.index((CENTRE, RIGHT_SHOULDER))
    # cell (6, 10) = (83.5, 51.5) is in the disk of person 1's centre: (72 - 83.5, 40 - 51.5) / 16
    assert targets.mid[0, from_centre, :, 6, 10].tolist() == [-0.71875, -0.71875]


def test_centre_is_the_mean_of_the_pixels() -> None:
    targets = make_targets(two_people(), INFO)
    assert targets.points[0, :, CENTRE].tolist() == [[31.5, 47.5], [87.5, 55.5]]
    rng = np.random.default_rng(3)
    owner = torch.from_numpy(rng.integers(0, 4, (2, 64, 96)).astype(np.uint8))
    owner[:, :8, :8] = OVERLAP
    cover, centre, pixels = coverage(owner, 3, 8)
    for b in range(2):
        for j in range(3):
            y, x = np.nonzero(owner[b].numpy() == j + 1)
            assert pixels[b, j] == len(x)
            np.testing.assert_allclose(centre[b, j].numpy(), [x.mean(), y.mean()], rtol=1e-5)
    assert cover[:, 3, 0, 0].tolist() == [1, 1] and cover[:, 3].sum() == 2
    assert cover[0, 1, 3, 4] == (owner[0, 24:32, 32:40] == 2).float().mean()


def test_centre_is_missing_for_tiny_masks() -> None:
    batch = two_people()
    owner = batch.owner.clone()
    owner[owner == 2] = 0
    owner[0, 30:33, 80:85] = 2  # 15 pixels
    targets = make_targets(dataclasses.replace(batch, owner=owner), INFO)
    assert targets.known[0, :, CENTRE].tolist() == [1, 0]
    assert targets.points[0, 1, CENTRE].tolist() == [0, 0]


def test_anchor_unannotated_keypoints_have_no_weight() -> None:
    targets = make_targets(two_people(), INFO)
    mine = targets.owner[0] == 0
    known = targets.anchor_known[0, :, mine]  # (18, cells)
    annotated = [LEFT_SHOULDER, RIGHT_SHOULDER, LEFT_HIP, CENTRE]
    assert known[annotated].min() == 1
    others = [k for k in range(18) if k not in annotated]
    assert known[others].max() == 0
    # cell (5, 3) lies at (27.5, 43.5): (24 - 27.5, 60 - 43.5) / 16
    assert targets.anchor[0, LEFT_HIP, :, 5, 3].tolist() == [-0.21875, 1.03125]


def test_owner_reaches_one_cell_beyond_the_border() -> None:
    # person 0 fills columns 2-5 and rows 2-9 of the grid
    targets = make_targets(two_people(), INFO)
    own = targets.owner[0]
    assert own[2:10, 2:6].unique().tolist() == [0]
    assert own[1, 1:7].tolist() == [0] * 6 and own[0, 1:7].tolist() == [-1] * 6
    assert own[5, 1] == 0 and own[5, 0] == -1
    assert targets.owner_weight[0, 5, 0:3].tolist() == [0, 1, 1]


def test_owner_weight_is_zero_where_masks_overlap() -> None:
    batch = two_people()
    owner = batch.owner.clone()
    owner[0, 32:48, 32:48] = OVERLAP
    targets = make_targets(dataclasses.replace(batch, owner=owner), INFO)
    assert targets.owner_weight[0, 4:6, 4:6].tolist() == [[0, 0], [0, 0]]
    assert targets.owner_weight[0, 4:6, 3].tolist() == [1, 1]
    assert targets.seg[0, 0, 16:24, 16:24].min() == 1
    assert targets.seg_weight[0, 0, 16:24, 16:24].min() == 1


def test_heat_labelled_keypoints_count_in_unknown_poses() -> None:
    targets = make_targets(with_ignore(two_people(), POSE_UNKNOWN), INFO)
    disk = targets.heat > 0
    assert targets.heat_weight[disk].min() == 1
    assert targets.heat_weight[0, :CENTRE][~disk[0, :CENTRE]].max() == 0
    assert targets.heat_weight[0, CENTRE].min() == 1  # masks are known: CENTRE is, everywhere
    assert targets.short_weight.sum() == disk.sum()
    assert targets.seg_weight.min() == 1


def test_unknown_masks_hide_seg_and_centre_only() -> None:
    batch = two_people()
    ignore = batch.ignore.clone()
    ignore[0, 96:, 96:] = SEG_UNKNOWN
    targets = make_targets(dataclasses.replace(batch, ignore=ignore), INFO)
    assert targets.seg_weight[0, 0, 48:, 48:].max() == 0
    assert targets.seg_weight.sum() == 64 * 64 - 16 * 16
    assert targets.heat_weight[0, CENTRE, 12:, 12:].max() == 0
    assert targets.heat_weight[0, NOSE].min() == 1


def test_unknown_mask_keeps_the_pose_but_not_the_centre() -> None:
    batch = dataclasses.replace(two_people(), mask_weight=torch.tensor([[1.0, 0.0]]))
    targets = make_targets(batch, INFO)
    assert targets.heat[0, NOSE].sum() > 0
    assert targets.heat[0, CENTRE, :, 8:].sum() == 0
    assert targets.owner_weight[targets.owner == 1].max() == 0


def test_seg_weight_follows_pseudo_mask_confidence() -> None:
    batch = dataclasses.replace(two_people(), mask_weight=torch.tensor([[1.0, 0.5]]))
    targets = make_targets(batch, INFO)
    assert targets.seg_weight[0, 0, 20, 40] == 0.5 and targets.seg_weight[0, 0, 20, 10] == 1
    assert targets.short_weight[0, CENTRE, 6, 10] == 0.5
    assert targets.owner_weight[0, 6, 10] == 0.5


def test_seg_is_the_share_of_the_cell() -> None:
    batch = two_people()
    owner = batch.owner.clone()
    owner[0, 16, 16] = 0
    targets = make_targets(dataclasses.replace(batch, owner=owner), INFO)
    assert targets.seg[0, 0, 8, 8:10].tolist() == [0.75, 1]
    assert targets.seg.sum() == (2 * 32 * 64 - 1) / 4


def test_targets_without_people() -> None:
    batch = two_people()
    empty = Batch(
        image=batch.image, owner=torch.zeros_like(batch.owner), ignore=batch.ignore,
        keypoints=torch.zeros(1, 0, 17, 3), area=torch.zeros(1, 0), mask_weight=torch.zeros(1, 0),
    )  # fmt: skip
    targets = make_targets(empty, INFO)
    assert targets.heat.sum() == targets.short_weight.sum() == targets.owner_weight.sum() == 0
    assert targets.heat_weight.min() == 1
    for field in dataclasses.fields(targets):
        assert torch.isfinite(getattr(targets, field.name)).all(), field.name


def test_targets_ignore_rows_of_absent_people() -> None:
    batch = two_people()
    padded = dataclasses.replace(
        batch,
        keypoints=torch.cat([batch.keypoints, torch.zeros(1, 3, 17, 3)], 1),
        area=torch.cat([batch.area, torch.zeros(1, 3)], 1),
        mask_weight=torch.cat([batch.mask_weight, torch.zeros(1, 3)], 1),
    )
    one, other = make_targets(batch, INFO), make_targets(padded, INFO)
    for name in ("heat", "short", "mid", "anchor", "owner", "owner_weight", "seg", "seg_weight"):
        assert torch.equal(getattr(one, name), getattr(other, name)), name


def test_make_targets_refuses_other_image_sizes() -> None:
    batch = two_people()
    cut = dataclasses.replace(
        batch, image=batch.image[..., :100], owner=batch.owner[..., :100],
        ignore=batch.ignore[..., :100],
    )  # fmt: skip
    with pytest.raises(ValueError, match="multiples of 8 pixels, got 100x128"):
        make_targets(cut, INFO)


def test_oracle_fields_decode_to_their_people() -> None:
    people = decode(
        oracle_fields(apart(), INFO, Letterbox.fit((128, 128), 128, 64)), DecodeConfig()
    )
    assert len(people) == 2
    truth = apart()
    for row in range(2):
        mask = truth.owner[0].numpy() == row + 1
        found = max(range(2), key=lambda j: (people.mask(j) & mask).sum())
        got = people.mask(found)
        assert (got & mask).sum() / (got | mask).sum() >= 0.98
        labelled = truth.keypoints[0, row, :, 2].numpy() > 0
        gap = people.keypoints[found, labelled, :2] - truth.keypoints[0, row, labelled, :2].numpy()
        assert np.abs(gap).max() < 0.1  # pixels


def test_oracle_fields_equal_the_targets() -> None:
    letterbox = Letterbox.fit((128, 128), 128, 64)
    fields = oracle_fields(two_people(), INFO, letterbox)
    assert fields.stride == 8 and fields.seg.shape == (64, 64)
    assert fields.heat[LEFT_SHOULDER, 2, 2] == pytest.approx(0.99)
    assert fields.heat[LEFT_SHOULDER, 12, 12] == pytest.approx(0.01)
    # every owned cell points exactly at its own centre: (x, y) + R * anchor
    at = 3.5 + 8 * np.array([2, 5]) + 16 * fields.anchor[CENTRE, :, 5, 2]
    assert at.tolist() == [31.5, 47.5]
    assert fields.log_sigma[5, 2] == pytest.approx(np.log(0.212 * 2048**0.5 / 16), abs=1e-6)
    # an unannotated anchor does not point at its own cell
    unknown = two_people().keypoints[0, 0, :, 2] == 0
    assert unknown.any()
    towards = fields.anchor[:17][unknown, :, 5, 2]
    assert (towards == fields.anchor[CENTRE, :, 5, 2]).all()
    with pytest.raises(ValueError, match="batch of one image"):
        batch = two_people()
        pair = {f.name: getattr(batch, f.name).repeat_interleave(2, 0)
                for f in dataclasses.fields(batch)}  # fmt: skip
        oracle_fields(Batch(**pair), INFO, letterbox)


def test_pseudo_keypoints_have_weight_but_no_visibility() -> None:
    batch = two_masks((0, LEFT_SHOULDER, 24, 20, 2), (1, NOSE, 88, 100, 0.25))
    plain = make_targets(two_masks((0, LEFT_SHOULDER, 24, 20, 2), (1, NOSE, 88, 100, 2)), INFO)
    targets = make_targets(batch, INFO)
    disk = targets.heat[0, NOSE] > 0
    assert disk.any() and torch.equal(targets.heat, plain.heat)
    assert targets.heat_weight[0, NOSE][disk].unique().tolist() == [0.25]
    assert targets.short_weight[0, NOSE][disk].unique().tolist() == [0.25]
    assert targets.anchor_known[0, NOSE][targets.owner[0] == 1].unique().tolist() == [0.25]
    assert targets.vis_weight[0, NOSE].max() == 0 < plain.vis_weight[0, NOSE].max()
    assert not targets.visible[0, 1].any()
    assert targets.heat_weight[0, LEFT_SHOULDER].min() == 1  # of a person's keypoint


def test_anchor_human_keypoints_weigh_one_on_a_pseudo_mask() -> None:
    batch = dataclasses.replace(two_people(), mask_weight=torch.tensor([[1.0, 0.5]]))
    targets = make_targets(batch, INFO)
    assert targets.anchor_known[0, CENTRE][targets.owner[0] == 1].unique().tolist() == [1.0]

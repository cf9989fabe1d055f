from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch")

from kdc_core.letterbox import Letterbox  # noqa: E402
from kdc_core.skeleton import FLIP  # noqa: E402
from kdc_lab.training.augment import (  # noqa: E402
    PLAIN,
    AugmentConfig,
    Colour,
    Paste,
    Patches,
    Plan,
    draw_plan,
    move_points,
)
from kdc_lab.training.augment_torch import apply_plan  # noqa: E402
from kdc_lab.training.batch import POSE_UNKNOWN, SEG_UNKNOWN  # noqa: E402
from kdc_lab.training.data import Labels, Sources  # noqa: E402

SIDE = 320
#: strongest geometry, unchanged colours
GEOMETRY = replace(
    AugmentConfig(),
    crop=256,
    longest=320,
    strong_tilt_share=0.5,
    paste=0.0,
    occlude=0.0,
    brightness=0.0,
    contrast=0.0,
    saturation=0.0,
    hue=0.0,
    channel=0.0,
    grey=0.0,
    blur=0.0,
    noise=0.0,
)


def scene(count: int = 6, people: int = 2) -> tuple[Labels, Sources]:
    """Return grey images in which each keypoint is a dot with a colour of person and keypoint."""
    rng = np.random.default_rng(count)
    image = np.full((count, 3, SIDE, SIDE), 114, np.uint8)
    maps = np.zeros((count, 2, SIDE, SIDE), np.uint8)
    keypoints = np.zeros((count, people, 17, 3), np.float32)
    boxes = np.zeros((count, people, 4), np.float32)
    yy, xx = np.mgrid[:SIDE, :SIDE]
    for b in range(count):
        for p in range(people):
            x0, y0 = 20 + 145 * p, 30
            boxes[b, p] = x0, y0, x0 + 130, y0 + 220
            maps[b, 0, y0 : y0 + 220, x0 : x0 + 130] = p + 1
            for k in range(17):  # on a lattice, to keep the dots apart
                x = x0 + 22 + 42 * (k % 3) + rng.uniform(-4, 4)
                y = y0 + 20 + 36 * (k // 3) + rng.uniform(-4, 4)
                keypoints[b, p, k] = x, y, 2
                dot = np.hypot(xx - x, yy - y) < 6
                image[b, :, dot] = (120 + 60 * p, 10 + 14 * k, 0)
    labels = Labels(
        np.full((count, 2), (SIDE, SIDE - 40)),
        keypoints,
        np.full((count, people), 130 * 220.0, np.float32),
        boxes,
        np.ones((count, people), np.float32),
    )
    return labels, Sources(torch.from_numpy(image), torch.from_numpy(maps))


def still(labels: Labels, crop: int = SIDE) -> Plan:
    """Return the plan that changes nothing."""
    count = len(labels.size)
    same = np.tile(np.eye(2, 3), (count, 1, 1))
    none, maps = np.zeros(0, int), np.zeros((0, 2, 3))
    colour = Colour(
        np.tile(np.eye(3), (count, 1, 1)),
        np.zeros((count, 3)),
        np.zeros(count, int),
        np.zeros(count),
    )
    return Plan(
        same,
        labels.keypoints.copy(),
        labels.area,
        labels.mask_weight,
        colour,
        Paste(none, none, none, none, maps),
        Patches(none, none, maps, maps, np.zeros(0, bool), np.zeros((0, 3))),
        replace(PLAIN, crop=crop),
    )


def test_apply_plan_empty_plan_changes_nothing():
    labels, sources = scene(2)
    batch = apply_plan(still(labels), sources)
    assert (batch.image.int() - sources.image.int()).abs().max() <= 1
    assert torch.equal(batch.owner, sources.maps[:, 0]) and not batch.ignore.any()
    assert np.array_equal(batch.keypoints.numpy(), labels.keypoints)


def test_make_batch_keypoints_follow_the_pixels():
    labels, sources = scene()
    errors, rng = [], np.random.default_rng(0)
    flips = 0
    for _ in range(4):
        plan = draw_plan(labels, rng, GEOMETRY)
        batch = apply_plan(plan, sources)
        flipped = np.linalg.det(plan.affine[:, :, :2]) < 0
        flips += int(flipped.sum())
        image, owner = batch.image.numpy().astype(int), batch.owner.numpy()
        for b, p, k in zip(*np.nonzero(batch.keypoints[..., 2].numpy()), strict=True):
            x, y = batch.keypoints[b, p, k, :2].numpy()
            if min(x, y) < 12 or max(x, y) > 243:
                continue  # the edge of the crop cuts this dot and shifts its mean
            source = FLIP[k] if flipped[b] else k
            close = (
                np.abs(image[b, 1] - (10 + 14 * source))
                + image[b, 2]
                + np.abs(image[b, 0] - (120 + 60 * p))
                < 8
            )
            ys, xs = np.nonzero(close)
            errors.append(np.hypot(xs.mean() - x, ys.mean() - y))
            assert owner[b, round(float(y)), round(float(x))] == p + 1
    assert flips > 3 and len(errors) > 200
    assert np.max(errors) < 0.6 and np.mean(errors) < 0.2  # pixels


def test_draw_plan_scales_area_like_the_mask():
    labels, sources = scene(4, people=1)
    plan = draw_plan(labels, np.random.default_rng(1), replace(GEOMETRY, crop=768, longest=320))
    batch = apply_plan(plan, sources)
    pixels = (batch.owner == 1).sum(dim=(1, 2)).numpy()
    assert np.allclose(pixels / batch.area[:, 0].numpy(), 1, atol=0.01)


def test_draw_plan_clears_keypoints_outside_the_crop():
    labels, sources = scene()
    batch = apply_plan(
        draw_plan(labels, np.random.default_rng(2), replace(GEOMETRY, crop=128)), sources
    )
    points = batch.keypoints.numpy()
    known = points[..., 2] > 0
    assert 10 < known.sum() < known.size
    assert (points[known][:, :2] >= -0.5).all() and (points[known][:, :2] < 127.5).all()
    assert not points[~known].any()


def test_apply_plan_clears_rows_of_people_outside_the_crop():
    labels, sources = scene(2)
    plan = still(labels, crop=160)  # the second person starts at x = 165
    keypoints = plan.keypoints
    keypoints[(keypoints[..., :2] >= 159.5).any(axis=-1)] = 0
    batch = apply_plan(plan, sources)
    assert (batch.area[:, 0] > 0).all() and (batch.area[:, 1] == 0).all()
    assert not batch.keypoints[:, 1].any() and not batch.mask_weight[:, 1].any()
    assert set(batch.owner.unique().tolist()) == {0, 1}


def test_draw_plan_scales_people_as_at_inference():
    labels, _ = scene(2)
    config = replace(PLAIN, crop=640, longest=640)
    plan = draw_plan(labels, np.random.default_rng(0), config)
    letterbox = Letterbox.fit((SIDE, SIDE - 40), 640, 64)
    expected = letterbox.to_input(labels.keypoints[0, 0, :, :2])
    assert np.allclose(plan.keypoints[0, 0, :, :2], expected, atol=1e-3)


def test_paste_takes_pixels_and_hides_keypoints():
    labels, sources = scene(2)
    plan = still(labels)
    pad = [(0, 0), (0, 1)]
    keypoints = np.pad(plan.keypoints, [*pad, (0, 0), (0, 0)])
    shift = np.array([[[1.0, 0, 60], [0, 1, 0]]])  # person 0 of image 1, over both of image 0
    keypoints[0, 2] = labels.keypoints[1, 0]
    keypoints[0, 2, :, :2] = move_points(labels.keypoints[1:, 0, :, :2], shift)[0]
    plan = replace(
        plan,
        keypoints=keypoints,
        area=np.pad(plan.area, pad, constant_values=130 * 220.0),
        mask_weight=np.pad(plan.mask_weight, pad, constant_values=1.0),
        paste=Paste(np.array([0]), np.array([1]), np.array([0]), np.array([2]), shift),
    )
    plan.area[1, 2] = 0
    batch = apply_plan(plan, sources)
    owner = batch.owner[0].numpy()
    assert (owner[30:250, 80:210] == 3).all() and (owner == 3).sum() == 130 * 220
    assert (owner == 1).sum() == 60 * 220 and (owner[30:250, 210:295] == 2).all()
    v, x = batch.keypoints[0, :, :, 2].numpy(), batch.keypoints[0, :, :, 0].numpy()
    assert (v[2] == 2).all()
    for p in (0, 1):
        assert (v[p] == np.where((x[p] > 79.5) & (x[p] < 209.5), 1, 2)).all()
    assert (v[0] == 1).sum() >= 10
    assert torch.equal(batch.owner[1], sources.maps[1, 0])
    dot = batch.keypoints[0, 2, 5, :2].round().int()
    assert batch.image[0, :, dot[1], dot[0]].tolist() == pytest.approx([120, 80, 0], abs=2)


def test_paste_marks_a_person_without_pose():
    labels, sources = scene(2)
    labels.keypoints[1, 0] = 0
    plan = still(labels)
    plan = replace(
        plan,
        paste=Paste(np.array([0]), np.array([1]), np.array([0]), np.array([1]), np.eye(2, 3)[None]),
    )
    plan.keypoints[0, 1] = 0
    batch = apply_plan(plan, sources)
    taken = batch.owner[0] == 2
    assert (batch.ignore[0][taken][: 220 * 130] & POSE_UNKNOWN).any()
    assert (batch.ignore[0, 30:250, 20:150] == POSE_UNKNOWN).all()


@pytest.mark.parametrize("round_patch", [False, True])
def test_patch_hides_keypoints_and_mask(round_patch):
    labels, sources = scene(2)
    centre, half = np.array([85.0, 200.0]), np.array([100.0, 60.0])
    shape = np.concatenate([np.diag(1 / half), (-centre / half)[:, None]], axis=1)
    plan = replace(
        still(labels),
        patches=Patches(
            np.array([0]),
            np.array([1]),
            np.eye(2, 3)[None] * 2,
            shape[None],
            np.array([round_patch]),
            np.array([[1.0, 2.0, 3.0]]),
        ),
    )
    batch = apply_plan(plan, sources)
    yy, xx = np.mgrid[:SIDE, :SIDE]
    u, w = (xx + 0.5 - centre[0]) / half[0], (yy + 0.5 - centre[1]) / half[1]
    patch = (np.hypot(u, w) if round_patch else np.maximum(abs(u), abs(w))) <= 1
    before = sources.maps[0, 0].numpy()
    assert (batch.owner[0].numpy() == np.where(patch, 0, before)).all()
    v = batch.keypoints[0, 0, :, 2].numpy()
    x, y = labels.keypoints[0, 0, :, :2].round().astype(int).T
    assert (v == np.where(patch[y, x], 1, 2)).all() and 3 < (v == 1).sum() < 14
    # the texture shows no dot of its people: their pixels have the plain colour
    colours = batch.image[0].permute(1, 2, 0)[torch.from_numpy(patch)].unique(dim=0).tolist()
    assert colours == [[1, 2, 3], [114, 114, 114]]


def test_apply_plan_ignores_an_almost_invisible_person():
    labels, sources = scene(1, people=1)
    maps = sources.maps.clone()
    maps[0, 0] = 0
    maps[0, 0, 50, 60:65] = 1  # 5 pixels, fewer than 8
    hidden = labels.keypoints.copy()
    hidden[..., 2] = 1
    for keypoints, kept in ((labels.keypoints, True), (hidden, False)):
        plan = replace(still(labels), keypoints=keypoints.copy())
        batch = apply_plan(plan, Sources(sources.image, maps.clone()))
        assert bool(batch.area[0, 0] > 0) == kept == bool(batch.keypoints.any())
        assert (batch.owner[0, 50, 60:65] == (1 if kept else 0)).all()
        both = SEG_UNKNOWN | POSE_UNKNOWN
        assert (batch.ignore[0, 50, 60:65] == (0 if kept else both)).all()


def test_draw_plan_frequency_and_size_of_pastes_and_patches():
    labels, sources = scene(40)
    rng, pastes, covers, shares = np.random.default_rng(3), 0, 0, []
    config = replace(GEOMETRY, paste=0.3, occlude=0.2, zoom=(0.6, 0.9))
    for _ in range(5):
        plan = draw_plan(labels, rng, config)
        pastes += len(plan.paste.sample)
        covers += len(plan.patches.sample)
        assert (plan.paste.sample != plan.paste.donor).all()
        alone = replace(config, paste=0.0)
        state = rng.bit_generator.state
        twin = np.random.default_rng()
        twin.bit_generator.state = state
        only = draw_plan(labels, rng, replace(alone, occlude=1.0))
        before = apply_plan(draw_plan(labels, twin, replace(alone, occlude=0.0)), sources)
        after = apply_plan(only, sources)
        counts = [(b.owner == 1).sum((1, 2)) + (b.owner == 2).sum((1, 2)) for b in (before, after)]
        loss = (counts[0] - counts[1]).float() / 2 / (before.area[:, 0] * 0.5)
        shares.append(loss[counts[0] > 0.9 * before.area.sum(1)])
    assert 0.2 < pastes / 200 < 0.36 and 0.12 < covers / 200 < 0.28
    assert 0.25 < torch.cat(shares).mean() < 0.65


def test_draw_plan_halves_the_zoom_for_large_people():
    labels, _ = scene(60, people=1)  # sqrt(area) 169
    labels.area[30:] = 40.0**2
    config = replace(GEOMETRY, longest=SIDE, zoom=(0.9, 1.1), half_zoom_above=100.0)
    zoom = np.sqrt(
        np.abs(np.linalg.det(draw_plan(labels, np.random.default_rng(0), config).affine[:, :, :2]))
    )
    assert (zoom[:30] < 0.56).all() and (zoom[30:] > 0.89).all()
    labels.area[:] = 0  # no people: both sizes
    nobody = draw_plan(labels, np.random.default_rng(0), config).affine[:, :, :2]
    halves = (np.sqrt(np.abs(np.linalg.det(nobody))) < 0.6).mean()
    assert 0.1 < halves < 0.5


def test_make_batch_is_determined_by_the_generator():
    labels, sources = scene(4)
    config = replace(AugmentConfig(), crop=128, longest=160, noise=1.0, blur=0.5, paste=1.0)
    one, same, other = (
        apply_plan(draw_plan(labels, np.random.default_rng(s), config), sources, s)
        for s in (5, 5, 6)
    )
    for name in ("image", "owner", "ignore", "keypoints", "area", "mask_weight"):
        assert torch.equal(getattr(one, name), getattr(same, name)), name
    assert not torch.equal(one.image, other.image)


def test_colour_grey_and_range():
    labels, sources = scene(4)
    config = replace(
        AugmentConfig(), crop=128, grey=1.0, channel=0.0, paste=0.0, occlude=0.0, noise=0.0
    )
    image = apply_plan(draw_plan(labels, np.random.default_rng(0), config), sources).image.int()
    assert (image.amax(dim=1) - image.amin(dim=1)).max() <= 1
    assert image.float().std() > 5

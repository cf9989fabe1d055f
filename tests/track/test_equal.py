"""Code for all people at once equals the plain rules for one after another."""

from types import SimpleNamespace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from kdc_core.decode import NEAR
from kdc_core.letterbox import cell_centres
from kdc_core.skeleton import CENTRE, A
from kdc_core.track import PixelConfig
from kdc_core.track.observation import Cells
from kdc_core.track.pixel_prior import REACH, SIDE, PixelPrior
from kdc_core.track.requery import track_phi
from tools.gpu_check.crowd_fields import crowd, noise_fields

PEOPLE = st.integers(1, 7)
SEEDS = st.integers(0, 2**31)
SIZE = (203, 117), 160  # of the frame, longest side of the input: 160 x 96, 20 x 12 cells


def grid(fields) -> np.ndarray:
    return cell_centres(*fields.log_sigma.shape, fields.stride)


@given(PEOPLE, SEEDS)
@settings(max_examples=12, deadline=None)
def test_pixel_prior_equals_plain_rules(people, seed):
    rng = np.random.default_rng(seed)
    fields, _ = crowd(people, rng, *SIZE)
    ids = np.sort(rng.permutation(65535)[: people + 1] + 1)
    labels = np.repeat(rng.choice([0, *ids[:-1]], (117, 20)), 11, axis=1)[:, :203].astype(np.uint16)
    place = rng.uniform(-50, 250, (people, 2))
    scale = rng.uniform(4, 60, people).astype(np.float32)
    prior, known, new = PixelPrior(), ids[:-1], ids[1:]  # the first leaves, the last comes
    prior.update(labels, known, place, scale, fields, 0.5)
    moved = place + rng.uniform(-40, 40, place.shape)

    shares = prior.occupancy(new, moved, scale, fields)
    last, again = last_labels(labels, fields), prior.label_factors(new, moved, fields)
    for row, name in enumerate(new.tolist()):
        if row == people - 1:
            assert np.isnan(shares[row]).all() and (again[row] == 1).all()
            continue
        own = (labels_around(labels, fields, place[row + 1], scale[row + 1]) == name) * np.float32(
            1
        )
        point = ((grid(fields) - moved[row]) / scale[row] + REACH) * (SIDE / (2 * REACH))
        x, y = np.moveaxis(np.floor(point).astype(int), -1, 0)
        inside = (x >= 0) & (x < SIDE) & (y >= 0) & (y < SIDE)
        expected = np.where(inside, own[y.clip(0, SIDE - 1), x.clip(0, SIDE - 1)], 0)
        np.testing.assert_array_equal(shares[row], expected)
        step = np.rint((moved[row] - place[row + 1]) / fields.stride).astype(int)
        factor = np.ones(last.shape, np.float32)
        for y, x in np.argwhere(last == name) + step[::-1]:
            if 0 <= y < last.shape[0] and 0 <= x < last.shape[1]:
                factor[y, x] += np.float32(0.2)
        np.testing.assert_array_equal(again[row], factor)


def last_labels(labels, fields) -> np.ndarray:
    """Labels at the cells of the grid, 0 outside the frame."""
    at = np.rint(fields.letterbox.to_frame(grid(fields))).astype(int)
    return read(labels, at[..., 0], at[..., 1])


def labels_around(labels, fields, place, scale) -> np.ndarray:
    """Labels at the points of the silhouette of a body."""
    axis = ((np.arange(SIDE) + 0.5) / SIDE * 2 - 1) * REACH
    points = np.stack(np.meshgrid(*(place[:, None] + scale * axis)), axis=-1).astype(np.float32)
    at = np.rint(fields.letterbox.to_frame(points)).astype(int)
    return read(labels, at[..., 0], at[..., 1])


def read(labels, x, y) -> np.ndarray:
    inside = (x >= 0) & (x < labels.shape[1]) & (y >= 0) & (y < labels.shape[0])
    return np.where(
        inside, labels[y.clip(0, labels.shape[0] - 1), x.clip(0, labels.shape[1] - 1)], 0
    )


@given(PEOPLE, SEEDS, st.booleans(), st.floats(0, 1))
@settings(max_examples=12, deadline=None)
def test_track_phi_equals_plain_rules(people, seed, noise, seen):
    rng = np.random.default_rng(seed)
    fields, poses = (noise_fields if noise else crowd)(people, rng, *SIZE)
    at = np.flatnonzero(rng.random(fields.log_sigma.size) < 0.6)
    cells = Cells(at, grid(fields).reshape(-1, 2)[at].T, at, fields.log_sigma.shape, fields.stride)
    xy = np.concatenate([poses.xy, poses.xy[:, :1]], axis=1).astype(float)
    weight = rng.random((people, A)) * (rng.random((people, A)) < seen)
    scale, spread = rng.uniform(10, 40, people), rng.uniform(0.1, 0.45, people)
    tracks = SimpleNamespace(
        body=SimpleNamespace(scale=scale), motion=SimpleNamespace(xy=xy),
        visibility=SimpleNamespace(weight=weight), relative_sigma=spread,
    )  # fmt: skip
    asked = np.flatnonzero(rng.random(len(at)) < 0.7)
    config = PixelConfig()
    found = track_phi(fields, cells, tracks, asked, config)
    for row in range(people):
        used = np.argsort(-weight[row], kind="stable")[: config.max_anchors]
        used = used[weight[row, used] > 0] if weight[row].any() else np.array([CENTRE])
        omega = weight[row, used] if weight[row].any() else np.ones(1)
        offset = fields.anchor.reshape(A, 2, -1)[used][:, :, at[asked]] * fields.radius
        miss = np.linalg.norm(cells.xy[:, asked] + offset - xy[row, used, :, None], axis=1)
        pull = omega[:, None] / (NEAR * scale[row] + np.linalg.norm(offset, axis=1)) ** 2
        distance = (pull * miss).sum(axis=0) / pull.sum(axis=0)
        low, high = xy[row, :A].min(axis=0), xy[row, :A].max(axis=0)
        spare, x = config.search_margin * scale[row], cells.xy[:, asked].T
        near = ((x >= low - spare) & (x <= high + spare)).all(axis=1)
        phi = near * np.exp(-(distance**2) / (2 * (spread[row] * scale[row]) ** 2))
        np.testing.assert_allclose(found[row], phi, rtol=1e-9, atol=1e-300)

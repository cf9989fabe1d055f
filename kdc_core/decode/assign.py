"""Pixels to people: Gaussian assignment to the centroids, eq. 3, and the eq. 4 step."""

from __future__ import annotations

import cv2
import numpy as np

from kdc_core.config import AssignConfig
from kdc_core.decode.hough import ONE
from kdc_core.decode.sample import FrameGrid, pool
from kdc_core.letterbox import cell_centres
from kdc_core.types import Centroids, Fields, InstanceMap

_REACH = 3.0  # sigmas at which phi is 0.01: beyond, a cell has no say
#: sums over pixels are of integers, so that their order does not matter: parts of a pixel
FINE = 1024
#: interpolation may round up by a few parts in 1e7: a bar for cells that misses no pixel
SLACK = np.float32(0.999)


def assign(
    fields: Fields, centroids: Centroids, ids: np.ndarray, config: AssignConfig, mode: str,
    favour: np.ndarray | None = None,
) -> InstanceMap:  # fmt: skip
    """Label image at the frame's resolution.

    φ is computed at the cells of the offset grid and interpolated to the pixels: between two
    people the interpolated *fields* would point at neither, the interpolated φ cross half-way.

    Args:
        fields: what the network said.
        centroids: P people with their anchors.
        ids: (P,) label of each person, 1…65535.
        config: thresholds.
        mode: "nearest" lets only the closest used anchor of each cell speak.
        favour: (P, h, w) factors on φ of each cell, of what is known besides the fields.
    """
    cells = foreground(fields, config)
    phi = membership(fields, centroids, cells, config, mode)
    for _ in range(config.mean_shift_steps):
        centroids = mean_shift(fields, centroids, cells, phi)
        phi = membership(fields, centroids, cells, config, mode)
    if favour is not None:
        phi *= favour[:, cells // favour.shape[2], cells % favour.shape[2]]
    return _paint(fields, phi, cells, ids, config)


def foreground(fields: Fields, config: AssignConfig) -> np.ndarray:
    """Flat indices of the cells that a person's pixel may be interpolated from."""
    share = pool(fields.seg, fields.stride // fields.seg_stride)
    some = cv2.dilate(share, np.ones((3, 3), np.uint8)) > 0.25 * config.min_seg
    return np.flatnonzero(some)


def membership(
    fields: Fields, centroids: Centroids, cells: np.ndarray, config: AssignConfig, mode: str
) -> np.ndarray:
    """φ_j of eq. 3 at the given cells, (P, N) float32.

    The distance is the mean over the used anchors of ‖x + u_k − C_k‖, weighted by ω_k and by the
    inverse square of ‖u_k‖: near keypoints are predicted better than far ones.
    """
    x, u = _embedding(fields, cells)
    place = x + u  # (18, 2, N)
    length = np.sqrt(u[:, 0] ** 2 + u[:, 1] ** 2)  # (18, N)
    sigma, scale = centroids.sigma.astype(np.float32), centroids.scale.astype(np.float32)
    weight, xy = centroids.weight.astype(np.float32), centroids.xy.astype(np.float32)
    phi = np.zeros((len(centroids), len(cells)), np.float32)
    for j, (low_x, low_y, high_x, high_y) in enumerate(reach_boxes(centroids)):
        near = np.flatnonzero(
            (x[0] >= low_x) & (x[0] <= high_x) & (x[1] >= low_y) & (x[1] <= high_y)
        )
        used = np.flatnonzero(weight[j] > 0)
        miss = place[used].take(near, axis=2) - xy[j, used, :, None]
        distance = np.sqrt(miss[:, 0] ** 2 + miss[:, 1] ** 2)
        away = length[used].take(near, axis=1)
        if mode == "nearest":
            distance = np.take_along_axis(distance, away.argmin(axis=0)[None], axis=0)[0]
        else:
            soft = np.float32(config.near) * scale[j] + away
            pull = weight[j, used, None] / (soft * soft)
            distance = _sum_rows(pull * distance) / _sum_rows(pull)
        phi[j, near] = decay(distance * distance / (np.float32(2) * sigma[j] * sigma[j]))
    return phi


def reach_boxes(centroids: Centroids) -> np.ndarray:
    """x0, y0, x1, y1 (P, 4) around each person's anchors: beyond, a cell has no say."""
    xy = centroids.xy.astype(np.float32)
    margin = np.float32(2) * centroids.scale.astype(np.float32)
    margin = (margin + np.float32(_REACH) * centroids.sigma.astype(np.float32))[:, None]
    return np.concatenate([xy.min(axis=1) - margin, xy.max(axis=1) + margin], axis=1)


def decay(t: np.ndarray) -> np.ndarray:
    """exp(−t) of t ≥ 0 in float32, within 2e-7 of its value.

    Spelled out because the math libraries of CPU and GPU round differently: with the same few
    multiplications and additions on both sides, φ and so the labels are equal bit for bit.
    """
    t = np.minimum(t.astype(np.float32), np.float32(80))
    halvings = np.rint(t * np.float32(1.44269504))
    s = halvings * np.float32(0.693359375) - t  # ln 2 in two parts, the first exact in 12 bits
    s = s + halvings * np.float32(-2.12194440e-4)
    power = np.float32(1 / 720)
    for coefficient in (1 / 120, 1 / 24, 1 / 6, 1 / 2, 1.0, 1.0):
        power = power * s + np.float32(coefficient)
    return power * ((127 - halvings.astype(np.int32)) << 23).view(np.float32)


def _embedding(fields: Fields, cells: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positions (2, N) of the cells and their offsets to the anchors (18, 2, N), input pixels."""
    height, width = fields.log_sigma.shape
    x = cell_centres(height, width, fields.stride).reshape(-1, 2)[cells].T
    flat = fields.anchor.reshape(*fields.anchor.shape[:2], -1)
    return x, flat.take(cells, axis=2) * np.float32(fields.radius)


def _sum_rows(terms: np.ndarray) -> np.ndarray:
    """Sum over the first axis, first row first: ``sum`` would pick an order by memory layout."""
    total = terms[0].copy()
    for row in terms[1:]:
        total += row
    return total


def mean_shift(
    fields: Fields, centroids: Centroids, cells: np.ndarray, phi: np.ndarray
) -> Centroids:
    """Eq. 4: each used anchor moves to the mean embedding of the person's members."""
    x, u = _embedding(fields, cells)
    member = (phi > 0.5) & (phi == phi.max(axis=0, initial=0))
    place = np.rint((x + u) * np.float32(FINE)).astype(np.int64)
    xy = centroids.xy.astype(np.float32)
    for j in np.flatnonzero(member.any(axis=1)):
        total = place[:, :, member[j]].sum(axis=2)
        xy[j] = total / (member[j].sum() * np.float64(FINE))
    kept = {name: getattr(centroids, name) for name in ("weight", "confidence", "sigma", "scale")}
    return Centroids(xy=xy, primary=centroids.primary, **kept)


def _paint(
    fields: Fields, phi: np.ndarray, cells: np.ndarray, ids: np.ndarray, config: AssignConfig
) -> InstanceMap:
    """Interpolate φ and P_seg to the frame; each pixel goes to its best person above both bars."""
    width, height = fields.letterbox.frame_size
    grid = FrameGrid(fields.letterbox, fields.stride)
    fine = FrameGrid(fields.letterbox, fields.seg_stride)
    best = np.full((height, width), config.min_phi, np.float32)
    labels = np.zeros((height, width), np.uint16)
    plane = np.zeros(fields.log_sigma.shape, np.float32)
    windows = []
    for j, label in enumerate(ids):
        plane[:] = 0
        plane.flat[cells] = phi[j]
        rows, columns = window = grid.window(_box(plane, SLACK * np.float32(config.min_phi)))
        windows.append(window)
        here = grid.spread(plane, rows, columns)
        if config.igo_sigma > 0.12 and here.size:  # below, the filter's only tap is the centre
            here = cv2.GaussianBlur(here, (0, 0), config.igo_sigma)
        wins = here > best[window]
        best[window][wins] = here[wins]
        labels[window][wins] = label
    return _cut(fields.seg, fine, labels, best, ids, windows, config.min_seg)


def _cut(
    seg: np.ndarray, fine: FrameGrid, labels: np.ndarray, best: np.ndarray, ids: np.ndarray,
    windows: list[tuple[slice, slice]], min_seg: float,
) -> InstanceMap:  # fmt: skip
    """Keep labels where P_seg is above its bar; mean of P_seg · φ over each person's pixels."""
    mean = np.zeros(len(ids), np.float32)
    if not windows:
        return InstanceMap(labels, ids, mean)
    rows = slice(min(r.start for r, _ in windows), max(r.stop for r, _ in windows))
    columns = slice(min(c.start for _, c in windows), max(c.stop for _, c in windows))
    person = fine.spread(seg, rows, columns)
    part = labels[rows, columns]
    part[person <= min_seg] = 0
    person *= best[rows, columns]
    for j, (label, (r, c)) in enumerate(zip(ids, windows, strict=True)):
        mine = labels[r, c] == label
        if mine.any():
            inner = slice(r.start - rows.start, r.stop - rows.start)
            across = slice(c.start - columns.start, c.stop - columns.start)
            parts = np.rint(person[inner, across][mine] * np.float32(ONE))
            mean[j] = parts.sum(dtype=np.float64) / (ONE * len(parts))
    return InstanceMap(labels, ids, mean)


def _box(plane: np.ndarray, above: float) -> tuple[int, int, int, int]:
    """x0, y0, x1, y1 (exclusive) of the cells above a value."""
    rows = np.flatnonzero((plane > above).any(axis=1))
    columns = np.flatnonzero((plane > above).any(axis=0))
    if not len(rows):
        return 0, 0, -1, -1
    return columns[0], rows[0], columns[-1] + 1, rows[-1] + 1

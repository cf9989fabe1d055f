"""Pixels to people: Gaussian assignment to the centroids, eq. 3, and the eq. 4 step."""

from __future__ import annotations

import cv2
import numpy as np

from kdc_core.config import AssignConfig
from kdc_core.decode.sample import FrameGrid, pool
from kdc_core.letterbox import cell_centres
from kdc_core.types import Centroids, Fields, InstanceMap

_REACH = 3.0  # sigmas at which phi is 0.01: beyond, a cell has no say


def assign(
    fields: Fields, centroids: Centroids, ids: np.ndarray, config: AssignConfig, mode: str
) -> InstanceMap:
    """Label image at the frame's resolution.

    φ is computed at the cells of the offset grid and interpolated to the pixels: between two
    people the interpolated *fields* would point at neither, the interpolated φ cross half-way.

    Args:
        fields: what the network said.
        centroids: P people with their anchors.
        ids: (P,) label of each person, 1…65535.
        config: thresholds.
        mode: "nearest" lets only the closest used anchor of each cell speak.
    """
    cells = _foreground(fields, config)
    phi = membership(fields, centroids, cells, config, mode)
    for _ in range(config.mean_shift_steps):
        centroids = mean_shift(fields, centroids, cells, phi)
        phi = membership(fields, centroids, cells, config, mode)
    return _paint(fields, phi, cells, ids, config)


def _foreground(fields: Fields, config: AssignConfig) -> np.ndarray:
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
    height, width = fields.log_sigma.shape
    x = cell_centres(height, width, fields.stride).reshape(-1, 2)[cells].T  # (2, N)
    u = fields.anchor.reshape(*fields.anchor.shape[:2], -1)[:, :, cells] * fields.radius
    length = np.sqrt(u[:, 0] ** 2 + u[:, 1] ** 2)  # (18, N)
    phi = np.zeros((len(centroids), len(cells)), np.float32)
    for j in range(len(centroids)):
        used = np.flatnonzero(centroids.weight[j] > 0)
        near = _near(x, centroids.xy[j], 2 * centroids.scale[j] + _REACH * centroids.sigma[j])
        miss = x[:, near] + u[used][:, :, near] - centroids.xy[j, used, :, None]
        distance = np.sqrt(miss[:, 0] ** 2 + miss[:, 1] ** 2)
        if mode == "nearest":
            distance = np.take_along_axis(
                distance, length[used][:, near].argmin(axis=0)[None], axis=0
            )[0]
        else:
            soft = config.near * centroids.scale[j] + length[used][:, near]
            pull = centroids.weight[j, used, None] / soft**2
            distance = (pull * distance).sum(axis=0) / pull.sum(axis=0)
        phi[j, near] = np.exp(-(distance**2) / (2 * centroids.sigma[j] ** 2))
    return phi


def _near(x: np.ndarray, anchors: np.ndarray, margin: float) -> np.ndarray:
    """Indices of the cells within ``margin`` of the box of a person's anchors."""
    low, high = anchors.min(axis=0) - margin, anchors.max(axis=0) + margin
    return np.flatnonzero((x[0] >= low[0]) & (x[0] <= high[0]) & (x[1] >= low[1]) & (x[1] <= high[1]))


def mean_shift(
    fields: Fields, centroids: Centroids, cells: np.ndarray, phi: np.ndarray
) -> Centroids:
    """Eq. 4: each used anchor moves to the mean embedding of the person's members."""
    height, width = fields.log_sigma.shape
    x = cell_centres(height, width, fields.stride).reshape(-1, 2)[cells].T
    u = fields.anchor.reshape(*fields.anchor.shape[:2], -1)[:, :, cells] * fields.radius
    member = (phi > 0.5) & (phi == phi.max(axis=0, initial=0))
    xy = centroids.xy.copy()
    for j in np.flatnonzero(member.any(axis=1)):
        xy[j] = (x + u)[:, :, member[j]].mean(axis=2)
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
        rows, columns = window = grid.window(_box(plane, config.min_phi))
        windows.append(window)
        here = grid.spread(plane, rows, columns)
        if config.igo_sigma > 0.12:  # below, the filter's only tap is the centre
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
            mean[j] = person[inner, across][mine].mean()
    return InstanceMap(labels, ids, mean)


def _box(plane: np.ndarray, above: float) -> tuple[int, int, int, int]:
    """x0, y0, x1, y1 (exclusive) of the cells above a value."""
    rows = np.flatnonzero((plane > above).any(axis=1))
    columns = np.flatnonzero((plane > above).any(axis=0))
    if not len(rows):
        return 0, 0, -1, -1
    return columns[0], rows[0], columns[-1] + 1, rows[-1] + 1

"""Pixels to people: Gaussian assignment to the centroids, eq. 3, and the eq. 4 step."""

from __future__ import annotations

import math
from dataclasses import replace

import cv2
import numpy as np

from kdc_core.config import AssignConfig, CentroidMode
from kdc_core.decode.paint import SHARP, paint
from kdc_core.decode.sample import person_share
from kdc_core.letterbox import cell_centres
from kdc_core.types import Centroids, Fields, InstanceMap

_REACH = 3.0  # sigmas at which phi is 0.01: beyond, a cell has no say
#: sums over pixels are of integers, so that their order does not matter: parts of a pixel
FINE = 1024
MEMBER = 0.5  # φ of a person's cells in the eq. 4 step


def assign(
    fields: Fields, centroids: Centroids, ids: np.ndarray, config: AssignConfig, mode: CentroidMode,
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
        mode: ``NEAREST`` lets only the closest used anchor of each cell speak.
        favour: (P, h, w) factors on φ of each cell, of what is known besides the fields.
    """
    cells = foreground(fields, config)
    least = _least(config, favour)
    phi = membership(fields, centroids, cells, config, mode, least)
    for _ in range(config.mean_shift_steps):
        centroids = mean_shift(fields, centroids, cells, phi)
        phi = membership(fields, centroids, cells, config, mode, least)
    if favour is not None:
        phi *= favour.reshape(len(favour), fields.log_sigma.size)[:, cells]
    return paint(fields, phi, cells, ids, config)


def _least(config: AssignConfig, favour: np.ndarray | None) -> float:
    """φ below which a cell neither gets a pixel nor moves a centroid, with some to spare."""
    if config.igo_sigma > SHARP:
        return 0.0  # far cells come near by smoothing
    most = 1.0 if favour is None else float(favour.max(initial=1.0))
    return 0.9 * min(config.min_phi / most, MEMBER)


def foreground(fields: Fields, config: AssignConfig) -> np.ndarray:
    """Flat indices of the cells that a person's pixel may be interpolated from."""
    some = cv2.dilate(person_share(fields), np.ones((3, 3), np.uint8)) > 0.25 * config.min_seg
    return np.flatnonzero(some)


def membership(
    fields: Fields,
    centroids: Centroids,
    cells: np.ndarray,
    config: AssignConfig,
    mode: CentroidMode,
    least: float = 0.0,
) -> np.ndarray:
    """φ_j of eq. 3 at the given cells, (P, N) float32.

    The distance is the mean over the used anchors of ‖x + u_k − C_k‖, weighted by ω_k and by the
    inverse square of ‖u_k‖: near keypoints are predicted better than far ones. Where φ is below
    ``least``, and at all neighbours of the cell as well, it may be given as 0.
    """
    x, u = _embedding(fields, cells)
    place = x + u  # (18, 2, N)
    length = np.sqrt(u[:, 0] ** 2 + u[:, 1] ** 2)  # (18, N)
    read = np.concatenate([place, length[:, None]], axis=1)
    sigma, scale = centroids.sigma.astype(np.float32), centroids.scale.astype(np.float32)
    weight, xy = centroids.weight.astype(np.float32), centroids.xy.astype(np.float32)
    near = _in_reach(centroids, x)
    if least > 0:
        near &= _points_near(fields, centroids, cells, place, least)
    far = np.zeros(near.shape, np.float32)  # t of exp(−t), where near
    for j in range(len(centroids)):
        used, here = np.flatnonzero(weight[j] > 0), np.flatnonzero(near[j])
        miss_x, miss_y, away = read.take(here, axis=2)[used].transpose(1, 0, 2)
        miss_x -= xy[j, used, :1]
        miss_y -= xy[j, used, 1:]
        distance = np.sqrt(miss_x * miss_x + miss_y * miss_y)
        if mode == CentroidMode.NEAREST:
            distance = np.take_along_axis(distance, away.argmin(axis=0)[None], axis=0)[0]
        else:
            soft = np.float32(config.near) * scale[j] + away
            pull = weight[j, used, None] / (soft * soft)
            distance = _sum_rows(pull * distance) / _sum_rows(pull)
        far[j, here] = distance * distance / (np.float32(2) * sigma[j] * sigma[j])
    phi = np.zeros(near.shape, np.float32)
    phi[near] = decay(far[near])
    return phi


def _in_reach(centroids: Centroids, x: np.ndarray) -> np.ndarray:
    """Which cells at x (2, N) lie in each person's ``reach_boxes``, (P, N)."""
    low_x, low_y, high_x, high_y = reach_boxes(centroids).T[:, :, None]
    return (x[0] >= low_x) & (x[0] <= high_x) & (x[1] >= low_y) & (x[1] <= high_y)


def _points_near(
    fields: Fields, centroids: Centroids, cells: np.ndarray, place: np.ndarray, least: float
) -> np.ndarray:
    """Which cells (P, N), or their neighbours, may have φ of ``least``: a cheap upper bound.

    A mean distance is at least that of the box around all the anchors that a cell points at
    (18, 2, N) to the box around the person's anchors.
    """
    shape = (*fields.log_sigma.shape, 2)
    low, high = np.full(shape, np.inf, np.float32), np.full(shape, -np.inf, np.float32)
    low.reshape(-1, 2)[cells] = place.min(axis=0).T
    high.reshape(-1, 2)[cells] = place.max(axis=0).T
    neighbours = np.ones((3, 3), np.uint8)
    (low_x, low_y), (high_x, high_y) = (
        np.ascontiguousarray(box.reshape(-1, 2)[cells].T)
        for box in (cv2.erode(low, neighbours), cv2.dilate(high, neighbours))
    )
    used = centroids.weight[:, :, None] > 0
    reach = centroids.sigma[:, None] * np.float32(math.sqrt(-2 * math.log(least)))
    left, top = (np.where(used, centroids.xy, np.inf).min(axis=1) - reach).T[:, :, None]
    right, bottom = (np.where(used, centroids.xy, -np.inf).max(axis=1) + reach).T[:, :, None]
    return (high_x >= left) & (low_x <= right) & (high_y >= top) & (low_y <= bottom)


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
    member = (phi > MEMBER) & (phi == phi.max(axis=0, initial=0))
    place = np.rint((x + u) * np.float32(FINE)).astype(np.int64)
    xy = centroids.xy.astype(np.float32)
    for j in np.flatnonzero(member.any(axis=1)):
        total = place[:, :, member[j]].sum(axis=2)
        xy[j] = total / (member[j].sum() * np.float64(FINE))
    return replace(centroids, xy=xy)

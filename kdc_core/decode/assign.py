"""Assign pixels to people: φ of every cell (eq. 3), the mean-shift step (eq. 4), and the labels."""

from __future__ import annotations

import math
from dataclasses import replace

import cv2
import numpy as np

from kdc_core.config import AssignConfig, CentroidMode
from kdc_core.decode.paint import SHARP, paint
from kdc_core.decode.phi import inverse_square_weights, mean_distance, phi
from kdc_core.decode.sample import person_share
from kdc_core.letterbox import cell_centres
from kdc_core.types import Centroids, Fields, InstanceMap

#: a cell that is farther than 2 s_j + 3 σ_j from the box around a person's anchors has φ = 0:
#: at 3 σ, φ is 0.01
REACH_SCALES, REACH_SIGMAS = 2.0, 3.0
#: parts of a pixel: positions are summed as integers, so that the order does not matter
FINE = 1024
MEMBER = 0.5  # φ from which a cell is a member in the mean-shift step


def assign(
    fields: Fields,
    centroids: Centroids,
    ids: np.ndarray,
    config: AssignConfig,
    mode: CentroidMode,
    prior: np.ndarray | None = None,
) -> InstanceMap:
    """Return the label image at the frame's resolution.

    φ is computed at the cells of the offset grid and interpolated to the pixels. Interpolated
    *fields* would point at neither of two people between them; the interpolated φ of the two
    cross half-way.

    Args:
        fields: network output of the frame.
        centroids: P people with their anchors.
        ids: (P,) label of each person, 1 to 65535.
        config: thresholds.
        mode: ``NEAREST`` uses only the closest used anchor of each cell.
        prior: (P, h, w) factors on φ at the cells; None = no prior.
    """
    cells = foreground(fields, config)
    negligible = _negligible_phi(config, prior)
    members = membership(fields, centroids, cells, config, mode, negligible)
    for _ in range(config.mean_shift_steps):
        centroids = mean_shift(fields, centroids, cells, members)
        members = membership(fields, centroids, cells, config, mode, negligible)
    if prior is not None:
        members *= prior.reshape(len(prior), fields.log_sigma.size)[:, cells]
    return paint(fields, members, cells, ids, config)


def _negligible_phi(config: AssignConfig, prior: np.ndarray | None) -> float:
    """Return the φ, with a margin, below which cells neither label pixels nor move anchors."""
    if config.igo_sigma > SHARP:
        return 0.0  # smoothing spreads φ to other pixels
    largest = 1.0 if prior is None else float(prior.max(initial=1.0))
    return 0.9 * min(config.min_phi / largest, MEMBER)


def foreground(fields: Fields, config: AssignConfig) -> np.ndarray:
    """Return the flat indices of the grid cells that contribute to some person's pixel.

    The mask is interpolated between cells, so the neighbours of a person's cells count as well.
    """
    some = cv2.dilate(person_share(fields), np.ones((3, 3), np.uint8)) > 0.25 * config.min_seg
    return np.flatnonzero(some)


def membership(
    fields: Fields,
    centroids: Centroids,
    cells: np.ndarray,
    config: AssignConfig,
    mode: CentroidMode,
    negligible: float = 0.0,
) -> np.ndarray:
    """Return φ_j of eq. 3 at the given cells, (P, N) float32.

    The distance is the mean over the used anchors of ‖x + u_k − C_k‖, weighted by ω_k and by the
    inverse square of ‖u_k‖. The result may be 0 where φ of the cell and of all its neighbours is
    below ``negligible``.
    """
    x, u = _embedding(fields, cells)
    target = x + u  # (18, 2, N)
    offset = np.sqrt(u[:, 0] ** 2 + u[:, 1] ** 2)  # (18, N)
    read = np.concatenate([target, offset[:, None]], axis=1)
    sigma, scale = centroids.sigma.astype(np.float32), centroids.scale.astype(np.float32)
    weight, xy = centroids.weight.astype(np.float32), centroids.xy.astype(np.float32)
    near = _in_reach(centroids, x)
    if negligible > 0:
        near &= _may_belong(fields, centroids, cells, target, negligible)
    result = np.zeros(near.shape, np.float32)
    for j in range(len(centroids)):
        used, here = np.flatnonzero(weight[j] > 0), np.flatnonzero(near[j])
        miss_x, miss_y, length = read.take(here, axis=2)[used].transpose(1, 0, 2)
        miss_x -= xy[j, used, :1]
        miss_y -= xy[j, used, 1:]
        distance = np.sqrt(miss_x * miss_x + miss_y * miss_y)
        if mode == CentroidMode.NEAREST:
            distance = np.take_along_axis(distance, length.argmin(axis=0)[None], axis=0)[0]
        else:
            pull = inverse_square_weights(
                weight[j, used, None], length, scale[j], np.float32(config.near)
            )
            distance = mean_distance(distance, pull)
        result[j, here] = phi(distance, sigma[j])
    return result


def _in_reach(centroids: Centroids, x: np.ndarray) -> np.ndarray:
    """Return which cells at x (2, N) lie in each person's ``reach_boxes``, (P, N) bool."""
    low_x, low_y, high_x, high_y = reach_boxes(centroids).T[:, :, None]
    return (x[0] >= low_x) & (x[0] <= high_x) & (x[1] >= low_y) & (x[1] <= high_y)


def _may_belong(
    fields: Fields, centroids: Centroids, cells: np.ndarray, target: np.ndarray, min_phi: float
) -> np.ndarray:
    """Return where φ of a cell, or of a neighbour, may reach ``min_phi``, (P, N) bool.

    This is a cheap upper bound: the mean distance is at least the distance between the box around
    all anchors at which the cell points (18, 2, N) and the box around the person's anchors.
    """
    shape = (*fields.log_sigma.shape, 2)
    low, high = np.full(shape, np.inf, np.float32), np.full(shape, -np.inf, np.float32)
    low.reshape(-1, 2)[cells] = target.min(axis=0).T
    high.reshape(-1, 2)[cells] = target.max(axis=0).T
    neighbours = np.ones((3, 3), np.uint8)
    (low_x, low_y), (high_x, high_y) = (
        np.ascontiguousarray(box.reshape(-1, 2)[cells].T)
        for box in (cv2.erode(low, neighbours), cv2.dilate(high, neighbours))
    )
    used = centroids.weight[:, :, None] > 0
    reach = centroids.sigma[:, None] * np.float32(math.sqrt(-2 * math.log(min_phi)))
    left, top = (np.where(used, centroids.xy, np.inf).min(axis=1) - reach).T[:, :, None]
    right, bottom = (np.where(used, centroids.xy, -np.inf).max(axis=1) + reach).T[:, :, None]
    return (high_x >= left) & (low_x <= right) & (high_y >= top) & (low_y <= bottom)


def reach_boxes(centroids: Centroids) -> np.ndarray:
    """Return x0, y0, x1, y1 (P, 4) around each person's anchors; cells outside have φ = 0."""
    xy = centroids.xy.astype(np.float32)
    margin = np.float32(REACH_SCALES) * centroids.scale.astype(np.float32)
    margin = (margin + np.float32(REACH_SIGMAS) * centroids.sigma.astype(np.float32))[:, None]
    return np.concatenate([xy.min(axis=1) - margin, xy.max(axis=1) + margin], axis=1)


def _embedding(fields: Fields, cells: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return positions x (2, N) of the cells and offsets u to the anchors (18, 2, N), in pixels."""
    height, width = fields.log_sigma.shape
    x = cell_centres(height, width, fields.stride).reshape(-1, 2)[cells].T
    flat = fields.anchor.reshape(*fields.anchor.shape[:2], -1)
    return x, flat.take(cells, axis=2) * np.float32(fields.radius)


def mean_shift(
    fields: Fields, centroids: Centroids, cells: np.ndarray, members: np.ndarray
) -> Centroids:
    """Return the centroids after eq. 4: anchors move to the mean embedding of their members.

    Args:
        fields: network output of the frame.
        centroids: P people.
        cells: (N,) flat indices of cells.
        members: (P, N) φ at the cells.
    """
    x, u = _embedding(fields, cells)
    member = (members > MEMBER) & (members == members.max(axis=0, initial=0))
    target = np.rint((x + u) * np.float32(FINE)).astype(np.int64)
    xy = centroids.xy.astype(np.float32)
    for j in np.flatnonzero(member.any(axis=1)):
        total = target[:, :, member[j]].sum(axis=2)
        xy[j] = total / (member[j].sum() * np.float64(FINE))
    return replace(centroids, xy=xy)

"""Find people whose pose was missed: read the same fields again at their predicted anchors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kdc_core.decode import inverse_square_weights, mean_distance, phi
from kdc_core.geometry import length
from kdc_core.skeleton import CENTRE
from kdc_core.track.kalman import BODY
from kdc_core.track.observation import Cells
from kdc_core.track.pixel_prior import PixelPrior, shape_factors
from kdc_core.track.track_config import PixelConfig
from kdc_core.track.tracks import Tracks
from kdc_core.types import Fields


@dataclass(frozen=True)
class PixelEvidence:
    """Cells that point at M tracks without a pose."""

    cells: np.ndarray  # (M,) object: flat indices of the cells of each track
    xy: np.ndarray  # (M, 18, 2) mean of the anchors at which the cells point, eq. 4
    share: np.ndarray  # (M,) number of the cells, divided by the expected number


def requery(
    fields: Fields,
    cells: Cells,
    tracks: Tracks,
    rivals: Tracks,
    prior: PixelPrior | None,
    config: PixelConfig,
) -> PixelEvidence:
    """Return the cells that point at the predicted anchors of ``tracks`` and fit no rival better.

    Args:
        fields: network output of the frame.
        cells: foreground cells of the frame.
        tracks: M tracks without a pose.
        rivals: tracks that have a pose.
        prior: tells which part of a person is visible beside the rivals; None = unknown.
        config: thresholds.
    """
    rivals = rivals[_may_share_cells(tracks, rivals, config)]
    everyone, m = tracks.join(rivals), len(tracks)
    own = track_phi(fields, cells, tracks, np.arange(len(cells.at)), config)
    candidates = np.flatnonzero((own > config.min_phi).any(axis=0))
    rival = track_phi(fields, cells, rivals, candidates, config)
    members = np.concatenate([own[:, candidates], rival])
    expected = tracks.area
    if prior is not None:
        bodies = everyone.id, everyone.motion.xy[:, BODY], everyone.body.scale
        occupancy = prior.occupancy(*bodies, fields).reshape(len(everyone), -1)
        members *= shape_factors(occupancy[:, cells.at[candidates]], config.shape_prior)
        usual = occupancy > config.usual
        uncovered = (usual[:m] & ~usual[m:].any(axis=0)).sum(axis=1)
        expected = np.clip(uncovered, config.min_expected * tracks.area, tracks.area)
    taken = members[m:].max(axis=0, initial=0) + config.rival_margin * (len(rivals) > 0)
    best = members[:m].argmax(axis=0) == np.arange(m)[:, None]
    mine = np.zeros((m, len(cells.at)), bool)
    mine[:, candidates] = (members[:m] > config.min_phi) & (members[:m] > taken) & best
    xy = tracks.motion.xy[:, : CENTRE + 1].copy()
    for row in np.flatnonzero(mine.any(axis=1)):
        xy[row] = _mean_anchors(fields, cells, np.flatnonzero(mine[row]), tracks.body.scale[row])
    own_cells = np.empty(m, object)
    for i, where in enumerate(mine):
        own_cells[i] = cells.at[where]
    return PixelEvidence(own_cells, xy, mine.sum(axis=1) / np.maximum(expected, 1))


def _may_share_cells(tracks: Tracks, rivals: Tracks, config: PixelConfig) -> np.ndarray:
    """Return which rivals are close to a track, (R,) bool."""
    away = rivals.motion.xy[:, None, BODY] - tracks.motion.xy[None, :, BODY]
    reach = config.search_margin * (rivals.body.scale[:, None] + tracks.body.scale)
    near: np.ndarray = (length(away) < reach).any(axis=1)
    return near


def track_phi(
    fields: Fields, cells: Cells, tracks: Tracks, rows: np.ndarray, config: PixelConfig
) -> np.ndarray:
    """Return φ of eq. 3 (T, n) with each track's best anchors; 0 far from its body.

    Args:
        fields: network output of the frame.
        cells: foreground cells.
        tracks: T tracks with predicted anchors.
        rows: (n,) rows of ``cells``.
        config: number of anchors, margin of the search.
    """
    scale, anchors = tracks.body.scale[:, None], tracks.motion.xy[:, : CENTRE + 1]
    weight = tracks.visibility.weight
    blind = ~(weight > 0).any(axis=1, keepdims=True)
    weight = np.where(blind, np.arange(CENTRE + 1) == CENTRE, weight)
    used = np.argsort(-weight, axis=1, kind="stable")[:, : config.max_anchors]
    weight = np.take_along_axis(weight, used, axis=1)[:, :, None]
    target = np.take_along_axis(anchors, used[:, :, None], axis=1)
    (x, y), radius = cells.xy[:, rows], fields.radius
    flat = fields.anchor.reshape(CENTRE + 1, 2, -1)
    to_x, to_y = (radius * flat[used[:, :, None], axis, cells.at[rows]] for axis in (0, 1))
    miss_x, miss_y = x + to_x - target[:, :, :1], y + to_y - target[:, :, 1:]
    distance = np.sqrt(miss_x * miss_x + miss_y * miss_y)  # (T, max_anchors, n)
    offset = np.sqrt(to_x * to_x + to_y * to_y)
    distance = mean_distance(distance, inverse_square_weights(weight, offset, scale[:, :, None]))
    result = phi(distance, tracks.relative_sigma[:, None] * scale)
    low_x, low_y = (anchors.min(axis=1) - config.search_margin * scale).T[:, :, None]
    high_x, high_y = (anchors.max(axis=1) + config.search_margin * scale).T[:, :, None]
    return result * ((x >= low_x) & (x <= high_x) & (y >= low_y) & (y <= high_y))


def _mean_anchors(fields: Fields, cells: Cells, rows: np.ndarray, scale: float) -> np.ndarray:
    """Return the mean (18, 2) of the anchors at which cells point (eq. 4); near ones count more."""
    flat = fields.anchor.reshape(CENTRE + 1, 2, -1)
    offset = flat[:, :, cells.at[rows]] * fields.radius
    weight = inverse_square_weights(1.0, length(offset.transpose(0, 2, 1))[:, None], scale)
    points = cells.xy[:, rows] + offset
    mean: np.ndarray = (points * weight).sum(axis=2) / weight.sum(axis=2)
    return mean

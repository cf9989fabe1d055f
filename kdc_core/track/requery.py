"""People whose pose was missed: the same fields are read again at their predicted anchors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kdc_core.skeleton import CENTRE
from kdc_core.track.filter import BODY
from kdc_core.track.observe import Cells
from kdc_core.track.state import Tracks
from kdc_core.types import Fields

ANCHORS_ASKED = 4  # the best of a person's anchors: more cost time and say the same
BETTER = 0.1  # by how much φ must exceed that of a person who has a pose
SPARE = 1.5  # scales around the predicted body in which its pixels may lie
NEAR = 0.08  # of the scale: softens the weight of an anchor close by, as in ``assign``


@dataclass(frozen=True)
class Found:
    """What the fields say of M tracks without a pose."""

    cells: np.ndarray  # (M,) object: flat indices of the cells that point at each track
    xy: np.ndarray  # (M, 18, 2) where those cells say that the anchors are, eq. 4
    share: np.ndarray  # (M,) their number by the usual size of the mask


def requery(
    fields: Fields, cells: Cells, tracks: Tracks, rivals: Tracks, claimed: np.ndarray
) -> Found:
    """Cells that point at the predicted anchors of ``tracks`` and that nobody else explains better.

    Args:
        fields: of this frame.
        cells: of this frame.
        tracks: M tracks without a pose.
        rivals: tracks that have a pose.
        claimed: rows of the poses that have a track, old or new.
    """
    taken = cells.phi[claimed].max(axis=0, initial=0)
    for row in np.flatnonzero(_near(tracks, rivals)):
        # the CENTRE alone says little where people overlap, and this is where it matters
        taken = np.maximum(taken, _phi(fields, cells, rivals, int(row)))
    taken = taken + BETTER * (len(claimed) > 0)
    phi = np.stack([_phi(fields, cells, tracks, row) for row in range(len(tracks))])
    winner = phi.argmax(axis=0)
    mine = (phi > 0.5) & (phi > taken) & (winner == np.arange(len(tracks))[:, None])
    share = mine.sum(axis=1) / np.maximum(tracks.area, 1)
    xy = tracks.motion.xy[:, : CENTRE + 1].copy()
    for row in np.flatnonzero(mine.any(axis=1)):
        xy[row] = _mean_anchors(fields, cells, np.flatnonzero(mine[row]), tracks.body.scale[row])
    own_cells = np.empty(len(mine), object)
    for i, own in enumerate(mine):
        own_cells[i] = cells.at[own]
    return Found(own_cells, xy, share)


def _near(tracks: Tracks, rivals: Tracks) -> np.ndarray:
    """Which of the rivals are so close to a track that they may have cells in common."""
    away = rivals.motion.xy[:, None, BODY] - tracks.motion.xy[None, :, BODY]
    reach = SPARE * (rivals.body.scale[:, None] + tracks.body.scale)
    near: np.ndarray = (np.linalg.norm(away, axis=2) < reach).any(axis=1)
    return near


def _phi(fields: Fields, cells: Cells, tracks: Tracks, row: int) -> np.ndarray:
    """Eq. 3 (N,) with the track's best anchors; 0 far from the body."""
    scale, anchors = tracks.body.scale[row], tracks.motion.xy[row, : CENTRE + 1]
    weight = tracks.visibility.weight[row]
    used = np.argsort(-weight, kind="stable")[:ANCHORS_ASKED]
    used = used[weight[used] > 0]
    if not len(used):
        used, weight = np.array([CENTRE]), np.ones(CENTRE + 1)
    low, high = anchors.min(axis=0) - SPARE * scale, anchors.max(axis=0) + SPARE * scale
    inside = (cells.xy >= low[:, None]) & (cells.xy <= high[:, None])
    near = np.flatnonzero(inside.all(axis=0))
    offset = _offsets(fields, used, cells.at[near])
    miss = np.linalg.norm(cells.xy[:, near] + offset - anchors[used, :, None], axis=1)
    pull = weight[used, None] / (NEAR * scale + np.linalg.norm(offset, axis=1)) ** 2
    distance = (pull * miss).sum(axis=0) / pull.sum(axis=0)
    phi = np.zeros(len(cells.at))
    phi[near] = np.exp(-(distance**2) / (2 * (tracks.spread[row] * scale) ** 2))
    return phi


def _mean_anchors(fields: Fields, cells: Cells, own: np.ndarray, scale: float) -> np.ndarray:
    """Eq. 4: mean embedding (18, 2) of a person's cells, near cells weighing more."""
    offset = _offsets(fields, np.arange(CENTRE + 1), cells.at[own])
    weight = 1 / (NEAR * scale + np.linalg.norm(offset, axis=1, keepdims=True)) ** 2
    points = cells.xy[:, own] + offset
    mean: np.ndarray = (points * weight).sum(axis=2) / weight.sum(axis=2)
    return mean


def _offsets(fields: Fields, anchors: np.ndarray, at: np.ndarray) -> np.ndarray:
    """``anchor`` field (n, 2, N) in input pixels."""
    flat = fields.anchor.reshape(*fields.anchor.shape[:2], -1)
    offset: np.ndarray = flat[anchors[:, None], :, at[None]].transpose(0, 2, 1) * fields.radius
    return offset

"""People whose pose was missed: the same fields are read again at their predicted anchors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kdc_core.skeleton import CENTRE
from kdc_core.track.filter import BODY
from kdc_core.track.memory import KNOWN, PixelMemory
from kdc_core.track.observe import Cells
from kdc_core.track.state import Tracks
from kdc_core.types import Fields

ANCHORS_ASKED = 4  # the best of a person's anchors: more cost time and say the same
POINTS_AT = 0.5  # φ from which a cell points at somebody (eq. 3)
BETTER = 0.2  # by how much φ must exceed that of a person who has a pose
LEAST = 0.3  # share of the usual mask that is expected even where others cover all of it
SPARE = 1.5  # scales around the predicted body in which its pixels may lie
NEAR = 0.08  # of the scale: softens the weight of an anchor close by, as in ``assign``


@dataclass(frozen=True)
class Found:
    """What the fields say of M tracks without a pose."""

    cells: np.ndarray  # (M,) object: flat indices of the cells that point at each track
    xy: np.ndarray  # (M, 18, 2) where those cells say that the anchors are, eq. 4
    share: np.ndarray  # (M,) their number by what should be seen of the usual mask


def requery(
    fields: Fields, cells: Cells, tracks: Tracks, rivals: Tracks, memory: PixelMemory | None,
    outline: float,
) -> Found:  # fmt: skip
    """Cells that point at the predicted anchors of ``tracks`` and that nobody else explains better.

    Args:
        fields: of this frame.
        cells: of this frame.
        tracks: M tracks without a pose.
        rivals: tracks that have a pose.
        memory: knows where else they may be seen at all; None = nobody knows.
        outline: see ``TrackConfig``.
    """
    near = np.flatnonzero(_near(tracks, rivals))
    everyone, m = tracks.join(rivals[near]), len(tracks)
    ours = [_phi(fields, cells, tracks, row) for row in range(m)]
    asked = np.flatnonzero((np.stack(ours) > POINTS_AT).any(axis=0))  # of the rest nobody is asked
    theirs = [_phi(fields, cells, rivals, row, asked) for row in near.tolist()]
    phi = np.stack([*ours, *theirs])[:, asked]
    expected = tracks.area
    if memory is not None:
        who = everyone.id, everyone.motion.xy[:, BODY], everyone.body.scale
        favour = memory.favour(*who, fields, outline).reshape(len(everyone), -1)
        phi *= favour[:, cells.at[asked]]
        usual = np.nan_to_num(memory.shares(*who, fields)) > KNOWN
        uncovered = (usual[:m] & ~usual[m:].any(axis=0)).sum(axis=(1, 2))
        expected = np.clip(uncovered, LEAST * tracks.area, tracks.area)
    taken = phi[m:].max(axis=0, initial=0) + BETTER * (len(near) > 0)
    best = phi[:m].argmax(axis=0) == np.arange(m)[:, None]
    mine = np.zeros((m, len(cells.at)), bool)
    mine[:, asked] = (phi[:m] > POINTS_AT) & (phi[:m] > taken) & best
    share = mine.sum(axis=1) / np.maximum(expected, 1)
    xy = tracks.motion.xy[:, : CENTRE + 1].copy()
    for row in np.flatnonzero(mine.any(axis=1)):
        xy[row] = _mean_anchors(fields, cells, np.flatnonzero(mine[row]), tracks.body.scale[row])
    own_cells = np.empty(m, object)
    for i, own in enumerate(mine):
        own_cells[i] = cells.at[own]
    return Found(own_cells, xy, share)


def _near(tracks: Tracks, rivals: Tracks) -> np.ndarray:
    """Which of the rivals are so close to a track that they may have cells in common."""
    away = rivals.motion.xy[:, None, BODY] - tracks.motion.xy[None, :, BODY]
    reach = SPARE * (rivals.body.scale[:, None] + tracks.body.scale)
    near: np.ndarray = (np.linalg.norm(away, axis=2) < reach).any(axis=1)
    return near


def _phi(
    fields: Fields, cells: Cells, tracks: Tracks, row: int, asked: np.ndarray | None = None
) -> np.ndarray:
    """Eq. 3 (N,) with the track's best anchors; 0 far from the body, and where not ``asked``."""
    scale, anchors = tracks.body.scale[row], tracks.motion.xy[row, : CENTRE + 1]
    weight = tracks.visibility.weight[row]
    used = np.argsort(-weight, kind="stable")[:ANCHORS_ASKED]
    used = used[weight[used] > 0]
    if not len(used):
        used, weight = np.array([CENTRE]), np.ones(CENTRE + 1)
    low, high = anchors.min(axis=0) - SPARE * scale, anchors.max(axis=0) + SPARE * scale
    asked = np.arange(len(cells.at)) if asked is None else asked
    at = cells.xy[:, asked]
    near = asked[((at >= low[:, None]) & (at <= high[:, None])).all(axis=0)]
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

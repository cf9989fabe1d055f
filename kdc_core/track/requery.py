"""People whose pose was missed: the same fields are read again at their predicted anchors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kdc_core.geometry import length
from kdc_core.skeleton import CENTRE
from kdc_core.track.kalman import BODY
from kdc_core.track.observation import Cells
from kdc_core.track.pixel_prior import KNOWN, PixelMemory, favoured
from kdc_core.track.tracks import Tracks
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
    rivals = rivals[_near(tracks, rivals)]
    everyone, m = tracks.join(rivals), len(tracks)
    ours = _phi(fields, cells, tracks, np.arange(len(cells.at)))
    asked = np.flatnonzero((ours > POINTS_AT).any(axis=0))  # of the rest nobody is asked
    phi = np.concatenate([ours[:, asked], _phi(fields, cells, rivals, asked)])
    expected = tracks.area
    if memory is not None:
        who = everyone.id, everyone.motion.xy[:, BODY], everyone.body.scale
        shares = memory.shares(*who, fields).reshape(len(everyone), -1)
        phi *= favoured(shares[:, cells.at[asked]], outline)
        usual = shares > KNOWN
        uncovered = (usual[:m] & ~usual[m:].any(axis=0)).sum(axis=1)
        expected = np.clip(uncovered, LEAST * tracks.area, tracks.area)
    taken = phi[m:].max(axis=0, initial=0) + BETTER * (len(rivals) > 0)
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
    near: np.ndarray = (length(away) < reach).any(axis=1)
    return near


def _phi(fields: Fields, cells: Cells, tracks: Tracks, asked: np.ndarray) -> np.ndarray:
    """Eq. 3 (T, n) with each track's best anchors at the cells ``asked``; 0 far from its body."""
    scale, anchors = tracks.body.scale[:, None], tracks.motion.xy[:, : CENTRE + 1]
    weight = tracks.visibility.weight
    blind = ~(weight > 0).any(axis=1, keepdims=True)
    weight = np.where(blind, np.arange(CENTRE + 1) == CENTRE, weight)
    used = np.argsort(-weight, axis=1, kind="stable")[:, :ANCHORS_ASKED]
    weight = np.take_along_axis(weight, used, axis=1)[:, :, None]
    target = np.take_along_axis(anchors, used[:, :, None], axis=1)
    (x, y), radius = cells.xy[:, asked], fields.radius
    flat = fields.anchor.reshape(CENTRE + 1, 2, -1)
    to_x, to_y = (radius * flat[used[:, :, None], axis, cells.at[asked]] for axis in (0, 1))
    miss_x, miss_y = x + to_x - target[:, :, :1], y + to_y - target[:, :, 1:]
    miss = np.sqrt(miss_x * miss_x + miss_y * miss_y)  # (T, ANCHORS_ASKED, n)
    away = np.sqrt(to_x * to_x + to_y * to_y)
    pull = weight / (NEAR * scale[:, :, None] + away) ** 2
    distance = (pull * miss).sum(axis=1) / pull.sum(axis=1)
    phi = np.exp(-(distance**2) / (2 * (tracks.spread[:, None] * scale) ** 2))
    low_x, low_y = (anchors.min(axis=1) - SPARE * scale).T[:, :, None]
    high_x, high_y = (anchors.max(axis=1) + SPARE * scale).T[:, :, None]
    return phi * ((x >= low_x) & (x <= high_x) & (y >= low_y) & (y <= high_y))


def _mean_anchors(fields: Fields, cells: Cells, own: np.ndarray, scale: float) -> np.ndarray:
    """Eq. 4: mean embedding (18, 2) of a person's cells, near cells weighing more."""
    flat = fields.anchor.reshape(CENTRE + 1, 2, -1)
    offset = flat[:, :, cells.at[own]] * fields.radius
    weight = 1 / (NEAR * scale + length(offset.transpose(0, 2, 1))[:, None]) ** 2
    points = cells.xy[:, own] + offset
    mean: np.ndarray = (points * weight).sum(axis=2) / weight.sum(axis=2)
    return mean

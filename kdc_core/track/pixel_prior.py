"""Whose pixels are likely whose, before the fields are asked: silhouettes, and the last labels."""

from __future__ import annotations

import numpy as np

from kdc_core.letterbox import Letterbox, cell_centres
from kdc_core.track.body import alone
from kdc_core.types import Fields

SIDE = 64  # points per side of a silhouette …
REACH = 2.0  # … that ends this many scales from the body's origin
LEARN = 1.0  # seconds, time constant of a silhouette: longer than a step
APART = 1.0  # sum of two scales from which people do not touch: then silhouettes are learned
KNOWN = 0.5  # share of the time from which a point belongs to the silhouette


class PixelMemory:
    """What was painted before, in units of each body and at the cells of the last frame.

    Where two people overlap, the fields at a pixel may point at both; which of the two usually
    is there tells them apart.
    """

    def __init__(self) -> None:
        self.clear()
        self._axis = ((np.arange(SIDE) + 0.5) / SIDE * 2 - 1) * REACH

    def clear(self) -> None:
        """Forget everybody."""
        self._shapes: dict[int, np.ndarray] = {}  # id → (SIDE, SIDE) shares of the time
        self._labels = np.zeros((0, 0), np.uint16)  # at the cells of the last frame
        self._places: dict[int, np.ndarray] = {}  # id → body's origin in the last frame
        self._stamp = 0.0

    def keep(self, ids: np.ndarray) -> None:
        """Forget everybody but those with the given ids."""
        kept = set(ids.tolist())
        self._shapes = {name: shape for name, shape in self._shapes.items() if name in kept}

    def shares(
        self, ids: np.ndarray, place: np.ndarray, scale: np.ndarray, fields: Fields
    ) -> np.ndarray:
        """Share of the time (P, h, w) that cells are each person's; nan for who is new.

        ``place`` (P, 2) and ``scale`` (P,) are those of the bodies, input pixels.
        """
        shape = fields.log_sigma.shape
        shares = np.full((len(ids), *shape), np.nan, np.float32)
        x, y = _axes(shape, fields.stride)
        columns, lines = _points(x, place[:, 0], scale), _points(y, place[:, 1], scale)
        for row, name in enumerate(ids.tolist()):
            if name not in self._shapes:
                continue
            shares[row] = 0
            column, across = _inside(columns[row])
            line, down = _inside(lines[row])
            shares[row, down, across] = self._shapes[name][line[:, None], column]
        return shares

    def favour(
        self, ids: np.ndarray, place: np.ndarray, scale: np.ndarray, fields: Fields, gain: float
    ) -> np.ndarray:
        """Factors (P, h, w) on φ: 1 for whose silhouette it is, down to exp(−gain) for others."""
        return favoured(self.shares(ids, place, scale, fields), gain)

    def again(self, ids: np.ndarray, place: np.ndarray, fields: Fields, gain: float) -> np.ndarray:
        """Factors (P, h, w) on φ of the cells that were a person's, moved with the body."""
        height, width = shape = fields.log_sigma.shape
        factor = np.ones((len(ids), height, width), np.float32)
        if self._labels.shape != shape or not len(ids):
            return factor
        before = [self._places.get(name, place[row]) for row, name in enumerate(ids.tolist())]
        step = np.rint((place - before) / fields.stride).astype(np.intp)
        y, x = np.nonzero(self._labels)
        row, known = _rows_of(self._labels[y, x], ids)
        y, x = y + step[row, 1], x + step[row, 0]
        inside = known & (x >= 0) & (x < width) & (y >= 0) & (y < height)
        factor[row[inside], y[inside], x[inside]] += gain
        return factor

    def learn(
        self, labels: np.ndarray, ids: np.ndarray, place: np.ndarray, scale: np.ndarray,
        fields: Fields, stamp: float,
    ) -> None:  # fmt: skip
        """Take in the label image (H, W) of a frame; ``ids`` are those who may have pixels."""
        x, y = _axes(fields.log_sigma.shape, fields.stride)
        self._labels = _read(labels, fields.letterbox, x, y)
        self._places = dict(zip(ids.tolist(), place, strict=True))
        rate = 1 - np.exp(-max(stamp - self._stamp, 1e-3) / LEARN)
        self._stamp = stamp
        new = np.array([name not in self._shapes for name in ids.tolist()], bool)
        rows = np.flatnonzero(new | alone(place, scale, APART))
        x, y = (place[rows, :, None] + scale[rows, None, None] * self._axis).transpose(1, 0, 2)
        seen = _read(labels, fields.letterbox, x, y) == ids[rows, None, None]
        for name, own in zip(ids[rows].tolist(), seen.astype(np.float32), strict=True):
            old = self._shapes.get(name, own)
            self._shapes[name] = old + np.float32(rate) * (own - old)


def favoured(shares: np.ndarray, gain: float) -> np.ndarray:
    """Factors (P, …) on φ, from each person's share of the time; 1 for who is new."""
    most = np.fmax.reduce(shares, axis=0, initial=0)
    factor: np.ndarray = np.exp(np.float32(gain) * (shares - most))
    factor[np.isnan(factor)] = 1
    return factor


def _axes(shape: tuple[int, ...], stride: int) -> tuple[np.ndarray, np.ndarray]:
    """Input positions x (w,) and y (h,) of the cells of a grid."""
    centres = cell_centres(shape[0], shape[1], stride)
    return centres[0, :, 0], centres[:, 0, 1]


def _points(along: np.ndarray, place: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Silhouette points (P, n) along one axis for the cells at ``along`` (n,), rising."""
    point = (along - place[:, None]) / scale[:, None] + REACH
    return np.floor(point * (SIDE / (2 * REACH))).astype(np.intp)


def _inside(point: np.ndarray) -> tuple[np.ndarray, slice]:
    """The points that a silhouette has, and which cells these are."""
    first, end = np.searchsorted(point, (0, SIDE)).tolist()
    return point[first:end], slice(first, end)


def _rows_of(labels: np.ndarray, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Row of each label in ``ids``, and whether it is there at all."""
    order = np.argsort(ids)
    at = np.searchsorted(ids, labels, sorter=order)
    row = order[np.minimum(at, len(ids) - 1)]
    return row, ids[row] == labels


def _read(labels: np.ndarray, letterbox: Letterbox, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Labels (…, N, M) at input positions x (…, M) and y (…, N); 0 outside the frame."""
    height, width = labels.shape
    column, line = _pixels(letterbox, x, 0)[..., None, :], _pixels(letterbox, y, 1)[..., None]
    read: np.ndarray = labels[line.clip(0, height - 1), column.clip(0, width - 1)]
    return read * ((line >= 0) & (line < height) & (column >= 0) & (column < width))


def _pixels(letterbox: Letterbox, along: np.ndarray, axis: int) -> np.ndarray:
    """Columns (axis 0) or rows (axis 1) of the frame at input positions along that axis."""
    points = np.zeros((*along.shape, 2), np.float32)
    points[..., axis] = along
    return np.rint(letterbox.to_frame(points)[..., axis]).astype(np.intp)

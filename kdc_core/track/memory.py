"""Whose pixels are likely whose, before the fields are asked: silhouettes, and the last labels."""

from __future__ import annotations

import numpy as np

from kdc_core.letterbox import Letterbox, cell_centres
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
        for row, name in enumerate(ids.tolist()):
            if name not in self._shapes:
                continue
            shares[row] = 0
            column, columns = _inside(x, place[row, 0], scale[row])
            line, lines = _inside(y, place[row, 1], scale[row])
            shares[row, lines, columns] = self._shapes[name][line[:, None], column]
        return shares

    def favour(
        self, ids: np.ndarray, place: np.ndarray, scale: np.ndarray, fields: Fields, gain: float
    ) -> np.ndarray:
        """Factors (P, h, w) on φ: 1 for whose silhouette it is, down to exp(−gain) for others."""
        shares = self.shares(ids, place, scale, fields)
        most = np.fmax.reduce(shares, axis=0, initial=0)
        factor: np.ndarray = np.exp(np.float32(gain) * np.nan_to_num(shares - most, copy=False))
        return factor

    def again(self, ids: np.ndarray, place: np.ndarray, fields: Fields, gain: float) -> np.ndarray:
        """Factors (P, h, w) on φ of the cells that were a person's, moved with the body."""
        height, width = shape = fields.log_sigma.shape
        factor = np.ones((len(ids), height, width), np.float32)
        if self._labels.shape != shape:
            return factor
        for row, name in enumerate(ids.tolist()):
            if name not in self._places:
                continue
            step = np.rint((place[row] - self._places[name]) / fields.stride).astype(np.intp)
            y, x = np.nonzero(self._labels == name)
            y, x = y + step[1], x + step[0]
            inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
            factor[row, y[inside], x[inside]] += gain
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
        alone = _alone(place, scale)
        for row, name in enumerate(ids.tolist()):
            if name in self._shapes and not alone[row]:
                continue
            x, y = place[row, :, None] + scale[row] * self._axis
            own = (_read(labels, fields.letterbox, x, y) == name).astype(np.float32)
            old = self._shapes.get(name, own)
            self._shapes[name] = old + np.float32(rate) * (own - old)


def _axes(shape: tuple[int, ...], stride: int) -> tuple[np.ndarray, np.ndarray]:
    """Input positions x (w,) and y (h,) of the cells of a grid."""
    centres = cell_centres(shape[0], shape[1], stride)
    return centres[0, :, 0], centres[:, 0, 1]


def _inside(along: np.ndarray, place: float, scale: float) -> tuple[np.ndarray, slice]:
    """Silhouette points along one axis for the cells that it covers, and which cells these are."""
    point = np.floor(((along - place) / scale + REACH) * (SIDE / (2 * REACH))).astype(np.intp)
    first, end = np.searchsorted(point, (0, SIDE))
    return point[first:end], slice(first, end)


def _read(labels: np.ndarray, letterbox: Letterbox, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Labels (N, M) at input positions x (M,) and y (N,); 0 outside the frame."""
    height, width = labels.shape
    points = np.zeros((max(len(x), len(y)), 2), np.float32)
    points[: len(x), 0], points[: len(y), 1] = x, y
    points = np.rint(letterbox.to_frame(points)).astype(np.intp)
    column, line = points[: len(x), 0], points[: len(y), 1]
    read: np.ndarray = labels[line.clip(0, height - 1)[:, None], column.clip(0, width - 1)]
    known = ((line >= 0) & (line < height))[:, None] & (column >= 0) & (column < width)
    return read * known


def _alone(place: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Who touches nobody (P,)."""
    away = np.linalg.norm(place[:, None] - place[None], axis=2)
    np.fill_diagonal(away, np.inf)
    alone: np.ndarray = (away > APART * (scale[:, None] + scale[None])).all(axis=1)
    return alone

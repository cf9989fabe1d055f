"""Temporal priors for mask assignment: an average silhouette per track, and the last labels."""

from __future__ import annotations

import numpy as np

from kdc_core.letterbox import Letterbox, cell_centres
from kdc_core.track.body import is_isolated
from kdc_core.track.track_config import PixelConfig
from kdc_core.types import Fields

SIDE = 64  # points per side of a silhouette …
REACH = 2.0  # … that ends this many scales from the body's origin


class PixelPrior:
    """Silhouettes in units of each body, and the label image of the last frame at the cells.

    Where two people overlap, the fields at a pixel may point at both. Which of the two usually is
    there tells them apart.
    """

    def __init__(self, config: PixelConfig | None = None) -> None:
        """Create a prior that knows no one."""
        self._config = config or PixelConfig()
        self._axis = ((np.arange(SIDE) + 0.5) / SIDE * 2 - 1) * REACH
        self.clear()

    def clear(self) -> None:
        """Delete all silhouettes and the last labels."""
        self._shapes: dict[int, np.ndarray] = {}  # id → (SIDE, SIDE) shares of the time
        self._labels = np.zeros((0, 0), np.uint16)  # at the cells of the last frame
        self._origins: dict[int, np.ndarray] = {}  # id → body's origin in the last frame
        self._stamp = 0.0

    def keep(self, ids: np.ndarray) -> None:
        """Delete the silhouettes of all people but those with the given ids."""
        kept = set(ids.tolist())
        self._shapes = {name: shape for name, shape in self._shapes.items() if name in kept}

    def occupancy(
        self, ids: np.ndarray, origin: np.ndarray, scale: np.ndarray, fields: Fields
    ) -> np.ndarray:
        """Return the share of the time (P, h, w) that cells are each person's; NaN for new ones.

        Args:
            ids: (P,).
            origin: (P, 2) of the bodies, input pixels.
            scale: (P,) of the bodies, input pixels.
            fields: give shape and stride of the grid.
        """
        shape = fields.log_sigma.shape
        shares = np.full((len(ids), *shape), np.nan, np.float32)
        x, y = _axes(shape, fields.stride)
        columns, lines = _points(x, origin[:, 0], scale), _points(y, origin[:, 1], scale)
        for row, name in enumerate(ids.tolist()):
            if name not in self._shapes:
                continue
            shares[row] = 0
            column, across = _inside(columns[row])
            line, down = _inside(lines[row])
            shares[row, down, across] = self._shapes[name][line[:, None], column]
        return shares

    def factors(
        self, ids: np.ndarray, origin: np.ndarray, scale: np.ndarray, fields: Fields
    ) -> np.ndarray:
        """Return factors on φ (P, h, w) for ``decode.assign``; arguments as in ``occupancy``."""
        occupancy = self.occupancy(ids, origin, scale, fields)
        factors: np.ndarray = shape_factors(occupancy, self._config.shape_prior)
        return factors * self.label_factors(ids, origin, fields)

    def label_factors(self, ids: np.ndarray, origin: np.ndarray, fields: Fields) -> np.ndarray:
        """Return factors on φ (P, h, w): more than 1 where a person's last mask has moved to."""
        height, width = shape = fields.log_sigma.shape
        factors = np.ones((len(ids), height, width), np.float32)
        if self._labels.shape != shape or not len(ids):
            return factors
        before = [self._origins.get(name, origin[row]) for row, name in enumerate(ids.tolist())]
        step = np.rint((origin - before) / fields.stride).astype(np.intp)
        y, x = np.nonzero(self._labels)
        row, known = _rows_of(self._labels[y, x], ids)
        y, x = y + step[row, 1], x + step[row, 0]
        inside = known & (x >= 0) & (x < width) & (y >= 0) & (y < height)
        factors[row[inside], y[inside], x[inside]] += self._config.label_inertia
        return factors

    def update(
        self,
        labels: np.ndarray,
        ids: np.ndarray,
        origin: np.ndarray,
        scale: np.ndarray,
        fields: Fields,
        stamp: float,
    ) -> None:
        """Learn from the label image of a frame; people who may touch others keep their shape.

        Args:
            labels: (H, W) uint16.
            ids: (P,) people who may have pixels.
            origin: (P, 2) of the bodies, input pixels.
            scale: (P,) of the bodies, input pixels.
            fields: give grid and letterbox.
            stamp: seconds.
        """
        x, y = _axes(fields.log_sigma.shape, fields.stride)
        self._labels = _read(labels, fields.letterbox, x, y)
        self._origins = dict(zip(ids.tolist(), origin, strict=True))
        rate = 1 - np.exp(-max(stamp - self._stamp, 1e-3) / self._config.shape_time)
        self._stamp = stamp
        new = np.array([name not in self._shapes for name in ids.tolist()], bool)
        rows = np.flatnonzero(new | is_isolated(origin, scale, self._config.apart))
        x, y = (origin[rows, :, None] + scale[rows, None, None] * self._axis).transpose(1, 0, 2)
        seen = _read(labels, fields.letterbox, x, y) == ids[rows, None, None]
        for name, own in zip(ids[rows].tolist(), seen.astype(np.float32), strict=True):
            old = self._shapes.get(name, own)
            self._shapes[name] = old + np.float32(rate) * (own - old)


def shape_factors(occupancy: np.ndarray, gain: float) -> np.ndarray:
    """Return factors on φ (P, …): 1 where a person usually is, down to exp(−gain) for others.

    Args:
        occupancy: (P, …) share of the time; NaN for new people, whose factors are 1.
        gain: log of the largest ratio of two factors.
    """
    most = np.fmax.reduce(occupancy, axis=0, initial=0)
    factors: np.ndarray = np.exp(np.float32(gain) * (occupancy - most))
    factors[np.isnan(factors)] = 1
    return factors


def _axes(shape: tuple[int, ...], stride: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the input positions x (w,) and y (h,) of the cells of a grid."""
    centres = cell_centres(shape[0], shape[1], stride)
    return centres[0, :, 0], centres[:, 0, 1]


def _points(along: np.ndarray, origin: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Return the silhouette points (P, n) along one axis of the cells at ``along`` (n,), rising."""
    point = (along - origin[:, None]) / scale[:, None] + REACH
    return np.floor(point * (SIDE / (2 * REACH))).astype(np.intp)


def _inside(point: np.ndarray) -> tuple[np.ndarray, slice]:
    """Return the points inside of a silhouette, and the cells to which they belong."""
    first, end = np.searchsorted(point, (0, SIDE)).tolist()
    return point[first:end], slice(first, end)


def _rows_of(labels: np.ndarray, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the row of each label in ``ids``, and whether it is there at all."""
    order = np.argsort(ids)
    at = np.searchsorted(ids, labels, sorter=order)
    row = order[np.minimum(at, len(ids) - 1)]
    return row, ids[row] == labels


def _read(labels: np.ndarray, letterbox: Letterbox, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the labels (…, N, M) at input positions x (…, M) and y (…, N); 0 outside the frame."""
    height, width = labels.shape
    column, line = _pixels(letterbox, x, 0)[..., None, :], _pixels(letterbox, y, 1)[..., None]
    read: np.ndarray = labels[line.clip(0, height - 1), column.clip(0, width - 1)]
    return read * ((line >= 0) & (line < height) & (column >= 0) & (column < width))


def _pixels(letterbox: Letterbox, along: np.ndarray, axis: int) -> np.ndarray:
    """Return the frame's columns (axis 0) or rows (axis 1) at input positions along that axis."""
    points = np.zeros((*along.shape, 2), np.float32)
    points[..., axis] = along
    return np.rint(letterbox.to_frame(points)[..., axis]).astype(np.intp)

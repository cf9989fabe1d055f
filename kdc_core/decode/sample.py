"""Read fields between cells, and interpolate them to the pixels of a frame."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from kdc_core.letterbox import Letterbox, to_grid
from kdc_core.types import Fields

#: share of person pixels above which a cell is foreground
PERSON = 0.5


def sample(
    field: np.ndarray, xy: np.ndarray, stride: float, channel: np.ndarray | None = None
) -> np.ndarray:
    """Return a field at input pixels, bilinearly interpolated and clamped to its cells.

    Args:
        field: (C…, h, w).
        xy: (N, 2) input pixels.
        stride: input pixels per cell.
        channel: (N,) first index of ``field`` to read at each point; None = all.

    Returns:
        (N, C…), without the first C if ``channel`` is given.
    """
    height, width = field.shape[-2:]
    x, y = np.moveaxis(to_grid(xy, stride).astype(np.float32), -1, 0)
    x, y = x.clip(0, width - 1), y.clip(0, height - 1)
    x0, y0 = np.floor(x), np.floor(y)
    fx, fy = x - x0, y - y0  # float32, like the kernels
    x0, y0 = x0.astype(np.intp), y0.astype(np.intp)
    x1, y1 = np.minimum(x0 + 1, width - 1), np.minimum(y0 + 1, height - 1)
    flat = field.reshape(*field.shape[:-2], height * width)
    if channel is None:
        a, b, c, d = (
            np.moveaxis(flat[..., y * width + x], -1, 0)
            for y, x in ((y0, x0), (y0, x1), (y1, x0), (y1, x1))
        )
    else:
        a, b, c, d = (
            flat[channel, ..., y * width + x] for y, x in ((y0, x0), (y0, x1), (y1, x0), (y1, x1))
        )
    shape = (-1,) + (1,) * (a.ndim - 1)
    fx, fy = fx.reshape(shape), fy.reshape(shape)
    top = a * (1 - fx) + b * fx
    below = c * (1 - fx) + d * fx
    return top * (1 - fy) + below * fy


def pool(field: np.ndarray, factor: int) -> np.ndarray:
    """Return the means of ``factor`` × ``factor`` blocks of a field (H, W)."""
    if factor == 1:
        return field
    total = np.zeros((field.shape[0] // factor, field.shape[1] // factor), np.float32)
    for dy in range(factor):  # in this order: the kernel's sum is equal bit for bit
        for dx in range(factor):
            total += field[dy::factor, dx::factor]
    return total * np.float32(1 / factor**2)


def person_share(fields: Fields) -> np.ndarray:
    """Return the share of person pixels of each cell of the offset grid, (h, w)."""
    return pool(fields.seg, fields.stride // fields.seg_stride)


class FrameGrid:
    """Interpolates a grid bilinearly to the pixels of the frame.

    Rows are interpolated before columns, in float32. The CUDA kernel uses the same order, so that
    labels agree bit for bit.
    """

    def __init__(self, letterbox: Letterbox, stride: int) -> None:
        """Prepare a grid.

        Args:
            letterbox: placement of the frame in the network's input.
            stride: input pixels per cell.
        """
        self._key = letterbox, stride
        self.columns, self.rows = _places(letterbox, stride)

    def window(self, box: tuple[int, int, int, int]) -> tuple[slice, slice]:
        """Return rows and columns of the frame that depend on cells x0 ≤ x < x1, y0 ≤ y < y1."""
        x0, y0, x1, y1 = box
        columns = np.searchsorted(self.columns, (x0 - 1, x1)).tolist()
        rows = np.searchsorted(self.rows, (y0 - 1, y1)).tolist()
        return slice(*rows), slice(*columns)

    def spread(self, field: np.ndarray, rows: slice, columns: slice) -> np.ndarray:
        """Return ``field`` (h, w) at the frame's pixels ``[rows, columns]``, float32.

        Columns are contiguous in memory (order "F"), because whole columns are gathered ten times
        as fast as single pixels.
        """
        down, across = _taps(*self._key, field.shape)
        r0, r1, fr = (tap[rows] for tap in down)
        c0, c1, fc = (tap[columns] for tap in across)
        if not len(r0) or not len(c0):
            return np.zeros((len(r0), len(c0)), np.float32)
        left, right = c0[0], c1[-1] + 1
        part = field[:, left:right]
        tall = part[r0] * (1 - fr)[:, None] + part[r1] * fr[:, None]
        turned = cv2.transpose(tall)
        wide: np.ndarray = turned[c0 - left] * (1 - fc)[:, None]
        wide += turned[c1 - left] * fc[:, None]
        return wide.T


@lru_cache(maxsize=16)
def _places(letterbox: Letterbox, stride: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the frame's columns and rows as fractional cells of a grid; do not write to them."""
    width, height = letterbox.frame_size
    pixels = np.repeat(np.arange(max(width, height))[:, None], 2, axis=1)
    places = to_grid(letterbox.to_input(pixels), stride).astype(np.float32)
    return places[:width, 0], places[:height, 1]


@lru_cache(maxsize=16)
def _taps(
    letterbox: Letterbox, stride: int, shape: tuple[int, int]
) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Return, for rows and columns: cell before, cell behind, share of the latter; read only."""
    taps = []
    for places, size in zip(_places(letterbox, stride)[::-1], shape, strict=True):
        places = places.clip(0, size - 1)
        floor = np.floor(places)
        low = floor.astype(np.intp)
        taps.append((low, np.minimum(low + 1, size - 1), places - floor))
    return taps

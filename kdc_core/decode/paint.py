"""Cells to pixels: φ is laid out over the frame, and the label of the best person is drawn."""

from __future__ import annotations

import cv2
import numpy as np

from kdc_core.config import AssignConfig
from kdc_core.decode.hough import ONE
from kdc_core.decode.sample import FrameGrid
from kdc_core.types import Fields, InstanceMap

#: interpolation may round up by a few parts in 1e7: a bar for cells that misses no pixel
SLACK = np.float32(0.999)
SHARP = 0.12  # pixels, sigma up to which a Gaussian's only tap is the centre
BAND = 64  # columns of a frame at a time: their temporaries stay in the cache


def paint(
    fields: Fields, phi: np.ndarray, cells: np.ndarray, ids: np.ndarray, config: AssignConfig
) -> InstanceMap:
    """Interpolate φ and P_seg to the frame; each pixel goes to its best person above both bars."""
    width, height = fields.letterbox.frame_size
    grid = FrameGrid(fields.letterbox, fields.stride)
    # turned: pixels of a column follow one another, as in what ``spread`` gives
    best = np.full((width, height), config.min_phi, np.float32)
    labels = np.zeros((width, height), np.uint16)
    cell_height, cell_width = fields.log_sigma.shape
    plane = np.zeros((cell_height, cell_width), np.float32)
    reached = phi > SLACK * np.float32(config.min_phi)
    windows = []
    for j, label in enumerate(ids):
        plane.reshape(-1)[cells] = phi[j]
        rows, columns = grid.window(_box(cells[reached[j]], cell_width))
        windows.append(window := (columns, rows))
        here = grid.spread(plane, rows, columns)
        if not here.size:
            continue
        if config.igo_sigma > SHARP:
            here = cv2.GaussianBlur(here, (0, 0), config.igo_sigma)
        here = here.T
        wins = cv2.compare(here, best[window], cv2.CMP_GT)
        cv2.copyTo(here, wins, best[window])
        cv2.copyTo(np.full(here.shape, label, np.uint16), wins, labels[window])
    mean = _cut(fields, labels, best, ids, windows, config.min_seg)
    return InstanceMap(cv2.transpose(labels), ids, mean)


def _cut(
    fields: Fields, labels: np.ndarray, best: np.ndarray, ids: np.ndarray,
    windows: list[tuple[slice, slice]], min_seg: float,
) -> np.ndarray:  # fmt: skip
    """Take the labels away where P_seg is below its bar; ``best`` becomes parts of P_seg · φ.

    Returns:
        Mean of P_seg · φ over each person's pixels (P,).
    """
    mean = np.zeros(len(ids), np.float32)
    if not windows:
        return mean
    fine = FrameGrid(fields.letterbox, fields.seg_stride)
    first, last = min(c.start for c, _ in windows), max(c.stop for c, _ in windows)
    rows = slice(min(r.start for _, r in windows), max(r.stop for _, r in windows))
    for start in range(first, last, BAND):
        band = slice(start, min(start + BAND, last))
        person = fine.spread(fields.seg, rows, band).T
        labels[band, rows] *= person > min_seg
        person *= best[band, rows]
        person *= np.float32(ONE)
        np.rint(person, out=best[band, rows])
    for j, (label, window) in enumerate(zip(ids, windows, strict=True)):
        parts = best[window][labels[window] == label]
        if len(parts):
            mean[j] = parts.sum(dtype=np.float64) / (ONE * len(parts))
    return mean


def _box(cells: np.ndarray, width: int) -> tuple[int, int, int, int]:
    """x0, y0, x1, y1 (exclusive) of cells, given as rising flat indices into rows of ``width``."""
    if not len(cells):
        return 0, 0, -1, -1
    columns = cells % width
    return columns.min(), cells[0] // width, columns.max() + 1, cells[-1] // width + 1

"""Interpolate φ from the cells to the frame, and label each pixel with the best person."""

from __future__ import annotations

import cv2
import numpy as np

from kdc_core.config import AssignConfig
from kdc_core.decode.hough import ONE
from kdc_core.decode.sample import FrameGrid
from kdc_core.types import Fields, InstanceMap

#: factor on a threshold for cells: interpolation may round up by a few parts in 1e7
SLACK = np.float32(0.999)
SHARP = 0.12  # pixels, sigma up to which the centre is the only tap of a Gaussian
BAND = 64  # columns that are processed at once: their temporaries fit the cache


def paint(
    fields: Fields, phi: np.ndarray, cells: np.ndarray, ids: np.ndarray, config: AssignConfig
) -> InstanceMap:
    """Return the label image: each pixel gets the person with the highest φ above both thresholds.

    Args:
        fields: network output of the frame.
        phi: (P, N) φ at the cells.
        cells: (N,) flat indices of the cells, rising; φ is 0 elsewhere.
        ids: (P,) label of each person.
        config: thresholds on φ and P_seg.
    """
    width, height = fields.letterbox.frame_size
    grid = FrameGrid(fields.letterbox, fields.stride)
    # transposed: the pixels of a column are contiguous, as in the result of ``spread``
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
    evidence = _cut_background(fields, labels, best, windows, config.min_seg)
    mean = _mean_evidence(labels, evidence, ids, windows)
    return InstanceMap(cv2.transpose(labels), ids, mean)


def _cut_background(
    fields: Fields,
    labels: np.ndarray,
    best: np.ndarray,
    windows: list[tuple[slice, slice]],
    min_seg: float,
) -> np.ndarray:
    """Erase labels where P_seg is not above ``min_seg``, in place.

    Args:
        fields: network output of the frame.
        labels: (W, H) label image, changed in place.
        best: (W, H) φ of the person that has the pixel.
        windows: columns and rows that each person may occupy.
        min_seg: P_seg of the background at most.

    Returns:
        (W, H) P_seg · φ in whole parts of ``ONE``; undefined outside the windows.
    """
    evidence = np.empty_like(best)
    if not windows:
        return evidence
    fine = FrameGrid(fields.letterbox, fields.seg_stride)
    first, last = min(c.start for c, _ in windows), max(c.stop for c, _ in windows)
    rows = slice(min(r.start for _, r in windows), max(r.stop for _, r in windows))
    for start in range(first, last, BAND):
        band = slice(start, min(start + BAND, last))
        person = fine.spread(fields.seg, rows, band).T
        labels[band, rows] *= person > min_seg
        person *= best[band, rows]
        person *= np.float32(ONE)
        np.rint(person, out=evidence[band, rows])
    return evidence


def _mean_evidence(
    labels: np.ndarray, evidence: np.ndarray, ids: np.ndarray, windows: list[tuple[slice, slice]]
) -> np.ndarray:
    """Return the mean of P_seg · φ over each person's pixels (P,); 0 without pixels."""
    mean = np.zeros(len(ids), np.float32)
    for j, (label, window) in enumerate(zip(ids, windows, strict=True)):
        parts = evidence[window][labels[window] == label]
        if len(parts):
            mean[j] = parts.sum(dtype=np.float64) / (ONE * len(parts))
    return mean


def _box(cells: np.ndarray, width: int) -> tuple[int, int, int, int]:
    """Return x0, y0, x1, y1 (exclusive) of rising flat indices into rows of ``width`` cells."""
    if not len(cells):
        return 0, 0, -1, -1
    columns = cells % width
    return columns.min(), cells[0] // width, columns.max() + 1, cells[-1] // width + 1

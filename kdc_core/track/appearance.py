"""What people look like: the colours of their upper and lower halves tell apart who meets.

Sizes, places and skeletons say little where two people cross; clothes still do. A look is a
histogram of each channel of CIELAB over the cells of each half.
"""

from __future__ import annotations

import cv2
import numpy as np

from kdc_core.letterbox import Letterbox
from kdc_core.types import Poses

BINS = 8  # per channel: clothes differ by more, light and shade by less
CHROMA = 96  # of 256: people's a and b lie within ± half of this
HIPS = [11, 12]  # COCO: where a body is halved; trousers are not shirts
LEAST = 6  # cells of a half from which its colours are known
FAR = 0.4  # Bhattacharyya distance of people in different clothes
MEMORY = 2.0  # seconds, time constant: slower than a crossing, quicker than a walk into shade
CLEAR = 0.4  # of the sum of two scales: people who are nearer lend each other pixels
COLUMNS = 3 * BINS


def unknown(count: int) -> np.ndarray:
    """Looks (count, 2, 24) of people of whom no colour is known: nan."""
    return np.full((count, 2, COLUMNS), np.nan)


def looks(
    image: np.ndarray, letterbox: Letterbox, stride: int, at: np.ndarray, owner: np.ndarray,
    poses: Poses,
) -> np.ndarray:  # fmt: skip
    """Looks (P, 2, 24) of the poses: upper and lower half; nan where too little of it is seen.

    Args:
        image: BGR picture (H, W, 3) uint8 that the fields were made of.
        letterbox: how it lies in the network's input.
        stride: input pixels per cell.
        at: flat indices (N,) of foreground cells.
        owner: row of the pose that each belongs to (N,), -1 = none.
        poses: P poses.
    """
    width, height = (max(1, round(side / stride)) for side in letterbox.inner_size)
    small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    columns = letterbox.input_size[0] // stride
    y, x = np.divmod(at, columns)
    mine = (owner >= 0) & (x < width) & (y < height)
    x, y, owner = x[mine], y[mine], owner[mine]
    if not len(owner):
        return unknown(len(poses))
    lab = cv2.cvtColor(small[y, x][None], cv2.COLOR_BGR2LAB)[0]
    hips = poses.xy[:, HIPS, 1].mean(axis=1) / stride
    group = 2 * owner + (y > hips[owner])
    return histograms(lab, group, 2 * len(poses)).reshape(len(poses), 2, COLUMNS)


def histograms(lab: np.ndarray, group: np.ndarray, groups: int) -> np.ndarray:
    """Histograms (groups, 24) of colours (N, 3) uint8, 1 per channel; nan of fewer than ``LEAST``.

    A colour between two bins counts for both: a little less light changes little.
    """
    place = lab.astype(np.float32)
    place[:, 1:] = (place[:, 1:] - 128) * (256 / CHROMA) + 128
    place = np.clip(place * (BINS / 256) - 0.5, 0, BINS - 1)
    low = np.minimum(place.astype(np.intp), BINS - 2)
    part = place - low
    index = (group[:, None] * COLUMNS + np.arange(3) * BINS + low).ravel()
    size = groups * COLUMNS
    counts = np.bincount(index, 1 - part.ravel(), size) + np.bincount(index + 1, part.ravel(), size)
    counts = counts.reshape(groups, 3, BINS)
    total = counts.sum(axis=2, keepdims=True)
    return np.where(total >= LEAST, counts / np.maximum(total, 1), np.nan).reshape(groups, COLUMNS)


def unlike(mine: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """Distance (T, P) in 0…1 of looks (T, 2, 24) and (P, 2, 24); nan without a common half."""
    # Bhattacharyya's coefficient, of each half
    alike = np.einsum("thc,phc->tph", np.sqrt(mine), np.sqrt(theirs)) / 3
    known = ~np.isnan(alike)
    count = known.sum(axis=2)
    mean = np.where(known, alike, 0).sum(axis=2) / np.maximum(count, 1)
    return np.where(count > 0, np.minimum((1 - mean) / FAR, 1), np.nan)


def learn(mine: np.ndarray, seen: np.ndarray, rate: np.ndarray) -> np.ndarray:
    """Looks (T, 2, 24) moved towards what was ``seen`` by ``rate`` (T,)."""
    moved = mine + rate[:, None, None] * (seen - mine)
    return np.where(np.isnan(mine), seen, np.where(np.isnan(seen), mine, moved))

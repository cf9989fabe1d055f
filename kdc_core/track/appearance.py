"""Describe people by the colours of their upper and lower halves.

Sizes, positions and skeletons hardly differ where two people cross, but clothes do. A descriptor
holds a histogram of each channel of CIELAB for each half.
"""

from __future__ import annotations

import cv2
import numpy as np

from kdc_core.letterbox import Letterbox
from kdc_core.types import Poses

BINS = 8  # per channel: clothes differ by more, light and shade by less
CHROMA = 96  # of 256: a and b of people lie within ± half of this
HIPS = [11, 12]  # COCO keypoints at which a body is halved
MIN_CELLS = 6  # cells of a half from which its colours are known
COLUMNS = 3 * BINS


def unknown_descriptors(count: int) -> np.ndarray:
    """Return descriptors (count, 2, 24) of people without known colours: NaN."""
    return np.full((count, 2, COLUMNS), np.nan)


def describe(
    image: np.ndarray,
    letterbox: Letterbox,
    stride: int,
    at: np.ndarray,
    owner: np.ndarray,
    poses: Poses,
) -> np.ndarray:
    """Return descriptors (P, 2, 24) of the poses' upper and lower halves; NaN if little is seen.

    Args:
        image: BGR image (H, W, 3) uint8 from which the fields were computed.
        letterbox: placement of the image in the network's input.
        stride: input pixels per cell.
        at: flat indices (N,) of foreground cells.
        owner: row of the pose to which each cell belongs (N,), -1 = none.
        poses: P poses.
    """
    width, height = (max(1, round(side / stride)) for side in letterbox.inner_size)
    small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    columns = letterbox.input_size[0] // stride
    y, x = np.divmod(at, columns)
    used = (owner >= 0) & (x < width) & (y < height)
    x, y, owner = x[used], y[used], owner[used]
    if not len(owner):
        return unknown_descriptors(len(poses))
    lab = cv2.cvtColor(small[y, x][None], cv2.COLOR_BGR2LAB)[0]
    hips = poses.xy[:, HIPS, 1].mean(axis=1) / stride
    half = 2 * owner + (y > hips[owner])
    return histograms(lab, half, 2 * len(poses)).reshape(len(poses), 2, COLUMNS)


def histograms(lab: np.ndarray, group: np.ndarray, groups: int) -> np.ndarray:
    """Return a histogram per group (groups, 24); the three channels sum to 1 each.

    A colour between two bins counts for both, so that a little less light changes little. Groups
    of fewer than ``MIN_CELLS`` colours have NaN.

    Args:
        lab: (N, 3) uint8 CIELAB colours.
        group: (N,) group of each colour.
        groups: number of groups.
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
    shares = np.where(total >= MIN_CELLS, counts / np.maximum(total, 1), np.nan)
    return shares.reshape(groups, COLUMNS)


def descriptor_distance(a: np.ndarray, b: np.ndarray, full: float) -> np.ndarray:
    """Return distances (T, P), 0 to 1, of descriptors; NaN if no half is known in both.

    Args:
        a: (T, 2, 24).
        b: (P, 2, 24).
        full: Bhattacharyya distance that counts as 1.
    """
    coefficient = np.einsum("thc,phc->tph", np.sqrt(a), np.sqrt(b)) / 3  # Bhattacharyya's, per half
    known = ~np.isnan(coefficient)
    count = known.sum(axis=2)
    mean = np.where(known, coefficient, 0).sum(axis=2) / np.maximum(count, 1)
    return np.where(count > 0, np.minimum((1 - mean) / full, 1), np.nan)


def update_descriptors(known: np.ndarray, seen: np.ndarray, rate: np.ndarray) -> np.ndarray:
    """Return descriptors (T, 2, 24) moved towards ``seen`` by ``rate`` (T,), 0 to 1."""
    moved = known + rate[:, None, None] * (seen - known)
    return np.where(np.isnan(known), seen, np.where(np.isnan(seen), known, moved))

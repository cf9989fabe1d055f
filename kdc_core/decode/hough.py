"""Collect Hough votes for keypoints and find their peaks. After PersonLab §3.1."""

from __future__ import annotations

import itertools
import math

import cv2
import numpy as np

from kdc_core.config import HoughConfig
from kdc_core.decode.sample import sample
from kdc_core.letterbox import cell_centres, to_grid
from kdc_core.skeleton import MAX_DEGREE, OUT_EDGES, A, K
from kdc_core.types import Fields, Peaks

#: one vote as a fixed-point integer: sums do not depend on their order, so CPU and GPU are equal
ONE = 65536
#: OUT_EDGES as arrays (18, 4): directed edge and its end, -1 if an anchor has fewer edges
_EDGE = np.array([[e for e, _ in out] + [-1] * (MAX_DEGREE - len(out)) for out in OUT_EDGES])
_END = np.array([[b for _, b in out] + [-1] * (MAX_DEGREE - len(out)) for out in OUT_EDGES])
_WINDOW = np.stack(np.meshgrid(np.arange(-1, 2), np.arange(-1, 2)), axis=-1).reshape(-1, 2)


def vote(fields: Fields, config: HoughConfig) -> np.ndarray:
    """Return the votes of all cells for the positions at which their short offsets point.

    The weight of a cell is its heat times its share of a disk's area, so the votes of one complete
    disk add up to ``ONE``.

    Args:
        fields: network output of the frame.
        config: stride of the votes and least heat of a cell that votes.

    Returns:
        (18, H / vote_stride, W / vote_stride) int32.
    """
    stride, radius = fields.stride, fields.radius
    height, width = (side * stride // config.vote_stride for side in fields.heat.shape[1:])
    kind, row, column = np.nonzero(fields.heat > config.min_heat)
    share = np.float32(ONE * stride**2 / (math.pi * radius**2))
    weight = fields.heat[kind, row, column] * share
    centres = cell_centres(fields.heat.shape[1], fields.heat.shape[2], stride)
    place = centres[row, column] + radius * fields.short[kind, :, row, column]
    x, y = np.moveaxis(to_grid(place, config.vote_stride).astype(np.float32), -1, 0)
    x0, y0 = np.floor(x), np.floor(y)
    fx, fy = x - x0, y - y0
    column, row = x0.astype(np.int64), y0.astype(np.int64)
    corners = (
        (0, 0, (1 - fx) * (1 - fy)),
        (1, 0, fx * (1 - fy)),
        (0, 1, (1 - fx) * fy),
        (1, 1, fx * fy),
    )
    cells, amounts = [], []
    for dx, dy, part in corners:
        cx, cy = column + dx, row + dy
        inside = (cx >= 0) & (cx < width) & (cy >= 0) & (cy < height)
        cells.append(((kind * height + cy) * width + cx)[inside])
        amounts.append(np.rint(weight * part)[inside])
    votes = np.bincount(np.concatenate(cells), np.concatenate(amounts), A * height * width)
    return votes.astype(np.int32).reshape(A, height, width)


def smooth_votes(votes: np.ndarray) -> np.ndarray:
    """Return the binomial 3×3 sums of integer votes, centre weight 1; gathers split votes."""
    padded = np.pad(votes, ((0, 0), (1, 1), (1, 1)))
    tall = 2 * padded[:, 1:-1]
    tall += padded[:, :-2]
    tall += padded[:, 2:]
    both: np.ndarray = 2 * tall[:, :, 1:-1]
    both += tall[:, :, :-2]
    both += tall[:, :, 2:]
    both >>= 2
    return both


def find_peaks(
    fields: Fields, votes: np.ndarray, heights: np.ndarray, config: HoughConfig
) -> Peaks:
    """Return the best ``max_peaks`` local maxima of every anchor type.

    Args:
        fields: network output of the frame; visibility, edges and anchors are read at the peaks.
        votes: see ``vote``.
        heights: smoothed ``votes``.
        config: threshold and number of the peaks.
    """
    n = config.max_peaks
    kind, slot, rows, columns = _maxima(heights, config.peak_threshold, n)
    xy = np.zeros((A, n, 2), np.float32)
    score = np.zeros((A, n), np.float32)
    xy[kind, slot] = _refined(votes, kind, rows, columns, config.vote_stride)
    score[kind, slot] = np.minimum(heights[kind, rows, columns] / np.float32(ONE), 1)
    return _read_at(fields, xy, score, config.refine_steps)


def _maxima(
    heights: np.ndarray, min_score: float, n: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return type, slot, row and column of the 5×5 maxima, best first, at most ``n`` of a type.

    Of equal heights in one window, the first in raster order wins.
    """
    planes = heights.astype(np.float32)
    tops = np.stack([cv2.dilate(plane, np.ones((5, 5), np.uint8)) for plane in planes])
    kinds, rows, columns = np.nonzero((planes == tops) & (planes > min_score * ONE))
    height = heights[kinds, rows, columns]
    first = np.searchsorted(kinds, np.arange(A + 1))
    chosen = []
    for begin, end in itertools.pairwise(first):
        order = begin + np.argsort(-height[begin:end], kind="stable")[: 2 * n]
        y, x = rows[order], columns[order]
        near = (abs(y[:, None] - y) <= 2) & (abs(x[:, None] - x) <= 2)
        chosen.append(order[~np.tril(near, -1).any(axis=1)][:n])
    slot = np.concatenate([np.arange(len(one)) for one in chosen])
    at = np.concatenate(chosen)
    return kinds[at], slot, rows[at], columns[at]


def _refined(
    votes: np.ndarray, kind: np.ndarray, rows: np.ndarray, columns: np.ndarray, vote_stride: int
) -> np.ndarray:
    """Return the centre of mass (N, 2) of the votes in each peak's 3×3 window, input pixels."""
    _, height, width = votes.shape
    y, x = rows[:, None] + _WINDOW[:, 1], columns[:, None] + _WINDOW[:, 0]
    window = votes[kind[:, None], y.clip(0, height - 1), x.clip(0, width - 1)]
    window *= (y >= 0) & (y < height) & (x >= 0) & (x < width)
    mass = np.maximum(window.sum(axis=1, keepdims=True), 1)
    shift = (window[:, :, None] * _WINDOW).sum(axis=1) / mass
    cells = np.stack([columns, rows], axis=-1) + shift
    return cells * vote_stride + (vote_stride - 1) / 2


def _read_at(fields: Fields, xy: np.ndarray, score: np.ndarray, refine_steps: int) -> Peaks:
    """Return the peaks with visibility, ends of the edges and anchors that are read there."""
    n = xy.shape[1]
    vis = np.zeros((A, n), np.float32)
    reach = np.zeros((A, n, MAX_DEGREE, 2), np.float32)
    anchors = np.zeros((A, n, A, 2), np.float32)
    found = score > 0
    kind, at = np.nonzero(found)[0], xy[found]
    keypoint = kind < K
    vis[:K][found[:K]] = sample(fields.vis, at[keypoint], fields.stride, kind[keypoint])
    away = sample(fields.anchor, at, fields.stride)
    anchors[found] = at[:, None] + fields.radius * away
    reach[found] = _follow(fields, kind, at, refine_steps)
    return Peaks(xy=xy, score=score, vis=vis, reach=reach, anchors=anchors)


def _follow(fields: Fields, kind: np.ndarray, at: np.ndarray, refine_steps: int) -> np.ndarray:
    """Return the ends (N, 4, 2) of the edges that leave each peak; unused slots are (0, 0).

    The short field corrects each end ``refine_steps`` times, in proportion to the heat there.
    """
    reach = np.zeros((len(kind), MAX_DEGREE, 2), np.float32)
    peak, slot = np.nonzero(_EDGE[kind] >= 0)
    edge, end = _EDGE[kind[peak], slot], _END[kind[peak], slot]
    place = at[peak] + fields.radius * sample(fields.mid, at[peak], fields.stride, edge)
    for _ in range(refine_steps):
        heat = sample(fields.heat, place, fields.stride, end)
        short = sample(fields.short, place, fields.stride, end)
        place = place + fields.radius * heat[:, None] * short
    reach[peak, slot] = place
    return reach

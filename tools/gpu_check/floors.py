"""Lower bounds for the time of each stage, from the bytes it moves and its operations."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from kdc_core.config import AssignConfig, CentroidMode
from kdc_core.cuda import Kernels
from kdc_core.decode import ONE, find_peaks, foreground, membership, reach_boxes, smooth_votes, vote
from kdc_core.letterbox import cell_centres
from kdc_core.skeleton import MAX_DEGREE, A
from kdc_core.types import Centroids, Fields

# operations per unit of work, counted in the kernels; a division or square root counts 10
_SPLAT, _MAXIMUM, _READ, _ANCHOR, _PIXEL, _TAP = 60, 45, 12, 55, 40, 12


@dataclass(frozen=True)
class Work:
    """Bytes to and from memory (each input and output once), and float32 operations."""

    bytes: float
    operations: float

    def microseconds(self, bytes_per_second: float, operations_per_second: float) -> float:
        """Return the larger of transfer time and arithmetic time."""
        seconds = max(self.bytes / bytes_per_second, self.operations / operations_per_second)
        return seconds * 1e6


def work(kernels: Kernels, fields: Fields, centroids: Centroids) -> dict[str, Work]:
    """Return the work of every stage for one frame, by the name of the method in ``Kernels``."""
    return _peak_work(kernels, fields) | _people_work(kernels, fields, centroids)


def _peak_work(kernels: Kernels, fields: Fields) -> dict[str, Work]:
    hough = kernels.layout.hough
    votes = vote(fields, hough)
    voters = int((fields.heat > hough.min_heat).sum())
    touched = int((votes > 0).sum())
    heights = smooth_votes(votes)
    found = int((find_peaks(fields, votes, heights, hough).score > 0).sum())
    high = int((heights > hough.peak_threshold * ONE).sum())
    slots = A * hough.max_peaks
    outputs = slots * (3 + 1 + 2 * MAX_DEGREE + 2 * A)
    reads = 1 + 2 * A + 2 * MAX_DEGREE * (1 + hough.refine_steps) + MAX_DEGREE * hough.refine_steps
    pixels = kernels.image.shape[2] * kernels.image.shape[3]
    return {
        "preprocess": Work(kernels.frame.size + 12 * pixels, 10 * pixels),
        "vote": Work(
            4 * fields.heat.size + 8 * voters + 4 * votes.size + 8 * touched, _SPLAT * voters
        ),
        "find_maxima": Work(4 * votes.size, 20 * votes.size + _MAXIMUM * high),
        "pick_peaks": Work(8 * found + 36 * found + 12 * slots, 60 * found),
        "read_peaks": Work(16 * reads * found + 4 * outputs, _READ * reads * found),
    }


def _people_work(kernels: Kernels, fields: Fields, centroids: Centroids) -> dict[str, Work]:
    config, cells = AssignConfig(), foreground(fields, AssignConfig())
    phi = membership(fields, centroids, cells, config, CentroidMode.WEIGHTED)
    people, every = len(centroids), fields.log_sigma.size
    height, width = fields.log_sigma.shape
    x = cell_centres(height, width, fields.stride).reshape(-1, 2)[cells]
    box = reach_boxes(centroids)[:, None]
    near = ((x >= box[..., :2]) & (x <= box[..., 2:])).all(axis=-1).sum(axis=1)
    used = (centroids.weight > 0).sum(axis=1)
    anchors = int((centroids.weight > 0).any(axis=0).sum())
    member = int((phi.max(axis=0, initial=0) > 0.5).sum())
    pixels = math.prod(fields.letterbox.frame_size)
    spread = int((phi > config.min_phi).sum()) * (pixels / every)
    window = (2 * math.ceil(fields.radius / fields.stride) + 1) ** 2 * math.pi / 4  # cells
    read = people * A * (36 + 4 + 3 * window)
    # every second anchor (stage_times.py), two steps, two components of all anchors, four cells
    reads = people * A // 2 * 2 * 2 * A * 4
    return {
        "refine_unmatched": Work(4 * reads, _READ * reads),
        "read_poses": Work(4 * read, people * A * (_ANCHOR * window + 100)),
        "pool": Work(4 * fields.seg.size + 4 * every, fields.seg.size),
        "membership": Work(
            4 * every * people + 16 * every + 8 * anchors * len(cells),
            float(_ANCHOR * (near * used).sum()),
        ),
        "mean_shift": Work(4 * every * (people + 1) + 8 * A * member, 8 * A * member),
        "paint": Work(
            2 * pixels + 8 * every + 4 * np.count_nonzero(phi > 0) + 4 * fields.seg.size,
            _PIXEL * pixels + _TAP * spread,
        ),
    }

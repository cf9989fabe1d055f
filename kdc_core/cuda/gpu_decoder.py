"""Fields on the GPU to poses and centroids: the twin of ``decode.find_poses``.

Grouping, a short walk over a few hundred candidates, is the CPU's; it gets the peaks, and what else
it needs of votes and fields is read at the placed people and comes back as some numbers per anchor.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from kdc_core.config import DecodeConfig
from kdc_core.cuda.kernels import Kernels
from kdc_core.decode import anchor_weights, group, rank_poses
from kdc_core.types import Centroids, Poses


def find_poses(
    kernels: Kernels, config: DecodeConfig, lap: Callable[[str], None] = lambda stage: None
) -> tuple[Poses, Centroids]:
    """Skeletons of the frame whose fields ``kernels`` hold, and what attracts their pixels."""
    layout = kernels.layout
    kernels.vote()
    kernels.find_peaks()
    peaks = kernels.download_peaks()
    lap("hough")
    poses = kernels.refine_unmatched(group(peaks, layout.radius, config.group), config.group)
    lap("group")
    poses, centroids = _select(kernels, poses, config)
    lap("select")
    return poses, centroids


def _select(kernels: Kernels, poses: Poses, config: DecodeConfig) -> tuple[Poses, Centroids]:
    """Who is likely enough, best first; ``poses`` have no votes yet where no peak was claimed."""
    read = kernels.measure(poses, config.centroid)
    poses, order = rank_poses(poses, read.anchor_score, kernels.layout.radius)
    likely = np.flatnonzero(poses.objectness >= config.score.min_objectness)
    poses, read = poses[likely], read[order[likely]]
    weight, primary = anchor_weights(read.confidence, poses, config.centroid)
    return poses, Centroids(
        xy=poses.xy, weight=weight, confidence=read.confidence, sigma=read.sigma, scale=read.scale,
        primary=primary,
    )  # fmt: skip

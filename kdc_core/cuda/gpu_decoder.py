"""Find poses and centroids in fields on the GPU, as ``decode.find_poses`` does on the CPU.

Grouping visits only a few hundred candidates and runs on the CPU. It needs the peaks alone. Votes
and fields are then measured on the GPU at the anchors of the grouped people, and some numbers per
anchor come back.
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
    """Return poses and centroids of the frame whose fields ``kernels`` hold.

    Args:
        kernels: buffers with the fields of the frame.
        config: settings of all stages.
        lap: called with the name of each stage when it ends.
    """
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
    """Return the people with enough objectness, best first.

    ``poses`` have no anchor score yet where no peak is matched.
    """
    read = kernels.measure(poses, config.centroid)
    poses, order = rank_poses(poses, read.anchor_score, kernels.layout.radius)
    likely = np.flatnonzero(poses.objectness >= config.score.min_objectness)
    poses, read = poses[likely], read[order[likely]]
    weight, primary = anchor_weights(read.confidence, poses, config.centroid)
    return poses, Centroids(
        xy=poses.xy,
        weight=weight,
        confidence=read.confidence,
        sigma=read.sigma,
        scale=read.scale,
        primary=primary,
    )

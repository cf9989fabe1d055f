"""Fields on the GPU to poses and centroids: the twin of ``decode.find``.

Grouping, a short walk over a few hundred candidates, is the CPU's; it gets the peaks, and what else
it needs of votes and fields is read at the placed people and comes back as some numbers per anchor.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from kdc_core.config import DecodeConfig
from kdc_core.cuda.kernels import Kernels, PoseReadings
from kdc_core.decode.centroid import anchor_weights
from kdc_core.decode.group import group, instance_scores
from kdc_core.skeleton import A
from kdc_core.types import Centroids, Poses

#: stands for votes that stay on the GPU: everywhere 0
_NO_VOTES = np.zeros((A, 1, 1), np.int32)


def find(
    kernels: Kernels, config: DecodeConfig, lap: Callable[[str], None] = lambda stage: None
) -> tuple[Poses, Centroids]:
    """Skeletons of the frame whose fields ``kernels`` hold, and what attracts their pixels."""
    layout = kernels.layout
    kernels.vote()
    kernels.find_peaks()
    peaks = kernels.download_peaks()
    lap("hough")
    poses = group(peaks, _NO_VOTES, layout.radius, layout.hough.vote_stride, config.group)
    lap("group")
    poses, centroids = _select(kernels, poses, config)
    lap("select")
    return poses, centroids


def _select(kernels: Kernels, poses: Poses, config: DecodeConfig) -> tuple[Poses, Centroids]:
    """Who is likely enough, best first; ``poses`` have no votes yet where no peak was claimed."""
    read = kernels.measure(poses, config.centroid)
    poses, read = _ranked(poses, read, kernels.layout.radius)
    likely = np.flatnonzero(poses.presence >= config.score.min_presence)
    poses, read = poses[likely], read[likely]
    weight, primary = anchor_weights(read.confidence, poses, config.centroid)
    return poses, Centroids(
        xy=poses.xy, weight=weight, confidence=read.confidence, sigma=read.sigma, scale=read.scale,
        primary=primary,
    )  # fmt: skip


def _ranked(poses: Poses, read: PoseReadings, radius: float) -> tuple[Poses, PoseReadings]:
    """Poses with the votes at all their anchors, scored and sorted as ``group`` does."""
    score = instance_scores(poses.xy, read.disk, radius)
    order = np.argsort(-score, kind="stable")
    return replace(poses, disk=read.disk.astype(np.float32), score=score)[order], read[order]

"""Fields to people: Hough votes, peaks, grouping, centroids, pixels (NumPy; the kernels' twins)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from kdc_core.config import DecodeConfig
from kdc_core.decode.assign import assign
from kdc_core.decode.centroid import select
from kdc_core.decode.group import group
from kdc_core.decode.hough import find_peaks, smooth_votes, vote
from kdc_core.decode.refine import rank_poses, refine_unmatched, votes_at
from kdc_core.decode.score import build_people
from kdc_core.types import Centroids, Fields, People, Poses


def find_poses(
    fields: Fields, config: DecodeConfig, lap: Callable[[str], None] = lambda stage: None
) -> tuple[Poses, Centroids]:
    """Skeletons of one frame and what attracts their pixels: all that comes before the masks."""
    votes = vote(fields, config.hough)
    heights = smooth_votes(votes)
    peaks = find_peaks(fields, votes, heights, config.hough)
    lap("hough")
    poses = group(peaks, fields.radius, config.group)
    poses = refine_unmatched(fields, poses, config.group)
    read = votes_at(heights, poses.xy, config.hough.vote_stride)
    poses, _ = rank_poses(poses, np.where(poses.matched, poses.anchor_score, read), fields.radius)
    poses = poses[poses.objectness >= config.score.min_objectness]
    lap("group")
    centroids = select(fields, poses, config.centroid)
    lap("select")
    return poses, centroids


def decode(
    fields: Fields, config: DecodeConfig, lap: Callable[[str], None] = lambda stage: None
) -> People:
    """All people of one frame; ``lap`` is called with the name of each stage that has finished."""
    poses, centroids = find_poses(fields, config, lap)
    ids = np.arange(1, len(poses) + 1)
    instances = assign(fields, centroids, ids, config.assign, config.centroid.mode)
    lap("assign")
    found = build_people(poses, centroids, instances, fields.letterbox, config.score)
    lap("score")
    return found

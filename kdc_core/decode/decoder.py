"""Decode fields to people: votes, peaks, poses, centroids, pixels."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from kdc_core.config import DecodeConfig
from kdc_core.decode.assign import assign
from kdc_core.decode.centroid import select
from kdc_core.decode.group import group
from kdc_core.decode.hough import find_peaks, smooth_votes, vote
from kdc_core.decode.rank import rank_poses
from kdc_core.decode.refine import refine_unmatched, votes_at
from kdc_core.decode.score import build_people
from kdc_core.types import Centroids, Fields, People, Poses


def find_poses(
    fields: Fields, config: DecodeConfig, lap: Callable[[str], None] = lambda stage: None
) -> tuple[Poses, Centroids]:
    """Return the poses of one frame and their centroids: all stages before the masks.

    Poses are ranked twice: in ``group`` by their matched anchors, because duplicates must be
    suppressed before the rest is refined, and here by the votes at all anchors.

    Args:
        fields: network output of the frame.
        config: parameters of all stages.
        lap: is called with the name of each stage that has finished.
    """
    votes = vote(fields, config.hough)
    heights = smooth_votes(votes)
    peaks = find_peaks(fields, votes, heights, config.hough)
    lap("hough")
    poses = group(peaks, fields.radius, config.group)
    poses = refine_unmatched(fields, poses, config.group)
    read = votes_at(heights, poses.xy, config.hough.vote_stride)
    anchor_score = np.where(poses.matched, poses.anchor_score, read)
    poses, _ = rank_poses(poses, anchor_score, fields.radius)
    poses = poses[poses.objectness >= config.score.min_objectness]
    lap("group")
    centroids = select(fields, poses, config.centroid)
    lap("select")
    return poses, centroids


def decode(
    fields: Fields, config: DecodeConfig, lap: Callable[[str], None] = lambda stage: None
) -> People:
    """Return all people of one frame with ids 1, 2, …; arguments as in ``find_poses``."""
    poses, centroids = find_poses(fields, config, lap)
    ids = np.arange(1, len(poses) + 1)
    instances = assign(fields, centroids, ids, config.assign, config.centroid.mode)
    lap("assign")
    people = build_people(poses, centroids, instances, fields.letterbox, config.score)
    lap("score")
    return people

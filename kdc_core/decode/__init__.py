"""Decode fields to people: votes, peaks, poses, centroids, pixels.

These NumPy functions are the reference implementations of the CUDA kernels in ``kdc_core.cuda``.
"""

from kdc_core.decode.assign import (
    FINE,
    MEMBER,
    REACH_SCALES,
    REACH_SIGMAS,
    assign,
    foreground,
    membership,
    reach_boxes,
)
from kdc_core.decode.centroid import MIN_SURE, SURE_SCORE, anchor_weights, select, weigh_anchors
from kdc_core.decode.decoder import decode, find_poses
from kdc_core.decode.group import group
from kdc_core.decode.hough import ONE, find_peaks, smooth_votes, vote
from kdc_core.decode.paint import SHARP, SLACK
from kdc_core.decode.phi import NEAR, inverse_square_weights, mean_distance, phi
from kdc_core.decode.rank import rank_poses, suppress_duplicates
from kdc_core.decode.refine import refine_unmatched
from kdc_core.decode.sample import PERSON, FrameGrid, person_share
from kdc_core.decode.score import build_people

__all__ = [
    "FINE",
    "MEMBER",
    "MIN_SURE",
    "NEAR",
    "ONE",
    "PERSON",
    "REACH_SCALES",
    "REACH_SIGMAS",
    "SHARP",
    "SLACK",
    "SURE_SCORE",
    "FrameGrid",
    "anchor_weights",
    "assign",
    "build_people",
    "decode",
    "find_peaks",
    "find_poses",
    "foreground",
    "group",
    "inverse_square_weights",
    "mean_distance",
    "membership",
    "person_share",
    "phi",
    "rank_poses",
    "reach_boxes",
    "refine_unmatched",
    "select",
    "smooth_votes",
    "suppress_duplicates",
    "vote",
    "weigh_anchors",
]

"""Decode fields to people: votes, peaks, poses, centroids, pixels.

These NumPy functions are the reference implementations of the CUDA kernels in ``kdc_core.cuda``.
"""

from kdc_core.decode.assign import FINE, assign, foreground, membership, reach_boxes
from kdc_core.decode.centroid import anchor_weights, select, weigh_anchors
from kdc_core.decode.decoder import decode, find_poses
from kdc_core.decode.group import group, suppress_duplicates
from kdc_core.decode.hough import ONE, find_peaks, smooth_votes, vote
from kdc_core.decode.paint import SHARP
from kdc_core.decode.refine import rank_poses, refine_unmatched
from kdc_core.decode.sample import PERSON, FrameGrid, person_share
from kdc_core.decode.score import build_people

__all__ = [
    "FINE",
    "ONE",
    "PERSON",
    "SHARP",
    "FrameGrid",
    "anchor_weights",
    "assign",
    "build_people",
    "decode",
    "find_peaks",
    "find_poses",
    "foreground",
    "group",
    "membership",
    "person_share",
    "rank_poses",
    "reach_boxes",
    "refine_unmatched",
    "select",
    "smooth_votes",
    "suppress_duplicates",
    "vote",
    "weigh_anchors",
]

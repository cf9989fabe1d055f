"""Decode fields to people: votes, peaks, poses, centroids, pixels.

These NumPy functions are the reference implementations of the CUDA kernels in ``kdc_core.cuda``.
"""

from kdc_core.decode.assign import FINE, assign, foreground, membership, reach_boxes
from kdc_core.decode.centroid import anchor_weights, carriers, select
from kdc_core.decode.decoder import decode, find
from kdc_core.decode.group import distinct, group
from kdc_core.decode.hough import ONE, find_peaks, smooth, vote
from kdc_core.decode.paint import SHARP
from kdc_core.decode.refine import rank, settle
from kdc_core.decode.sample import PERSON, FrameGrid, person_share
from kdc_core.decode.score import people

__all__ = [
    "FINE",
    "ONE",
    "PERSON",
    "SHARP",
    "FrameGrid",
    "anchor_weights",
    "assign",
    "carriers",
    "decode",
    "distinct",
    "find",
    "find_peaks",
    "foreground",
    "group",
    "membership",
    "people",
    "person_share",
    "rank",
    "reach_boxes",
    "select",
    "settle",
    "smooth",
    "vote",
]

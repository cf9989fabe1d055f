"""Keypoints, anchors and edges of a person, and the channels of the network's heads.

Keypoint order, flip pairs and OKS constants are COCO's. The edge tree is PersonLab's; four edges
from ``CENTRE`` are added so that a person can be seeded from the middle of its mask. Channel
counts are defined only here (``HEADS``): targets, network, losses, decoder and kernels read them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

KEYPOINTS = (
    "nose", "left_eye", "right_eye", "left_ear", "right_ear",
    "left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist",
    "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle",
)  # fmt: skip
ANCHORS = (*KEYPOINTS, "centre")
K = len(KEYPOINTS)  # 17
A = len(ANCHORS)  # 18
CENTRE = A - 1  # mean of the pixels of the mask (eq. 1), the static centroid SM_c

#: index of the mirrored anchor after a horizontal flip
FLIP = np.array([0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15, 17])

#: COCO's per-keypoint sigmas; OKS uses kappa = 2 * sigma
OKS_SIGMAS = np.array([26, 25, 25, 35, 35, 79, 79, 72, 72, 62, 62, 107, 107, 87, 87, 89, 89]) / 1e3

#: undirected edges (a, b); directed edge 2e leads a → b, directed edge 2e + 1 leads b → a
EDGES = (
    (0, 1), (0, 2), (0, 5), (0, 6), (1, 3), (2, 4), (5, 11), (6, 12), (11, 13), (12, 14),
    (13, 15), (14, 16), (5, 7), (6, 8), (7, 9), (8, 10), (17, 5), (17, 6), (17, 11), (17, 12),
)  # fmt: skip
DIRECTED = tuple(pair for a, b in EDGES for pair in ((a, b), (b, a)))
#: OUT_EDGES[a] = ((directed edge, b), ...), the edges that leave anchor a
OUT_EDGES = tuple(
    tuple((e, b) for e, (source, b) in enumerate(DIRECTED) if source == a) for a in range(A)
)
MAX_DEGREE = max(len(edges) for edges in OUT_EDGES)  # 4

#: edges that are drawn: the usual COCO limbs
LIMBS = (
    (15, 13), (13, 11), (16, 14), (14, 12), (11, 12), (5, 11), (6, 12), (5, 6), (5, 7), (6, 8),
    (7, 9), (8, 10), (1, 2), (0, 1), (0, 2), (1, 3), (2, 4), (3, 5), (4, 6),
)  # fmt: skip


@dataclass(frozen=True)
class HeadSpec:
    """One head of the network: its name, channels, activation in the graph, and unit."""

    name: str
    channels: int
    activation: str  # "sigmoid" or "linear"
    unit: str


#: heads on the offset grid, in the channel order of the network's output tensor ``fields``
HEADS = (
    HeadSpec("heat", A, "sigmoid", "probability that the cell lies in the anchor's disk"),
    HeadSpec("short", 2 * A, "linear", "R, cell → nearest anchor of this type"),
    HeadSpec("mid", 2 * len(DIRECTED), "linear", "R, cell in disk a → anchor b, same person"),
    HeadSpec("anchor", 2 * A, "linear", "R, person's cell → each of its own anchors"),
    HeadSpec("log_sigma", 1, "linear", "log(sigma / R) of eq. 3"),
    HeadSpec("vis", K, "sigmoid", "probability that the keypoint is visible, given it is here"),
)
#: the person mask has its own, finer grid and its own output tensor ``seg``
SEG = HeadSpec("seg", 1, "sigmoid", "probability that the cell is a person")
CHANNELS = sum(head.channels for head in HEADS)  # 188
#: names of the network's fields, those of ``types.Fields``
FIELDS = tuple(head.name for head in (*HEADS, SEG))


def channel_slices() -> dict[str, slice]:
    """Return the channels of each head in the output tensor ``fields``."""
    slices, start = {}, 0
    for head in HEADS:
        slices[head.name] = slice(start, start + head.channels)
        start += head.channels
    return slices

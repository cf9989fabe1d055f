"""Edit and encode label images: (H, W) uint16, pixel = id of the person, 0 = background."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np


def erase(labels: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Return ``labels`` with all pixels of the given ids set to background.

    Args:
        labels: label image (H, W) uint16; it is not modified.
        ids: (N,) labels to erase. With N = 0 the input itself is returned.
    """
    if not len(ids):
        return labels
    keep = np.ones(1 + max(int(labels.max(initial=0)), int(ids.max())), np.uint16)
    keep[ids] = 0
    return labels * keep[labels]


def run_lengths(mask: np.ndarray) -> dict[str, Any]:
    """Return a mask (H, W) bool as COCO's compressed run-length encoding.

    The result is ``{"size": [H, W], "counts": text}``, which ``pycocotools.mask.decode`` reads.
    """
    flat = np.concatenate([[False], mask.ravel(order="F"), [False]])
    edges = np.flatnonzero(flat[1:] != flat[:-1])
    # runs of background and mask take turns along the columns, background first
    bounds = [0, *edges.tolist()]
    if bounds[-1] < mask.size:
        bounds.append(mask.size)
    runs = [end - start for start, end in pairwise(bounds)]
    # from the fourth run on, the difference to the run before the last is stored
    values = [run - runs[i - 2] if i > 2 else run for i, run in enumerate(runs)]
    return {"size": list(mask.shape), "counts": "".join(map(_number, values))}


def _number(value: int) -> str:
    """Return an integer as characters of 5 bits, lowest first, as COCO's maskApi.c writes it."""
    text = ""
    while True:
        bits = value & 31
        value >>= 5
        more = value != (-1 if bits & 16 else 0)
        text += chr((bits | 32 if more else bits) + 48)
        if not more:
            return text

"""What goes wrong: annotated people by kind of error and size, and predictions of nobody."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from pycocotools import mask as rle

from kdc_core.io import table
from kdc_core.types import People
from kdc_lab.evaluate.annotated_images import Dataset
from kdc_lab.evaluate.coco_metrics import as_rle

SURE = 0.25  # larger of a prediction's scores from which it counts: a robot's threshold
FOUND = 0.5  # IoU
CLOSE = 0.1  # IoU, or share of a prediction's pixels, below which two have nothing in common
SIZES = {"small": 32**2, "medium": 96**2, "large": np.inf}  # COCO: pixels² below which
#: what can be said of an annotated person with a mask
KINDS = ("found", "localisation", "merged", "split", "missed")
#: … and of a prediction that is nobody's best
FALSE = ("duplicate", "background")


@dataclass(frozen=True)
class Errors:
    """One picture's people by (size, kind), and its predictions that are nobody's best by kind."""

    people: Counter[tuple[str, str]]
    predictions: Counter[str]

    @property
    def badness(self) -> int:
        """Errors that a robot would notice: people above the small ones, and false predictions."""
        wrong = sum(
            n for (size, kind), n in self.people.items() if kind != "found" and size != "small"
        )
        return wrong + sum(self.predictions.values())


def errors(dataset: Dataset, image: int, people: People) -> Errors:
    """Judge the masks of one picture.

    A person is *found* by its best prediction at IoU 0.5 or more, if that is no other person's
    best. One that is not is *merged* if a prediction of another person covers half of it; *split*
    if two or more predictions that lie in it would find it together; a *localisation* error if its
    best prediction overlaps by 0.1 or more; else *missed*. A prediction that is nobody's best is a
    *duplicate* on a person, or *background*. Crowd regions and people without a mask ask for
    nothing, and excuse what lies on them.
    """
    people = people[np.maximum(people.score, people.mask_score) >= SURE]
    size = people.labels.shape
    annotated = dataset.people[image]
    truth = [a for a in annotated if a["segmentation"] and not a["iscrowd"]]
    masks = [rle.decode(as_rle(a["segmentation"], size)).astype(bool) for a in truth]
    found = [people.labels == identity for identity in people.ids]
    shared = np.array([[np.count_nonzero(a & b) for b in found] for a in masks], float)
    shared = shared.reshape(len(masks), len(found))
    area = np.array([np.count_nonzero(a) for a in masks], float)
    own = np.array([np.count_nonzero(b) for b in found], float)
    iou = shared / np.maximum(area[:, None] + own - shared, 1)
    whose = np.where(iou.max(axis=0, initial=0) >= CLOSE, _argmax(iou, 0), -1)  # per prediction
    best = _argmax(iou, 1)  # per person
    kinds = [
        _kind(j, best[j], iou, shared, area, own, whose, found, masks) for j in range(len(masks))
    ]
    sizes = [next(name for name, limit in SIZES.items() if a["area"] < limit) for a in truth]
    wanted = (
        {int(best[j]) for j in range(len(masks)) if iou[j, best[j]] >= CLOSE} if found else {-1}
    )
    excused = _excused(annotated, size)
    false = Counter(
        "duplicate" if whose[k] >= 0 or shared[:, k].sum() >= 0.5 * own[k] else "background"
        for k in range(len(found))
        if k not in wanted and own[k] and np.count_nonzero(found[k] & excused) < 0.5 * own[k]
    )
    return Errors(Counter(zip(sizes, kinds, strict=True)), false)


def _kind(
    j: int, best: int, iou: np.ndarray, shared: np.ndarray, area: np.ndarray, own: np.ndarray,
    whose: np.ndarray, found: list[np.ndarray], masks: list[np.ndarray],
) -> str:  # fmt: skip
    if not iou.shape[1]:
        return "missed"
    if iou[j, best] >= FOUND and whose[best] == j:
        return "found"
    others = (whose >= 0) & (whose != j)
    if (shared[j, others] >= 0.5 * area[j]).any():
        return "merged"
    inside = np.flatnonzero((shared[j] >= 0.5 * own) & (own > 0))
    if len(inside) > 1:
        together = np.any([found[k] for k in inside], axis=0)
        if np.count_nonzero(together & masks[j]) >= FOUND * np.count_nonzero(together | masks[j]):
            return "split"
    return "localisation" if iou[j, best] >= CLOSE else "missed"


def _argmax(iou: np.ndarray, axis: int) -> np.ndarray:
    other = iou.shape[1 - axis]
    return iou.argmax(axis=axis) if iou.size else np.zeros(other, np.intp)


def _excused(annotated: list[dict], size: tuple[int, ...]) -> np.ndarray:
    """Pixels of crowds, and boxes of people without a mask."""
    there = np.zeros(size, bool)
    for entry in annotated:
        if entry["iscrowd"] and entry["segmentation"]:
            there |= rle.decode(as_rle(entry["segmentation"], size)).astype(bool)
        elif entry["iscrowd"] or not entry["segmentation"]:
            x, y, w, h = (round(value) for value in entry["bbox"])
            there[max(0, y) : y + h, max(0, x) : x + w] = True
    return there


def error_table(all_errors: list[Errors]) -> str:
    """Counts over all pictures in Markdown."""
    people: Counter[tuple[str, str]] = Counter()
    predictions: Counter[str] = Counter()
    for one in all_errors:
        people += one.people
        predictions += one.predictions
    rows = [[size, *(people[size, kind] for kind in KINDS)] for size in SIZES]
    false = ", ".join(f"{predictions[kind]} {kind}" for kind in FALSE)
    return (
        f"{table(['people', *KINDS], rows)}\npredictions of nobody (score {SURE} or more): {false}"
    )

"""Classify errors: annotated people by kind of error and size, and false predictions."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
from pycocotools import mask as rle

from kdc_core.io import table
from kdc_core.types import People
from kdc_lab.evaluate.annotated_images import Dataset
from kdc_lab.evaluate.coco_metrics import as_rle

MIN_SCORE = 0.25  # of the larger of a prediction's scores: the default on a robot
FOUND = 0.5  # IoU
CLOSE = 0.1  # IoU below which a prediction and a person do not overlap
SIZES = {"small": 32**2, "medium": 96**2, "large": np.inf}  # COCO: pixels² below which
#: classes of annotated people with a mask
KINDS = ("found", "localisation", "merged", "split", "missed")
#: classes of predictions that are no person's best
FALSE = ("duplicate", "background")


@dataclass(frozen=True)
class Errors:
    """Errors of one image: people by (size, kind), and false predictions by kind."""

    people: Counter[tuple[str, str]]
    predictions: Counter[str]

    @property
    def badness(self) -> int:
        """Return the number of errors that matter: without small people, with false predictions."""
        wrong = sum(
            n for (size, kind), n in self.people.items() if kind != "found" and size != "small"
        )
        return wrong + sum(self.predictions.values())


def errors(dataset: Dataset, image: int, people: People) -> Errors:
    """Classify the errors of the masks of one image.

    A person is *found* if its best prediction has an IoU of 0.5 or more and belongs to no other
    person. Otherwise it is *merged* if a prediction of another person covers half of it; *split* if
    two or more predictions inside it would find it together; a *localisation* error if its best
    prediction has an IoU of 0.1 or more; else *missed*. A prediction that is no person's best is a
    *duplicate* on a person, else *background*. Crowd regions and people without a mask are not
    classified, and predictions on them are ignored.
    """
    people = people[np.maximum(people.score, people.mask_score) >= MIN_SCORE]
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
    matched = (
        {int(best[j]) for j in range(len(masks)) if iou[j, best[j]] >= CLOSE} if found else {-1}
    )
    ignored = _ignored(annotated, size)
    false = Counter(
        "duplicate" if whose[k] >= 0 or shared[:, k].sum() >= 0.5 * own[k] else "background"
        for k in range(len(found))
        if k not in matched and own[k] and np.count_nonzero(found[k] & ignored) < 0.5 * own[k]
    )
    return Errors(Counter(zip(sizes, kinds, strict=True)), false)


def _kind(
    j: int,
    best: int,
    iou: np.ndarray,
    shared: np.ndarray,
    area: np.ndarray,
    own: np.ndarray,
    whose: np.ndarray,
    found: list[np.ndarray],
    masks: list[np.ndarray],
) -> str:
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


def _ignored(annotated: list[dict[str, Any]], size: tuple[int, ...]) -> np.ndarray:
    """Return the pixels of crowds and the boxes of people without a mask."""
    there = np.zeros(size, bool)
    for entry in annotated:
        if entry["iscrowd"] and entry["segmentation"]:
            there |= rle.decode(as_rle(entry["segmentation"], size)).astype(bool)
        elif entry["iscrowd"] or not entry["segmentation"]:
            x, y, w, h = (round(value) for value in entry["bbox"])
            there[max(0, y) : y + h, max(0, x) : x + w] = True
    return there


def error_table(all_errors: list[Errors]) -> str:
    """Return the counts over all images as a Markdown table."""
    people: Counter[tuple[str, str]] = Counter()
    predictions: Counter[str] = Counter()
    for one in all_errors:
        people += one.people
        predictions += one.predictions
    rows = [[size, *(people[size, kind] for kind in KINDS)] for size in SIZES]
    false = ", ".join(f"{predictions[kind]} {kind}" for kind in FALSE)
    return (
        f"{table(['people', *KINDS], rows)}\nfalse predictions (score {MIN_SCORE} or more): {false}"
    )

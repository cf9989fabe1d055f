"""Bootstrap intervals: average precision over resampled images, from matches made once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

RECALLS = np.linspace(0, 1, 101)  # COCO's recall points


@dataclass(frozen=True)
class Matches:
    """All detections of a run with the result of COCO's matching, best score first."""

    image: np.ndarray  # (D,) index of the detection's image
    hit: np.ndarray  # (10, D) bool: matched at each IoU or OKS threshold
    counted: np.ndarray  # (10, D) bool: not matched with a crowd or an ignored person
    truth: np.ndarray  # (I,) people to be found in each image

    @classmethod
    def of(cls, coco_eval: Any) -> Matches:
        """Read a ``COCOeval`` after ``evaluate()``, for all areas and the largest ``maxDets``."""
        count = len(coco_eval.params.imgIds)
        found = list(enumerate(coco_eval.evalImgs[:count]))  # the first area range is "all"
        found = [(image, entry) for image, entry in found if entry is not None]
        truth = np.zeros(count, np.int64)
        thresholds = len(coco_eval.params.iouThrs)
        images, scores = [np.zeros(0, np.int64)], [np.zeros(0)]
        hits, counted = [np.zeros((thresholds, 0), bool)], [np.zeros((thresholds, 0), bool)]
        for image, entry in found:
            truth[image] = np.count_nonzero(np.asarray(entry["gtIgnore"]) == 0)
            images.append(np.full(len(entry["dtScores"]), image))
            scores.append(np.asarray(entry["dtScores"], float))
            hits.append(np.asarray(entry["dtMatches"]) > 0)
            counted.append(~np.asarray(entry["dtIgnore"], bool))
        order = np.argsort(-np.concatenate(scores), kind="stable")
        return cls(
            image=np.concatenate(images)[order],
            hit=np.concatenate(hits, axis=1)[:, order],
            counted=np.concatenate(counted, axis=1)[:, order],
            truth=truth,
        )


def average_precision(matches: Matches, times: np.ndarray | None = None) -> float:
    """Return COCO's AP with every image taken ``times`` (I,) times, once by default.

    Returns:
        Mean of the precision over 101 recalls and 10 thresholds; NaN without annotated people.
    """
    if times is None:
        times = np.ones(len(matches.truth), np.int64)
    people = int((times * matches.truth).sum())
    if not people:
        return float("nan")
    weight = times[matches.image] * matches.counted  # (10, D)
    right = np.cumsum(weight * matches.hit, axis=1)
    wrong = np.cumsum(weight * ~matches.hit, axis=1)
    recall = right / people
    precision = right / np.maximum(right + wrong, np.spacing(1))
    precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    precision = np.pad(precision, ((0, 0), (0, 1)))  # 0 at recalls that are not reached
    total = 0.0
    for row, reached in zip(precision, recall, strict=True):
        total += row[np.searchsorted(reached, RECALLS, side="left")].mean()
    return total / len(precision)


def resamples(images: int, draws: int, seed: int = 0) -> np.ndarray:
    """Return how often each image is in each resample (draws, I); equal seeds pair two runs."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(images, np.full(images, 1 / images), size=draws)


def interval(values: np.ndarray) -> tuple[float, float]:
    """Return the central 95 % of resampled values."""
    low, high = np.nanquantile(values, (0.025, 0.975))
    return float(low), float(high)


def grouped(
    lists: list[list[float]], draws: int, of: Callable[[Any], Any]
) -> tuple[float | None, float | None, float | None]:
    """Return a figure over all values, and the 95 % interval of their mean over the lists.

    Values of one list, such as the people of an image, are drawn together, because they are not
    independent.

    Args:
        lists: lists of values.
        draws: number of resamples; 0: no interval.
        of: computes the figure from all values.

    Returns:
        (figure, low, high); None where there are no values or no interval.
    """
    every = [value for values in lists for value in values]
    if not every:
        return None, None, None
    low = high = None
    if draws:
        picks = np.random.default_rng(0).integers(len(lists), size=(draws, len(lists)))
        sums = np.array([(sum(v), len(v)) for v in lists])[picks].sum(axis=1)
        low, high = (round(b, 4) for b in interval(sums[:, 0] / np.maximum(sums[:, 1], 1)))
    return round(float(of(every)), 4), low, high

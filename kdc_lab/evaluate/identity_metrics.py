"""Tracking metrics HOTA, IDF1 and CLEAR on similarity matrices.

A sequence is a list of frames, each with the ids of the ground truth (G,), the ids of the
prediction (P,) and their similarity (G, P) in 0…1, such as mask IoU.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

ALPHAS = np.arange(0.05, 0.99, 0.05)  # similarity thresholds of HOTA
SAME = 0.5  # similarity threshold of IDF1 and CLEAR
_EPS = 1e-9


@dataclass(frozen=True)
class Frame:
    """Ground truth and prediction of one frame."""

    truth: np.ndarray  # (G,) int ids
    answer: np.ndarray  # (P,) int ids
    similarity: np.ndarray  # (G, P)


def has_people(frames: Sequence[Frame]) -> bool:
    """Return True if a person is annotated or found; otherwise HOTA and IDF1 are undefined."""
    return any(len(frame.truth) or len(frame.answer) for frame in frames)


def hota(frames: Sequence[Frame]) -> dict[str, float]:
    """Return HOTA, DetA and AssA: means over ``ALPHAS``, 0 without people. Luiten et al., 2021."""
    truths, answers = _numbered(frames)
    seen, given = _totals(truths), _totals(answers)
    if not len(seen) or not len(given):
        return {"HOTA": 0.0, "DetA": 0.0, "AssA": 0.0}
    align = _alignment(frames, truths, answers, seen, given)
    hits = np.zeros((len(ALPHAS), len(seen), len(given)))
    for frame, truth, answer in zip(frames, truths, answers, strict=True):
        where = np.ix_(truth, answer)
        rows, columns = linear_sum_assignment(align[where] * frame.similarity, maximize=True)
        good = frame.similarity[rows, columns] >= ALPHAS[:, None] - _EPS
        for level in range(len(ALPHAS)):
            pick = good[level]
            hits[level, truth[rows[pick]], answer[columns[pick]]] += 1
    found = hits.sum(axis=(1, 2))
    detection = found / np.maximum(seen.sum() + given.sum() - found, 1)
    jaccard = hits / np.maximum(seen[:, None] + given - hits, 1)
    association = (hits * jaccard).sum(axis=(1, 2)) / np.maximum(found, 1)
    return {
        "HOTA": float(np.sqrt(detection * association).mean()),
        "DetA": float(detection.mean()),
        "AssA": float(association.mean()),
    }


def idf1(frames: Sequence[Frame]) -> tuple[float, dict[int, int]]:
    """Return IDF1 and its one-to-one matching (truth id → predicted id). Ristani et al., 2016."""
    truths, answers = _numbered(frames)
    seen, given = _totals(truths), _totals(answers)
    together = np.zeros((len(seen), len(given)))
    for frame, truth, answer in zip(frames, truths, answers, strict=True):
        rows, columns = np.nonzero(frame.similarity >= SAME)
        together[truth[rows], answer[columns]] += 1
    rows, columns = linear_sum_assignment(together, maximize=True)
    hits = together[rows, columns]
    total = seen.sum() + given.sum()
    names = _names(frames, truths, "truth"), _names(frames, answers, "answer")
    naming = {
        int(names[0][r]): int(names[1][c])
        for r, c in zip(rows, columns, strict=True)
        if together[r, c]
    }
    return float(2 * hits.sum() / max(1, total)), naming


def switches(frames: Sequence[Frame]) -> list[tuple[int, int]]:
    """Return CLEAR's identity switches: (frame, truth id) where a person's matched id changed."""
    matched: dict[int, int] = {}
    events = []
    for index, frame in enumerate(frames):
        score = np.where(frame.similarity >= SAME, frame.similarity, 0)
        for row, truth in enumerate(frame.truth):  # a matched pair stays while it is similar
            held = frame.answer == matched.get(int(truth), -1)
            score[row, held & (score[row] > 0)] += 1000
        for row, column in zip(*linear_sum_assignment(score, maximize=True), strict=True):
            if score[row, column] <= 0:
                continue
            truth, answer = int(frame.truth[row]), int(frame.answer[column])
            if matched.get(truth, answer) != answer:
                events.append((index, truth))
            matched[truth] = answer
    return events


def _numbered(frames: Sequence[Frame]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return the ids as 0…n-1, for ground truth and prediction."""
    columns = []
    for name in ("truth", "answer"):
        ids = [getattr(frame, name) for frame in frames]
        known = np.unique(np.concatenate([*ids, np.zeros(0, int)]))
        columns.append([np.searchsorted(known, part).astype(np.intp) for part in ids])
    return columns[0], columns[1]


def _names(frames: Sequence[Frame], numbered: list[np.ndarray], name: str) -> dict[int, int]:
    pairs = (
        zip(numbers.tolist(), getattr(frame, name).tolist(), strict=True)
        for frame, numbers in zip(frames, numbered, strict=True)
    )
    return {number: identity for pair in pairs for number, identity in pair}


def _totals(numbered: list[np.ndarray]) -> np.ndarray:
    """Return the number of frames in which each number occurs."""
    return np.bincount(np.concatenate([*numbered, np.zeros(0, np.intp)])).astype(float)


def _alignment(
    frames: Sequence[Frame],
    truths: list[np.ndarray],
    answers: list[np.ndarray],
    seen: np.ndarray,
    given: np.ndarray,
) -> np.ndarray:
    """Return HOTA's global alignment score of each pair of ids."""
    potential = np.zeros((len(seen), len(given)))
    for frame, truth, answer in zip(frames, truths, answers, strict=True):
        value = frame.similarity
        either = value.sum(axis=0)[None] + value.sum(axis=1)[:, None] - value
        potential[np.ix_(truth, answer)] += np.where(either > _EPS, value / (either + _EPS), 0)
    union: np.ndarray = potential / (seen[:, None] + given - potential)
    return union

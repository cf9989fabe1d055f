"""Decide by score which people are reported."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from kdc_core.labels import erase
from kdc_core.types import People

#: ids that are remembered; ids only grow, so older ones do not come back
REMEMBERED = 1000


def reaches(people: People, min_score: float) -> np.ndarray:
    """Return (P,) bool: the larger of ``score`` and ``mask_score`` is at least ``min_score``."""
    return np.asarray(np.maximum(people.score, people.mask_score) >= min_score)


def drop(people: People, keep: np.ndarray) -> People:
    """Return the people where ``keep`` (P,) bool is True; the pixels of the others are erased."""
    if keep.all():
        return people
    return replace(people[keep], labels=erase(people.labels, people.ids[~keep]))


def drop_below(people: People, min_score: float) -> People:
    """Return the people of one frame whose score reaches ``min_score``."""
    return drop(people, reaches(people, min_score))


class ScoreGate:
    """Reports a tracked person from the first frame in which the score reaches ``min_score``.

    Later frames of the same id are reported at any score, because a person's score falls while
    another person is in front. A new value of ``min_score`` applies to all people anew.
    """

    def __init__(self) -> None:
        self._min_score = -1.0
        self._passed: set[int] = set()

    @property
    def remembered(self) -> int:
        """Number of ids that are reported at any score."""
        return len(self._passed)

    def __call__(self, people: People, min_score: float) -> People:
        """Return the people that are reported; the pixels of the others are erased."""
        if min_score != self._min_score:
            self._min_score, self._passed = min_score, set()
        ids = people.ids.tolist()
        self._passed.update(people.ids[reaches(people, min_score)].tolist())
        if len(self._passed) > 2 * REMEMBERED:
            newest = sorted(self._passed)[-REMEMBERED:]
            self._passed = {*newest, *self._passed.intersection(ids)}
        return drop(people, np.array([one in self._passed for one in ids], bool))

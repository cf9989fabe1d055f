"""Who of the tracked people is reported."""

from __future__ import annotations

import numpy as np

from kdc_core.types import People

REMEMBERED = 1000  # ids are given in order: older ones do not come back


class Admission:
    """``admission(people, threshold)``: whoever has once reached the threshold, while it stands.

    A tracked person may fade, behind others for example, and stays reported; another threshold is
    asked of everybody anew, from the next picture on.
    """

    def __init__(self) -> None:
        self._threshold = -1.0
        self._admitted: set[int] = set()

    def __call__(self, people: People, threshold: float) -> People:
        """The admitted people; pixels of the others are nobody's."""
        if threshold != self._threshold:
            self._threshold, self._admitted = threshold, set()
        sure = np.maximum(people.score, people.mask_score) >= threshold
        self._admitted.update(people.ids[sure].tolist())
        if len(self._admitted) > 2 * REMEMBERED:
            self._admitted = set(sorted(self._admitted)[-REMEMBERED:])
        keep = np.isin(people.ids, list(self._admitted))
        if keep.all():
            return people
        table = np.ones(1 + int(people.labels.max(initial=0)), np.uint16)
        gone = people.ids[~keep]
        table[gone[gone < len(table)]] = 0
        kept = people[keep]
        columns = {name: getattr(kept, name) for name in kept.__dataclass_fields__}
        return People(**{**columns, "labels": people.labels * table[people.labels]})

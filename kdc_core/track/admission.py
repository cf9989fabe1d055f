"""Who of the tracked people is reported."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from kdc_core.decode.score import without
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
        ids = people.ids.tolist()
        sure = (np.maximum(people.score, people.mask_score) >= threshold).tolist()
        self._admitted.update(one for one, is_sure in zip(ids, sure, strict=True) if is_sure)
        if len(self._admitted) > 2 * REMEMBERED:
            newest = sorted(self._admitted)[-REMEMBERED:]
            self._admitted = {*newest, *self._admitted.intersection(ids)}
        if self._admitted.issuperset(ids):
            return people
        keep = np.array([one in self._admitted for one in ids])
        return replace(people[keep], labels=without(people.labels, people.ids[~keep]))

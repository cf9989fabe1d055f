"""Rows of people, for both encoders of PersonArray."""

from __future__ import annotations

import numpy as np
import pytest

from kdc_core.person_rows import best_first, person_rows, whole_boxes
from tests.people import two_people


def test_person_rows_are_plain_numbers_best_score_first() -> None:
    first, second = person_rows(two_people())
    assert (first.row, first.id, first.phase, first.score) == (1, 3, 3, 0.75)
    assert (second.row, second.id, second.mask_score) == (0, 7, 0.5)
    assert second.keypoints[13] == [39.0, 40.0, 41.0]
    assert second.visible == [k % 3 == 0 for k in range(17)]
    assert (second.centroid, second.centroid_name) == (17, "centre")
    assert first.centroid_name == "left_ankle" and list(first.centroid_xy) == [3.0, 47.0]
    assert type(first.id) is int and type(first.score) is float and type(first.visible[0]) is bool


def test_best_first_keeps_the_order_of_equal_scores() -> None:
    people = two_people()
    people.score[:] = 0.5
    assert best_first(people).tolist() == [0, 1]


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((5, 10, 9, 20), (5, 10, 4, 10)),  # the box of a mask is exact
        ((5.2, 10.9, 8.1, 19.5), (5, 10, 4, 10)),  # grows to the next border
        ((-3.5, 40.2, 12.1, 60), (0, 40, 13, 8)),  # clipped to the image
        ((-20, -30, -10, -5), (0, 0, 0, 0)),  # left of and above the image
        ((70, 50, 90, 60), (63, 47, 1, 1)),  # right of and below it: the last pixel
    ],
)
def test_whole_boxes(box: tuple[float, ...], expected: tuple[int, ...]) -> None:
    assert tuple(whole_boxes(np.array([box], np.float32), (48, 64))[0].tolist()) == expected

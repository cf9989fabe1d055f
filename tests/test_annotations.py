"""Annotation files: what is no COCO file is refused in one line, people are found by name."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdc_core.annotations import person_category, read_annotations


@given(st.binary(max_size=40))
def test_files_that_are_not_coco_are_refused(tmp_path_factory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("any") / "file.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"expected a COCO annotation file"):
        read_annotations(path)


def test_a_file_without_pictures_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    path.write_text('{"images": [], "annotations": []}')
    with pytest.raises(ValueError, match="the list `images` is empty"):
        read_annotations(path)


@pytest.mark.parametrize(
    ("categories", "expected"),
    [
        (None, 1),
        ([], 1),
        ([{"id": 1, "name": "person"}], 1),
        ([{"id": 0, "name": "dog"}, {"id": 3, "name": "person"}], 3),
        ([{"id": 0, "name": "pedestrian"}], 0),
    ],
)
def test_people_are_the_category_person_or_the_only_one(categories, expected: int) -> None:
    assert person_category({"categories": categories}) == expected


@pytest.mark.parametrize(
    ("categories", "message"),
    [
        ([{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}], "called person, got cat, dog"),
        ([{"id": 1}], "expected `categories` with id"),
        (["person"], "expected `categories` with id"),
        ([{"id": "x", "name": "person"}], "expected `categories` with id"),
    ],
)
def test_unclear_categories_are_refused(categories, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        person_category({"categories": categories})

"""Annotation files: what is no COCO file is refused in one line, people are found by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdc_core.io.coco_json import check_runs, person_category, read_annotations, run_lengths


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
        (
            [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
            "named person, got cat, dog",
        ),
        ([{"id": 1}], "expected a name and a numeric id"),
        (["person"], "expected a name and a numeric id"),
        ([{"id": "x", "name": "person"}], "expected a name and a numeric id"),
    ],
)
def test_unclear_categories_are_refused(categories, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        person_category({"categories": categories})


@given(st.lists(st.booleans(), min_size=1, max_size=60), st.integers(1, 6), st.data())
def test_run_lengths_are_those_of_pycocotools_and_a_cut_text_is_refused(pixels, width, data):
    rle = pytest.importorskip("pycocotools.mask", reason="the reference")
    column = np.repeat(np.array(pixels, np.uint8), data.draw(st.integers(1, 40)))
    mask = np.asfortranarray(np.tile(column[:, None], (1, width)))
    code = rle.encode(mask)
    runs = run_lengths(code["counts"])
    assert sum(runs) == mask.size and sum(runs[1::2]) == mask.sum()
    check_runs(code, mask.shape)
    check_runs({"counts": runs, "size": list(mask.shape)}, mask.shape)
    cut = {**code, "counts": code["counts"][: data.draw(st.integers(0, len(code["counts"]) - 1))]}
    with pytest.raises(ValueError, match=r"a number|its runs have"):
        check_runs(cut, mask.shape)


@given(st.binary(max_size=30))
def test_any_text_gives_run_lengths_or_a_complaint(text: bytes) -> None:
    try:
        assert all(isinstance(run, int) for run in run_lengths(text))
    except ValueError as error:
        assert "run-length text" in str(error)

"""Annotation files: completed where they may be incomplete, refused in one line where not."""

from __future__ import annotations

import json
import math
from pathlib import Path

import cv2
import numpy as np
import pytest

from kdc_lab.evaluate.annotated_images import load
from tests.coco_files import two_scenes, write

PERSON = {"id": 4, "image_id": 1, "category_id": 1, "bbox": [0, 0, 1, 1]}
PICTURE = {"id": 1, "file_name": "0.png", "width": 320, "height": 240}


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    return write(tmp_path, two_scenes())


def edited(path: Path, **changes: object) -> Path:
    content = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({k: v for k, v in content.items() if v is not None}))
    return path


def test_frames_follow_the_order_of_the_file(files: tuple[Path, Path]) -> None:
    dataset = load(*files)
    found = list(dataset.frames())
    assert [image for image, _ in found] == [1, 2, 3]
    assert [frame.frame_id for _, frame in found] == ["0.png", "1.png", "2.png"]
    assert [len(dataset.people[image]) for image, _ in found] == [2, 1, 0]
    assert len(dataset.first(1)) == 1
    assert len(dataset.first(0)) == 3


def test_load_fills_in_missing_fields(files: tuple[Path, Path]) -> None:
    images, path = files
    bare = {"id": 5, "image_id": 1, "category_id": 1, "bbox": [3, 4, 10, 20]}
    person = load(images, edited(path, annotations=[bare])).people[1][0]
    assert person["area"] == 200
    assert person["iscrowd"] == person["num_keypoints"] == 0
    assert person["segmentation"] == []


def test_load_accepts_ids_as_text(files: tuple[Path, Path]) -> None:
    images, path = files
    annotations = json.loads(path.read_text())["annotations"]
    for entry in annotations:
        entry |= {"image_id": str(entry["image_id"]), "category_id": "1"}
    dataset = load(images, edited(path, annotations=annotations))
    assert [len(people) for people in dataset.people.values()] == [2, 1, 0]
    assert dataset.people[2][0]["image_id"] == 2


def test_load_refuses_a_file_without_people_by_default(files: tuple[Path, Path]) -> None:
    images, path = files
    for changes in ({"annotations": []}, {"categories": [{"id": 4, "name": "person"}]}):
        with pytest.raises(ValueError, match=r"json: expected annotated people; none of its \d "):
            load(images, edited(path, **changes))
        assert not any(load(images, path, allow_empty=True).people.values())


def test_load_reads_only_people(files: tuple[Path, Path]) -> None:
    images, path = files
    annotations = json.loads(path.read_text())["annotations"]
    annotations[0]["category_id"] = 7
    categories = [{"id": 7, "name": "dog"}, {"id": 1, "name": "person"}]
    dataset = load(images, edited(path, annotations=annotations, categories=categories))
    assert dataset.person == 1
    assert [len(people) for people in dataset.people.values()] == [1, 1, 0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": None}, "no list `images`"),
        ({"annotations": None}, "no list `annotations`"),
        ({"images": []}, "`images` is empty"),
        ({"images": {"a": 1}}, "no list `images`"),
        ({"images": [{"id": 1}]}, "does not have COCO's format: KeyError 'file_name'"),
        ({"images": [3]}, "does not have COCO's format"),
        ({"images": [PICTURE, {**PICTURE, "id": 2}, PICTURE]}, "json: image id 1 is given twice"),
        ({"annotations": [{"id": 1}]}, "does not have COCO's format: KeyError 'category_id'"),
        ({"categories": [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}]}, "category named person"),
        (
            {"annotations": [{"id": 4, "image_id": 1, "category_id": 1, "bbox": [0, 0, 1, 1],
                              "keypoints": [1, 2, 3]}]},
            "annotation 4: expected 51 keypoint numbers, got 3",
        ),
        (
            {"annotations": [{"id": 4, "image_id": 1, "category_id": 1, "bbox": [0, 0]}]},
            "annotations.json: ",
        ),
        ({"annotations": [{**PERSON, "bbox": [0, 0, math.inf, 1]}]}, "4: bbox: expected finite"),
        ({"annotations": [{**PERSON, "area": math.nan}]}, "4: area: expected finite"),
        ({"annotations": [{**PERSON, "area": -5}]}, "4: area: expected 0 or more, got -5"),
        ({"annotations": [{**PERSON, "keypoints": [math.nan] * 51}]}, "4: keypoints: expected fin"),
        (
            {"images": [{"id": 1, "file_name": "gone.jpg", "width": 320, "height": 240}]},
            "1 of 1 images of annotations.json are missing, e.g. gone.jpg",
        ),
    ],
)  # fmt: skip
def test_load_refuses_bad_files(files: tuple[Path, Path], changes: dict, message: str) -> None:
    images, path = files
    with pytest.raises(ValueError, match=r"\A[^\n]+\Z") as error:
        load(images, edited(path, **changes))
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        ({"counts": [0, 10], "size": [240, 320]}, "of 76800 pixels, its runs have 10"),
        ({"counts": [0, 76800], "size": [320, 240]}, "(240, 320), got [320, 240]"),
        ({"counts": [76800.0], "size": [240, 320]}, "expected run lengths of a mask"),
        ({"counts": 5, "size": [240, 320]}, "expected run lengths of a mask"),
        ({"counts": None, "size": [240, 320]}, "expected run lengths of a mask"),
        ({"counts": "ø", "size": [240, 320]}, "not a run-length text"),
        ({"counts": "o", "size": [240, 320]}, "in the middle of a number"),
        ([["a"] * 6], "could not convert string to float"),
        ([[[1]] * 6], "float() argument"),
        ([[0, 0, 9, 0, 9, math.inf]], "expected coordinates up to 100000 pixels, got inf"),
        ([[0, 0, 9, 0, math.nan, 9]], "expected coordinates up to 100000 pixels, got nan"),
        ([[0, 0, 9, 0, -1e8, 9]], "expected coordinates up to 100000 pixels, got -100000000.0"),
        ([[0, 0, 9, 0, 9, 9, 5]], "expected polygons of pairs x, y, got one of 7 numbers"),
    ],
)
def test_load_refuses_masks_that_cannot_be_read(files: tuple[Path, Path], mask, message) -> None:
    images, path = files
    wrong = {**PERSON, "segmentation": mask}
    with pytest.raises(ValueError, match=r"annotation 4: segmentation: [^\n]+\Z") as error:
        load(images, edited(path, annotations=[wrong]))
    assert message in str(error.value)


def test_load_refuses_missing_files_and_folders(files: tuple[Path, Path], tmp_path: Path) -> None:
    images, path = files
    with pytest.raises(ValueError, match="no such annotation file"):
        load(images, tmp_path / "gone.json")
    with pytest.raises(ValueError, match="no such folder"):
        load(tmp_path / "gone", path)


def test_frames_refuse_an_image_of_another_size(files: tuple[Path, Path]) -> None:
    images, path = files
    cv2.imwrite(str(images / "1.png"), np.zeros((9, 8, 3), np.uint8))
    frames = load(images, path).frames()
    next(frames)
    with pytest.raises(ValueError, match=r"expected 320x240 pixels as in .*, got 8x9"):
        next(frames)

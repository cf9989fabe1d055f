"""Kinds of errors on rectangles that the eye can judge, and the sheet of the worst pictures."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("pycocotools", reason="evaluation needs pycocotools: extra `train`")

from kdc_core.cli import main
from kdc_core.types import Frame, People
from kdc_lab.evaluate.annotated_images import Dataset
from kdc_lab.evaluate.error_analysis import Errors, error_table, errors
from kdc_lab.evaluate.failure_gallery import CELL, COLUMNS, COUNT, FailureGallery
from tests.coco_files import run_lengths, two_scenes, write

SIZE = (200, 300)  # height, width
Box = tuple[int, int, int, int]  # x1, y1, x2, y2


def rectangle(box: Box) -> np.ndarray:
    mask = np.zeros(SIZE, bool)
    mask[box[1] : box[3], box[0] : box[2]] = True
    return mask


def dataset(people: list[Box], crowds: list[Box] = [], unknown: list[Box] = []) -> Dataset:  # noqa: B006
    """One picture; ``unknown`` people have a box and no mask."""
    entries = [
        {
            "iscrowd": int(box in crowds), "area": (box[2] - box[0]) * (box[3] - box[1]),
            "bbox": [box[0], box[1], box[2] - box[0], box[3] - box[1]],
            "segmentation": [] if box in unknown
            else {"size": list(SIZE), "counts": run_lengths(rectangle(box))},
        }
        for box in [*people, *crowds, *unknown]
    ]  # fmt: skip
    image = {"id": 1, "file_name": "1.png", "width": SIZE[1], "height": SIZE[0]}
    return Dataset(Path(), Path("a.json"), 1, [image], {1: entries})


def predicted(*boxes: Box, score: float = 0.9) -> People:
    labels = np.zeros(SIZE, np.uint16)
    for number, box in enumerate(boxes, 1):
        labels[rectangle(box)] = number
    count = len(boxes)
    return People(
        ids=np.arange(1, count + 1), score=np.full(count, 0.1, np.float32),
        mask_score=np.full(count, score, np.float32),
        keypoints=np.zeros((count, 17, 3), np.float32), visible=np.zeros((count, 17), bool),
        boxes=np.zeros((count, 4), np.float32), centroid=np.zeros(count, np.intp),
        centroid_xy=np.zeros((count, 2), np.float32),
        labels=labels, phase=np.zeros(count, np.uint8),
    )  # fmt: skip


LEFT, RIGHT = (20, 20, 60, 120), (60, 20, 100, 120)  # 4,000 pixels each, side by side
BOTH = (20, 20, 100, 120)
TOP, BOTTOM = (20, 20, 60, 64), (20, 66, 60, 120)  # both parts of LEFT
FAR = (200, 20, 240, 120)
TINY = (200, 150, 220, 170)


@pytest.mark.parametrize("truth, found, people, predictions", [
    ([LEFT, RIGHT], [LEFT, RIGHT], {("medium", "found"): 2}, {}),
    ([LEFT, FAR], [LEFT], {("medium", "found"): 1, ("medium", "missed"): 1}, {}),
    ([LEFT, RIGHT], [BOTH], {("medium", "found"): 1, ("medium", "merged"): 1}, {}),
    ([LEFT], [TOP, (20, 70, 60, 120)], {("medium", "found"): 1}, {"duplicate": 1}),
    ([BOTH], [(20, 20, 58, 120), (61, 20, 100, 120)], {("medium", "split"): 1}, {"duplicate": 1}),
    ([LEFT], [(44, 20, 84, 120)], {("medium", "localisation"): 1}, {}),
    ([LEFT], [LEFT, FAR], {("medium", "found"): 1}, {"background": 1}),
    ([TINY], [], {("small", "missed"): 1}, {}),
    ([], [FAR], {}, {"background": 1}),
])  # fmt: skip
def test_kinds(truth, found, people, predictions):
    judged = errors(dataset(truth), 1, predicted(*found))
    assert judged.people == Counter(people) and judged.predictions == Counter(predictions)


def test_errors_ignore_predictions_on_crowds_and_unknown_masks():
    assert errors(dataset([], crowds=[FAR]), 1, predicted(FAR)).predictions == Counter()
    assert errors(dataset([], unknown=[FAR]), 1, predicted(FAR)).predictions == Counter()
    assert errors(dataset([LEFT], unknown=[FAR]), 1, predicted()).people.total() == 1


def test_errors_ignore_predictions_with_low_scores():
    judged = errors(dataset([LEFT]), 1, predicted(LEFT, score=0.2))
    assert judged.people == Counter({("medium", "missed"): 1})


def test_badness_ignores_small_and_found_people():
    many = {("small", "missed"): 5, ("large", "found"): 2, ("large", "merged"): 1}
    assert Errors(Counter(many), Counter({"background": 2})).badness == 3


def test_table():
    one = Errors(Counter({("small", "missed"): 2}), Counter({"background": 3}))
    lines = error_table([one, one]).splitlines()
    assert lines[2].split("|")[1:-1] == [
        " small  ",
        " 0     ",
        " 0            ",
        " 0      ",
        " 0     ",
        " 4      ",
    ]
    assert lines[-1].endswith("0 duplicate, 6 background")


def test_gallery_keeps_the_worst_images(tmp_path):
    data = dataset([LEFT])
    worst = FailureGallery(data)
    frame = Frame(np.full((*SIZE, 3), 80, np.uint8), frame_id="1.png")
    for bad in (0, *range(1, COUNT + 6)):
        worst.add(1, frame, predicted(), Errors(Counter({("large", "missed"): bad}), Counter()))
    kept = sorted(badness for badness, _, _ in worst.kept)
    assert kept == list(range(6, COUNT + 6))
    assert worst.write(tmp_path / "new" / "sheet.png") == COUNT
    sheet = cv2.imread(str(tmp_path / "new" / "sheet.png"))
    assert sheet.shape == (COUNT // COLUMNS * CELL[1], 2 * COLUMNS * CELL[0], 3)
    assert (sheet[: CELL[1], : CELL[0]] != 80).any() and (sheet > 0).any()
    with pytest.raises(ValueError, match=r"sheet\.docx: cannot be written"):
        worst.write(tmp_path / "sheet.docx")


def test_command(tmp_path, capsys):
    images, annotations = write(tmp_path, two_scenes())
    sheet = tmp_path / "worst.jpg"
    code = main(["evaluate", "--images", str(images), "--annotations", str(annotations), "--engine",
                 "onnxruntime", "--worst", str(sheet)])  # fmt: skip
    printed = capsys.readouterr().out
    assert code == 0 and "| people" in printed and f"images: {sheet}" in printed
    assert sheet.is_file() == ("0 images" not in printed)

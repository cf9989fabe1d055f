"""Test pseudo keypoints: decoding of heatmaps, the people that get them, and the file."""

from __future__ import annotations

import json

import numpy as np
import pytest

from kdc_core.errors import InputError
from kdc_lab.training import pseudo_keypoints
from kdc_lab.training.pseudo_keypoints import decode_heatmaps, unlabelled
from tests.training_set import annotation, entry, write_set


def bump(x: float, y: float, width: int = 24, height: int = 32) -> np.ndarray:
    columns, rows = np.meshgrid(np.arange(width), np.arange(height))
    return np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * 2.0**2)).astype(np.float32)


@pytest.mark.parametrize(("x", "y"), [(10.0, 12.0), (10.4, 12.0), (9.7, 20.3), (5.25, 6.5)])
def test_decode_heatmaps_finds_the_maximum_between_cells(x: float, y: float) -> None:
    points, confidence = decode_heatmaps(bump(x, y)[None, None])
    assert points[0, 0] == pytest.approx([x, y], abs=0.06)
    assert confidence[0, 0] == pytest.approx(1, abs=0.05)


def test_decode_heatmaps_keeps_the_cell_at_the_border() -> None:
    points, _ = decode_heatmaps(bump(0, 31)[None, None])
    assert points[0, 0].tolist() == [0, 31]


def test_unlabelled_people_have_a_box_and_no_keypoints() -> None:
    free = {"bbox": [0, 0, 20, 40], "keypoints": [0] * 51}
    others = [
        {**free, "iscrowd": 1},
        {**free, "keypoints": [1, 1, 2] + [0] * 48},
        {**free, "keypoints_pseudo": [1.0] * 51},
        {**free, "bbox": [0, 0, 5, 11]},
    ]
    assert unlabelled([*others, free]) == [free]


class Corner:
    """A network whose joints all lie in the top left corner of the box."""

    def __init__(self, model: object) -> None:
        pass

    def __call__(self, image: np.ndarray, boxes: np.ndarray) -> np.ndarray:
        assert image.shape == (160, 200, 3)
        return np.tile(np.append(boxes[0, :2], 0.8).astype(np.float32), (len(boxes), 17, 1))


def test_main_adds_pseudo_keypoints_and_leaves_human_ones(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(pseudo_keypoints, "PoseNetwork", Corner)
    labels = [annotation(1, 1, (60, 80), 1.0), annotation(2, 1, (140, 80), 1.0, keypoints=[0] * 51)]
    path = write_set(tmp_path, [entry(1)], labels)
    out = tmp_path / "new.json"
    command = ["--model", "pose.xml", "--annotations", str(path), "--out"]
    assert pseudo_keypoints.main([*command, str(out)]) == 0
    first, second = json.loads(out.read_text())["annotations"]
    assert first == json.loads(path.read_text())["annotations"][0]
    assert second["keypoints_pseudo"][:3] == pytest.approx([*labels[1]["bbox"][:2], 0.8], abs=0.01)
    assert not any(second["keypoints"])
    with pytest.raises(InputError, match="are the same file"):
        pseudo_keypoints.main([*command, str(path)])

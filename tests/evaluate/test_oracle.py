"""Targets, coordinates and decoder agree: annotations → fields → people gives them back."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="targets need torch: extra `train`")
pytest.importorskip("pycocotools", reason="evaluation needs pycocotools: extra `train`")

from kdc_core.config import CentroidMode, DecodeConfig, ModelInfo
from kdc_core.letterbox import Letterbox
from kdc_core.pipeline import Pipeline
from kdc_core.types import Frame
from kdc_lab.evaluate.ablation import ablate, markdown
from kdc_lab.evaluate.annotated_images import Dataset, load
from kdc_lab.evaluate.coco_metrics import Results
from kdc_lab.evaluate.ground_truth_engine import GroundTruthEngine, annotation_batch
from kdc_lab.training.batch import POSE_UNKNOWN, SEG_UNKNOWN
from tests.coco_files import two_scenes, write

DATA = Path(os.environ.get("KDC_DATA", Path(__file__).parents[3] / "shared" / "data"))
DEV = DATA / "coco_person"


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return load(*write(tmp_path_factory.mktemp("oracle"), two_scenes()))


def summary(dataset: Dataset) -> dict:
    pipeline = Pipeline(GroundTruthEngine(dataset, ModelInfo()))
    results = Results(dataset)
    for image, frame in dataset.frames():
        results.add(image, pipeline(frame))
    return results.summary()


def test_ground_truth_engine_recovers_drawn_people(dataset: Dataset) -> None:
    result = summary(dataset)
    assert result["keypoints"]["AP"] >= 0.95
    assert result["segm"]["AP"] >= 0.75
    assert result["same_person"]["share"] == 1


@pytest.mark.skipif(not (DEV / "dev.json").is_file(), reason="needs coco_person (KDC_DATA)")
def test_ground_truth_engine_recovers_annotated_people() -> None:
    result = summary(load(DEV / "images", DEV / "dev.json").first(20))
    assert result["keypoints"]["AP"] >= 0.88
    assert result["segm"]["AP"] >= 0.60
    assert result["same_person"]["share"] >= 0.97


def test_ground_truth_engine_refuses_unknown_frames(dataset: Dataset) -> None:
    oracle = GroundTruthEngine(dataset, ModelInfo())
    with pytest.raises(ValueError, match="no annotations for 'other"):
        oracle(Frame(np.zeros((240, 320, 3), np.uint8), frame_id="other.png"))


def test_annotation_batch_is_in_input_pixels(dataset: Dataset) -> None:
    scene = two_scenes()[0]
    letterbox = Letterbox.fit(scene.size, 640, 64)
    image = np.zeros((240, 320, 3), np.uint8)
    batch = annotation_batch(image, dataset.people[1], letterbox)
    owner = batch.owner[0].numpy()
    np.testing.assert_array_equal(owner[:480:2, ::2], scene.owner)  # twice the size, to the pixel
    np.testing.assert_array_equal(owner[1:480:2, 1::2], scene.owner)
    assert not owner[480:].any()  # the padding
    keypoints = batch.keypoints[0].numpy()
    np.testing.assert_allclose(keypoints[..., :2], 2 * scene.keypoints[..., :2] + 0.5, atol=1e-3)
    np.testing.assert_allclose(batch.area[0], [4 * scene.mask(j).sum() for j in (0, 1)])
    assert not batch.ignore.any()


def test_annotation_batch_ignores_crowds_and_unknown_masks(dataset: Dataset) -> None:
    one = dict(dataset.people[2][0])
    crowd = {**one, "iscrowd": 1, "segmentation": [], "bbox": [0, 0, 20, 10]}
    unknown = {**one, "segmentation": [], "bbox": [100, 50, 10, 10], "keypoints": [0] * 51,
               "num_keypoints": 0}  # fmt: skip
    letterbox = Letterbox.fit((320, 240), 320, 64)
    batch = annotation_batch(np.zeros((240, 320, 3), np.uint8), [one, crowd, unknown], letterbox)
    ignore = batch.ignore[0].numpy()
    assert (ignore[:10, :20] == SEG_UNKNOWN | POSE_UNKNOWN).all()
    assert (ignore[50:60, 100:110] == SEG_UNKNOWN | POSE_UNKNOWN).all()
    assert np.count_nonzero(ignore) == 300
    assert batch.area.shape == (1, 2)  # the crowd is nobody
    np.testing.assert_array_equal(batch.mask_weight[0], [1, 0])


def test_ablation_has_every_mode_and_paired_gains(dataset: Dataset) -> None:
    figures = ablate(dataset, GroundTruthEngine(dataset, ModelInfo()), DecodeConfig(), bootstrap=20)
    assert tuple(figures) == tuple(CentroidMode)
    assert "AP_gain" not in figures["static"]["segm"]
    for mode in tuple(CentroidMode)[1:]:
        segm = figures[mode]["segm"]
        gain = segm["AP"] - figures["static"]["segm"]["AP"]
        assert segm["AP_gain"] == pytest.approx(gain, abs=1e-4)
        low, high = segm["AP_gain_95"]
        assert low <= high
        assert figures[mode]["keypoints"] == figures["static"]["keypoints"]
    text = markdown(figures, {"images": 3, "centroid": "weighted"})
    lines = text.splitlines()
    assert len(lines) == 2 + len(CentroidMode) + 2
    assert lines[2].startswith("| SM_c, static")
    assert lines[-1] == "Protocol: images 3."

"""COCO's figures on sets that are small enough to work out by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pycocotools", reason="evaluation needs pycocotools: extra `train`")

from pycocotools import mask as rle

from kdc_core.types import Frame, People
from kdc_lab.evaluate.annotated_images import Dataset, load
from kdc_lab.evaluate.coco_metrics import Results, coco_eval, coco_results, oks, predictions
from tests.coco_files import perfect, run_lengths, two_scenes, write
from tests.scenes import draw


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return load(*write(tmp_path, two_scenes()))


def figures(dataset: Dataset, predictions: list[People]) -> dict:
    results = Results(dataset)
    for entry, people in zip(dataset.images, predictions, strict=True):
        results.add(entry["id"], people)
    return results.summary()


def rows(people: People, keep: list[int]) -> People:
    """Some of the people; the labels of the others are taken out."""
    columns = {
        name: getattr(people, name)[keep]
        for name in ("ids", "score", "mask_score", "keypoints", "visible", "boxes", "centroid",
                     "centroid_xy", "phase")
    }  # fmt: skip
    labels = np.where(np.isin(people.labels, columns["ids"]), people.labels, 0)
    return People(labels=labels.astype(np.uint16), **columns)


def test_results_of_perfect_predictions_have_ap_one(tmp_path: Path) -> None:
    scenes = two_scenes()
    images, annotations = write(tmp_path, scenes)

    def predict(frame: Frame) -> People:
        return perfect(scenes[int(frame.frame_id.split(".")[0])])

    result = predictions(load(images, annotations), predict).summary(bootstrap=20)
    assert result["segm"]["AP"] == result["segm"]["AR100"] == 1
    assert result["keypoints"]["AP"] == result["keypoints"]["AR"] == 1
    assert result["segm"]["AP_95"] == [1, 1]
    assert result["segm"]["APS"] is None  # nobody here is below 32 x 32 pixels
    assert result["same_person"] == {"share": 1, "same": 3, "found_both_ways": 3, "people": 3}


def test_results_without_predictions_have_ap_zero(dataset: Dataset) -> None:
    nothing = [rows(perfect(scene), []) for scene in two_scenes()]
    result = figures(dataset, nothing)
    assert result["segm"]["AP"] == result["keypoints"]["AP"] == 0
    assert result["same_person"]["share"] is None


def test_results_with_two_of_three_people_have_recall_two_thirds(dataset: Dataset) -> None:
    first, second, empty = (perfect(scene) for scene in two_scenes())
    result = figures(dataset, [rows(first, [1]), second, empty])
    # precision 1 at the 67 recalls 0, 0.01, …, 0.66 of 101
    assert result["segm"]["AP"] == pytest.approx(67 / 101, abs=1e-4)
    assert result["keypoints"]["AP"] == pytest.approx(67 / 101, abs=1e-4)


def test_results_with_a_false_prediction_lose_precision(dataset: Dataset) -> None:
    first, second, _ = (perfect(scene) for scene in two_scenes())
    ghost = replace(second, score=np.ones(1), mask_score=np.ones(1))
    result = figures(dataset, [first, second, ghost])
    # ghost first: precisions 1/2, 2/3, 3/4, and the envelope makes all of them 3/4
    assert result["segm"]["AP"] == pytest.approx(0.75, abs=1e-4)
    assert result["keypoints"]["AP"] == pytest.approx(0.75, abs=1e-4)


def test_results_count_mask_quality_by_thresholds(tmp_path: Path) -> None:
    scene = draw([(60, 110)], [100], size=(128, 128))
    scene.owner[:] = 0
    scene.owner[10:110, 20:70] = 1  # 100 rows
    found = perfect(scene)
    found.labels[92:] = 0  # 82 of them: IoU 0.82 passes 0.50, 0.55, …, 0.80: seven of ten
    result = figures(load(*write(tmp_path, [scene])), [found])
    assert result["segm"]["AP"] == pytest.approx(0.7)
    assert result["keypoints"]["AP"] == 1


def test_results_notice_swapped_masks_and_skeletons(dataset: Dataset) -> None:
    first, second, empty = (perfect(scene) for scene in two_scenes())
    swapped = replace(first, keypoints=first.keypoints[::-1])
    result = figures(dataset, [swapped, second, empty])
    assert result["segm"]["AP"] == 1  # COCO's figures alone do not see it
    assert result["keypoints"]["AP"] == 1
    assert result["same_person"] == {
        "share": 0.3333, "same": 1, "found_both_ways": 3, "people": 3,
    }  # fmt: skip


def test_results_ignore_predictions_on_unknown_masks(tmp_path: Path) -> None:
    images, path = write(tmp_path, two_scenes())
    content = json.loads(path.read_text())
    content["annotations"][1]["segmentation"] = []
    path.write_text(json.dumps(content))
    predictions = [perfect(scene) for scene in two_scenes()]
    predictions[0] = replace(predictions[0], mask_score=np.array([0.1, 1.0]))
    result = figures(load(images, path), predictions)
    assert result["segm"]["AP"] == 1  # the prediction on the unknown mask is not held against us
    assert result["same_person"]["people"] == 2


def test_results_ignore_people_without_labelled_keypoints(tmp_path: Path) -> None:
    images, path = write(tmp_path, two_scenes())
    content = json.loads(path.read_text())
    content["annotations"][1] |= {"keypoints": [0] * 51, "num_keypoints": 0}
    path.write_text(json.dumps(content))
    first, second, empty = (perfect(scene) for scene in two_scenes())
    result = figures(load(images, path), [rows(first, [0]), second, empty])
    assert result["keypoints"]["AP"] == 1
    assert result["segm"]["AP"] == pytest.approx(67 / 101, abs=1e-4)


def test_results_without_keypoints_are_none(tmp_path: Path) -> None:
    images, path = write(tmp_path, two_scenes())
    content = json.loads(path.read_text())
    for entry in content["annotations"]:
        del entry["keypoints"], entry["num_keypoints"]
    path.write_text(json.dumps(content))
    result = figures(load(images, path), [perfect(scene) for scene in two_scenes()])
    assert result["segm"]["AP"] == 1
    assert result["keypoints"]["AP"] is None


def test_coco_results_hold_masks_in_column_order(dataset: Dataset) -> None:
    scene = two_scenes()[0]
    skeletons, masks = coco_results(1, 1, perfect(scene))
    assert len(skeletons) == len(masks) == 2
    assert len(skeletons[0]["keypoints"]) == 51
    for person, entry in enumerate(masks):
        decoded = rle.decode(entry["segmentation"]).astype(bool)
        np.testing.assert_array_equal(decoded, scene.mask(person))
        again = {"size": list(decoded.shape), "counts": run_lengths(decoded)}
        assert rle.frPyObjects(again, *decoded.shape) == entry["segmentation"]


def test_oks_agrees_with_pycocotools(dataset: Dataset) -> None:
    rng = np.random.default_rng(3)
    scene = two_scenes()[0]
    noisy = perfect(scene)
    noisy.keypoints[..., :2] += rng.normal(0, 6, (2, 17, 2))
    skeletons, _ = coco_results(1, 1, noisy)
    judge = coco_eval(dataset, "keypoints", skeletons)
    area = np.array([scene.mask(0).sum(), scene.mask(1).sum()], float)
    ours = oks(noisy.keypoints.round(2), scene.keypoints, area)
    np.testing.assert_allclose(ours, judge.ious[(1, 1)], atol=2e-4)
    assert 0.2 < ours[0, 0] < 0.98

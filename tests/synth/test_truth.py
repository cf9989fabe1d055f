"""Test that the truth of rendered people agrees with targets, coordinates and decoder."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("anny", reason="renders people: pip install -e '.[synth]'")
pytest.importorskip("warp", reason="renders people: pip install -e '.[synth]'")
pytest.importorskip("pycocotools", reason="evaluation needs pycocotools: pip install -e '.[synth]'")

from kdc_core.config import ModelInfo
from kdc_core.pipeline import Pipeline
from kdc_core.system.worker_pool import Processes
from kdc_lab.evaluate.annotated_images import Dataset, load
from kdc_lab.evaluate.coco_metrics import predictions
from kdc_lab.evaluate.ground_truth_engine import GroundTruthEngine
from kdc_lab.synth import SynthConfig
from kdc_lab.synth.synthetic_stills import render_jpeg, write_stills

#: more people, or people who hug, would measure the resolution of the decoder's grid instead
FEW = SynthConfig(people=(1, 2), contact=0.0, device="cpu")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("stills")
    write_stills(folder, 16, 5, FEW, [], workers=1)
    return load(folder / "images", folder / "annotations.json")


def test_truth_survives_targets_and_decoder(pictures: Dataset) -> None:
    result = predictions(pictures, Pipeline(GroundTruthEngine(pictures, ModelInfo()))).summary()
    assert result["keypoints"]["AP"] >= 0.97
    assert result["segm"]["AP"] >= 0.85
    assert result["same_person"]["share"] == 1 and result["same_person"]["people"] >= 12


def test_truth_masks_are_disjoint_and_hold_visible_keypoints(pictures: Dataset) -> None:
    from pycocotools import mask as rle

    near = total = 0
    for people in pictures.people.values():
        masks = [rle.decode(person["segmentation"]) for person in people]
        assert not masks or np.sum(masks, axis=0).max() == 1
        for person, mask in zip(people, masks, strict=True):
            points = np.reshape(person["keypoints"], (17, 3))
            y, x = np.nonzero(mask)
            for px, py, _ in points[points[:, 2] == 2]:
                near += bool(np.hypot(x - px, y - py).min() <= 3)
                total += 1
    assert total >= 60 and near / total >= 0.99


def test_render_jpeg_is_equal_in_another_process() -> None:
    """Bodies, textures and light depend on the seed alone."""
    given = (8, SynthConfig(size=(96, 72), people=(2, 3), device="cpu"), [], 1)
    here, data = render_jpeg(*given)
    processes = Processes(1)
    there, same = processes.submit(render_jpeg, *given).result()
    processes.close()
    assert same == data
    for name in ("image", "labels", "keypoints", "box", "hidden", "ids"):
        assert np.array_equal(getattr(here, name), getattr(there, name)), name

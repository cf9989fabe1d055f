"""Resampled average precision against pycocotools."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("pycocotools", reason="evaluation needs pycocotools: extra `train`")

from kdc_lab.evaluate.annotated_images import load
from kdc_lab.evaluate.bootstrap import (
    Matches,
    average_precision,
    interval,
    resamples,
)
from kdc_lab.evaluate.coco_metrics import Results, coco_eval
from tests.coco_files import perfect, write
from tests.scenes import Scene, draw


@pytest.fixture(scope="module")
def noisy(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """Eight pictures with people found more or less well, scores at random."""
    rng = np.random.default_rng(0)
    scenes = [_scene(rng) for _ in range(8)]
    dataset = load(*write(tmp_path_factory.mktemp("noisy"), scenes))
    results = Results(dataset)
    for entry, scene in zip(dataset.images, scenes, strict=True):
        people = perfect(scene)
        people.keypoints[..., :2] += rng.normal(0, 5, people.keypoints[..., :2].shape)
        people.score[:] = rng.random(len(people))
        people.mask_score[:] = rng.random(len(people))
        people.labels[:, : rng.integers(0, 110)] = 0
        results.add(entry["id"], people)
    return results


def _scene(rng: np.random.Generator) -> Scene:
    count = int(rng.integers(0, 4))
    feet = [(60 + 70 * p, 150 + 5 * p) for p in range(count)]
    return draw(feet, [120] * count, size=(280, 170), sway=0.01, rng=rng)


@pytest.mark.parametrize("kind", ["segm", "keypoints"])
def test_average_precision_equals_pycocotools(noisy: Results, kind: str) -> None:
    judge = coco_eval(noisy.dataset, kind, getattr(noisy, kind))
    ours = average_precision(Matches.of(judge))
    assert 0.1 < ours < 0.95
    assert ours == pytest.approx(judge.stats[0], abs=1e-9)


@pytest.mark.parametrize("kind", ["segm", "keypoints"])
def test_average_precision_without_some_images_equals_pycocotools(
    noisy: Results, kind: str
) -> None:
    matches = Matches.of(coco_eval(noisy.dataset, kind, getattr(noisy, kind)))
    half = noisy.dataset.first(4)
    kept = {entry["id"] for entry in half.images}
    judge = coco_eval(half, kind, [r for r in getattr(noisy, kind) if r["image_id"] in kept])
    times = np.array([1, 1, 1, 1, 0, 0, 0, 0])
    assert average_precision(matches, times) == pytest.approx(judge.stats[0], abs=1e-9)


def test_interval_contains_the_figure_and_is_repeatable(noisy: Results) -> None:
    summary = noisy.summary(bootstrap=200)
    low, high = summary["segm"]["AP_95"]
    assert low < summary["segm"]["AP"] < high
    assert noisy.summary(bootstrap=200) == summary


def test_resamples_draw_as_many_images_as_there_are() -> None:
    draws = resamples(155, 50, seed=1)
    assert draws.shape == (50, 155)
    assert (draws.sum(axis=1) == 155).all()
    np.testing.assert_array_equal(draws, resamples(155, 50, seed=1))


def test_interval_is_the_central_95_percent() -> None:
    low, high = interval(np.arange(1001.0))
    assert (low, high) == (25, 975)


def test_average_precision_without_people_is_nan() -> None:
    empty = Matches(
        image=np.zeros(0, np.int64), hit=np.zeros((10, 0), bool), counted=np.zeros((10, 0), bool),
        truth=np.zeros(3, np.int64),
    )  # fmt: skip
    assert np.isnan(average_precision(empty))

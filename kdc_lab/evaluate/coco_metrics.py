"""COCO's metrics for masks and skeletons, and whether both come from the same prediction.

AP and AR come from pycocotools only: all images, whether people are found or not, single scale.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from typing import Any

import numpy as np
from pycocotools import mask as rle
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from tqdm import tqdm

from kdc_core.errors import InputError
from kdc_core.io import corners
from kdc_core.skeleton import OKS_SIGMAS, K
from kdc_core.types import Frame, People
from kdc_lab.evaluate.annotated_images import Dataset
from kdc_lab.evaluate.bootstrap import Matches, average_precision, interval, resamples

SEGM = ("AP", "AP50", "AP75", "APS", "APM", "APL", "AR1", "AR10", "AR100", "ARS", "ARM", "ARL")
KEYPOINTS = ("AP", "AP50", "AP75", "APM", "APL", "AR", "AR50", "AR75", "ARM", "ARL")
SAME = 0.5  # IoU and OKS from which a prediction matches a person


def predictions(
    dataset: Dataset,
    predict: Callable[[Frame], People],
    verb: str = "evaluate",
    on_frame: Callable[[int, Frame, People], None] | None = None,
) -> Results:
    """Collect the predictions for every image.

    Args:
        dataset: images and annotations.
        predict: returns the people of a frame, in pixels of the frame.
        verb: text of the progress bar.
        on_frame: is called with each image's id, frame and people.
    """
    results = Results(dataset)
    for image, frame in progress(dataset, verb):
        people = predict(frame)
        results.add(image, people)
        if on_frame:
            on_frame(image, frame, people)
    return results


def progress(dataset: Dataset, verb: str) -> Any:
    """Return the frames of a dataset with a progress bar on stderr, if that is a terminal."""
    return tqdm(dataset.frames(), verb, len(dataset), unit="image", disable=None)


class Results:
    """Predictions for a dataset in COCO's result format, and their figures."""

    def __init__(self, dataset: Dataset) -> None:
        """Create an empty collection."""
        self.dataset = dataset
        self.keypoints: list[dict[str, Any]] = []
        self.segm: list[dict[str, Any]] = []
        self.matches: dict[str, Matches] = {}  # after ``summary``
        self._pairs: list[
            tuple[bool, bool, bool]
        ] = []  # found by mask, by skeleton, by the same prediction

    def add(self, image: int, people: People) -> None:
        """Add the people of one image."""
        skeletons, masks = coco_results(image, self.dataset.person, people)
        self.keypoints += skeletons
        self.segm += [entry for entry in masks if rle.area(entry["segmentation"])]
        self._pairs += _same_person(self.dataset, image, people, masks)

    def summary(self, bootstrap: int = 0) -> dict[str, Any]:
        """Return all figures, with 95 % intervals of AP from ``bootstrap`` resamples of images.

        Returns:
            ``{"segm": {…}, "keypoints": {…}, "same_person": {…}}``; figures without ground truth
            are None.
        """
        return {
            "segm": self._figures("segm", bootstrap),
            "keypoints": self._figures("keypoints", bootstrap),
            "same_person": _shares(self._pairs),
        }

    def _figures(self, kind: str, bootstrap: int) -> dict[str, Any]:
        found, self.matches[kind] = evaluate_results(
            self.dataset, kind, getattr(self, kind), bootstrap
        )
        return found


def evaluate_results(
    dataset: Dataset, kind: str, results: list[dict[str, Any]], bootstrap: int = 0
) -> tuple[dict[str, Any], Matches]:
    """Evaluate ``results`` with pycocotools.

    Args:
        dataset: the annotations.
        kind: "segm" or "keypoints".
        results: entries of COCO's result format.
        bootstrap: number of resamples of the images for the interval ``AP_95``; 0: none.

    Returns:
        COCO's figures, None without ground truth, and the matches that they come from.
    """
    run = coco_eval(dataset, kind, results)
    names = SEGM if kind == "segm" else KEYPOINTS
    # COCO writes -1 where there is no ground truth
    figures: dict[str, Any] = {
        name: None if value < 0 else round(float(value), 4)
        for name, value in zip(names, run.stats, strict=True)
    }
    matches = Matches.of(run)
    if bootstrap and figures["AP"] is not None:
        draws = resamples(len(dataset), bootstrap)
        low, high = interval(np.array([average_precision(matches, t) for t in draws]))
        figures["AP_95"] = [round(low, 4), round(high, 4)]
    return figures, matches


def coco_results(
    image: int, category: int, people: People
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return people as entries of COCO's two result files: keypoints, and masks as RLE.

    Both lists have one entry per person in the order of ``people``; a mask may be empty.
    """
    columns = np.asfortranarray(people.labels[:, :, None] == people.ids, np.uint8)
    encoded = rle.encode(columns) if len(people) else []
    common = {"image_id": image, "category_id": category}
    skeletons = [
        {**common, "keypoints": points.round(2).ravel().tolist(), "score": float(score)}
        for points, score in zip(people.keypoints.astype(float), people.score, strict=True)
    ]
    masks = [
        {**common, "segmentation": mask, "score": float(score)}
        for mask, score in zip(encoded, people.mask_score, strict=True)
    ]
    return skeletons, masks


def coco_eval(dataset: Dataset, kind: str, results: list[dict[str, Any]]) -> COCOeval:
    """Run evaluate, accumulate and summarize of pycocotools on ``results``."""
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools always prints
        truth = _coco(dataset, _truth(dataset, kind))
        # loadRes rewrites its entries, and fails on an empty list
        found = truth.loadRes([dict(r) for r in results]) if results else _coco(dataset, [])
        run = COCOeval(truth, found, kind)
        run.params.catIds = [dataset.person]
        run.evaluate()
        run.accumulate()
        run.summarize()
    return run


def oks(points: np.ndarray, truth: np.ndarray, area: np.ndarray) -> np.ndarray:
    """Return the object keypoint similarity (P, G) of skeletons (P, 17, 3) and annotations.

    Annotations are (G, 17, 3), their ``area`` (G,) is in pixels². Annotations without labelled
    keypoints have similarity 0.
    """
    squared = ((points[:, None, :, :2] - truth[None, :, :, :2]) ** 2).sum(-1)
    spread = 2 * area[:, None] * (2 * OKS_SIGMAS) ** 2 + np.spacing(1)
    labelled = truth[:, :, 2] > 0
    total = (np.exp(-squared / spread) * labelled).sum(-1)
    return total / np.maximum(labelled.sum(-1), 1)


def _same_person(
    dataset: Dataset, image: int, people: People, masks: list[dict[str, Any]]
) -> list[tuple[bool, bool, bool]]:
    """Return (found by mask, by skeleton, by the same prediction) of people with both."""
    truth = [
        a
        for a in dataset.people[image]
        if a["segmentation"] and a["num_keypoints"] and not a["iscrowd"]
    ]
    if not truth:
        return []
    if not masks:
        return [(False, False, False)] * len(truth)
    size = people.labels.shape
    encoded = [as_rle(a["segmentation"], size) for a in truth]
    by_mask = rle.iou([m["segmentation"] for m in masks], encoded, [0] * len(truth)) >= SAME
    points = np.array([a["keypoints"] for a in truth], float).reshape(-1, K, 3)
    area = np.array([a["area"] for a in truth])
    by_skeleton = oks(people.keypoints, points, area) >= SAME
    both = (by_mask & by_skeleton).any(axis=0)
    found = np.stack([by_mask.any(axis=0), by_skeleton.any(axis=0), both], axis=1)
    return [(bool(a), bool(b), bool(c)) for a, b, c in found]


def _shares(pairs: list[tuple[bool, bool, bool]]) -> dict[str, Any]:
    """Return the share of people found by mask and by skeleton that one prediction matches."""
    found = np.array(pairs, bool).reshape(-1, 3)
    both_ways = int((found[:, 0] & found[:, 1]).sum())
    same = int(found[:, 2].sum())
    return {
        "share": round(same / both_ways, 4) if both_ways else None,
        "same": same,
        "found_both_ways": both_ways,
        "people": len(found),
    }


def as_rle(segmentation: Any, size: tuple[int, ...]) -> dict[str, Any]:
    """Return polygons or either kind of RLE as compressed RLE for an image of (height, width).

    Raises:
        InputError: the polygons have too few corners, or corners far outside of an image.
    """
    try:
        if isinstance(segmentation, list):
            return rle.merge(rle.frPyObjects(list(map(corners, segmentation)), *size))
        if isinstance(segmentation["counts"], list):
            return rle.frPyObjects(segmentation, *size)
    except Exception as error:
        if type(error) is not Exception:  # pycocotools raises Exception itself
            raise
        raise InputError(f"segmentation: {error}") from None
    return segmentation


def _truth(dataset: Dataset, kind: str) -> list[dict[str, Any]]:
    """Return the annotations in the form that pycocotools expects.

    If a mask is unknown, the box becomes a crowd region for masks: predictions in it are neither
    right nor wrong. For keypoints, COCO itself ignores people without labelled ones.
    """
    entries = [dict(entry) for entries in dataset.people.values() for entry in entries]
    if kind == "segm":
        for entry in entries:
            if not entry["segmentation"]:
                x, y, w, h = entry["bbox"]
                entry["segmentation"] = [[x, y, x + w, y, x + w, y + h, x, y + h]]
                entry["iscrowd"] = 1
    for number, entry in enumerate(entries, 1):
        entry["id"] = number  # for pycocotools, a match with id 0 is no match
    return entries


def _coco(dataset: Dataset, annotations: list[dict[str, Any]]) -> COCO:
    coco = COCO()
    coco.dataset = {
        "info": {},
        "images": dataset.images,
        "annotations": annotations,
        "categories": [{"id": dataset.person, "name": "person"}],
    }
    coco.createIndex()
    return coco

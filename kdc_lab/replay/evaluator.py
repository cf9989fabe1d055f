"""Evaluate a replay against its ground truth: AP of masks and skeletons, HOTA, IDF1, switches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as rle

from kdc_core.errors import InputError
from kdc_core.skeleton import K
from kdc_core.types import People, Phase
from kdc_lab.evaluate import (
    Dataset,
    Results,
    average_precision,
    coco_results,
    identity_metrics,
    oks,
)
from kdc_lab.replay.ground_truth import Annotations
from kdc_lab.replay.result_files import PERSON

ID_OFFSET = 1_000_000  # between the ids of two cameras
IGNORED = 0.5  # a mask or box is left out if more than this share is in an unknown region


class Evaluator:
    """Collects the frames that have a ground truth; ``figures`` evaluates them."""

    def __init__(self) -> None:
        """Create an evaluator without frames."""
        self.dataset = Dataset(Path(), Path(), PERSON, [], {})
        self.results = Results(self.dataset)
        self._frames: dict[str, list[identity_metrics.Frame]] = {}  # by camera
        self._tracked = True

    def add(self, image: dict[str, Any], people: People, truth: Annotations) -> float:
        """Add one frame.

        Args:
            image: COCO entry of the image, with its ``topic``.
            people: people that were found.
            truth: annotations of the frame.

        Returns:
            The error of the frame: missed people plus false people plus 1 - overlap of each match.

        Raises:
            InputError: a mask of the ground truth has another size than the image.
        """
        for entry in truth:
            size = entry["segmentation"]["size"] if entry["segmentation"] else people.labels.shape
            if tuple(size) != people.labels.shape:
                raise InputError(
                    f"expected masks of {people.labels.shape[1]}x{people.labels.shape[0]} pixels, "
                    f"got {size[1]}x{size[0]}"
                )
        entries = [{**entry, "image_id": image["id"]} for entry in truth]
        self.dataset.images.append(image)
        self.dataset.people[image["id"]] = entries
        self.results.add(image["id"], people)
        self._tracked &= all(e["track_id"] is not None for e in entries if not e["iscrowd"])
        frame = _compare(people, entries)
        self._frames.setdefault(image["topic"], []).append(frame)
        return _frame_error(frame)

    def figures(self) -> dict[str, Any] | None:
        """Return all metrics by name; None if no frame has a ground truth."""
        if not self.dataset.images:
            return None
        figures = self.results.summary()
        for kind in ("segm", "keypoints"):
            if figures[kind]["AP"] is not None:  # COCO's own figure, before rounding
                figures[kind]["AP"] = round(average_precision(self.results.matches[kind]), 9)
        figures["frames"] = len(self.dataset.images)
        figures["people"] = sum(len(entries) for entries in self.dataset.people.values())
        figures["tracks"] = self._tracks() if self._tracked else None
        return figures

    def _tracks(self) -> dict[str, Any]:
        apart = [
            identity_metrics.Frame(
                f.truth + number * ID_OFFSET, f.answer + number * ID_OFFSET, f.similarity
            )
            for number, frames in enumerate(self._frames.values())
            for f in frames
        ]
        lost = [identity_metrics.switches(frames) for frames in self._frames.values()]
        idf1, _ = identity_metrics.idf1(apart)
        shares = {**identity_metrics.hota(apart), "IDF1": idf1}
        known = identity_metrics.has_people(apart)
        return {
            **{name: round(value, 9) if known else None for name, value in shares.items()},
            "id_switches": sum(len(events) for events in lost),
            "people": sum(
                len(set().union(*(f.truth.tolist() for f in fs))) for fs in self._frames.values()
            ),
        }


def _compare(people: People, entries: Annotations) -> identity_metrics.Frame:
    """Compare annotated people with found people: by mask IoU, or by OKS if there are no masks.

    An annotated person without a mask (or without labelled keypoints) is treated like a crowd.
    """
    sure = [e for e in entries if not e["iscrowd"]]
    by_mask = not sure or any(e["segmentation"] for e in sure)
    known = [e for e in sure if e["segmentation" if by_mask else "num_keypoints"]]
    truth = np.array([e["track_id"] if e["track_id"] is not None else -1 for e in known], int)
    rows, shapes = _masks(people) if by_mask else _boxes(people)
    similarity = np.zeros((len(known), len(rows)))
    if known and len(rows) and by_mask:
        similarity = rle.iou(shapes, [e["segmentation"] for e in known], [0] * len(known)).T
    elif known and len(rows):
        points = np.array([e["keypoints"] for e in known], float).reshape(-1, K, 3)
        area = np.array([e["area"] for e in known])
        similarity = oks(people.keypoints[rows], points, area).T
    # a prediction in an unknown region is neither right nor wrong, unless it matches a known person
    inside = _inside(shapes, [e for e in entries if e not in known], people.labels.shape)
    kept = ~(inside > IGNORED) | (similarity >= identity_metrics.SAME).any(axis=0)
    return identity_metrics.Frame(truth, people.ids[rows[kept]], similarity[:, kept])


def _masks(people: People) -> tuple[np.ndarray, list[Any]]:
    """Return the rows of people that have pixels, and their masks."""
    _, found = coco_results(0, PERSON, people)
    masks = [entry["segmentation"] for entry in found]
    rows = np.flatnonzero([bool(rle.area(mask)) for mask in masks])
    return rows, [masks[row] for row in rows]


def _boxes(people: People) -> tuple[np.ndarray, list[Any]]:
    """Return the rows of people that are not occluded, and their boxes.

    The ground truth has no occluded people either.
    """
    rows = np.flatnonzero(people.phase < Phase.OCCLUDED)
    x1, y1, x2, y2 = people.boxes[rows].T
    boxes = np.stack([x1, y1, x2 - x1, y2 - y1], axis=1)
    return rows, [_box(box, people.labels.shape) for box in boxes.tolist()]


def _inside(masks: list[Any], regions: Annotations, size: tuple[int, ...]) -> np.ndarray:
    """Return the largest share of each mask or box inside one of the regions (P,)."""
    if not masks or not regions:
        return np.zeros(len(masks))
    shapes = [r["segmentation"] or _box(r["bbox"], size) for r in regions]
    shares: np.ndarray = np.asarray(rle.iou(masks, shapes, [1] * len(shapes))).max(axis=1)
    return shares


def _box(bbox: list[float], size: tuple[int, ...]) -> Any:
    return rle.frPyObjects(np.array([bbox], float), *size)[0]


def _frame_error(frame: identity_metrics.Frame) -> float:
    fits = frame.similarity.max(axis=1, initial=0) if frame.similarity.size else np.zeros(0)
    good = fits[fits >= identity_metrics.SAME]
    missed, false = len(frame.truth) - len(good), max(0, len(frame.answer) - len(good))
    return float(missed + false + (1 - good).sum())

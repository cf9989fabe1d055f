"""Figures of a replay whose truth is known: AP of masks and skeletons, HOTA, IDF1, switches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as rle

from kdc_core.evaluate import identity
from kdc_core.evaluate.bootstrap import average_precision
from kdc_core.evaluate.coco import Results, coco_results, oks
from kdc_core.evaluate.dataset import Dataset
from kdc_core.replay.output import PERSON
from kdc_core.replay.truth import Annotations
from kdc_core.skeleton import K
from kdc_core.types import People

APART = 1_000_000  # between the ids of two cameras
IGNORED = 0.5  # share of a mask inside an unknown region from which it is left out


class Judge:
    """Takes in every frame that has a truth; ``figures`` at the end."""

    def __init__(self) -> None:
        self.dataset = Dataset(Path(), Path(), PERSON, [], {})
        self.results = Results(self.dataset)
        self._frames: dict[str, list[identity.Frame]] = {}  # by camera
        self._tracked = True

    def add(self, image: dict[str, Any], people: People, truth: Annotations) -> float:
        """Write one frame down.

        Returns:
            How wrong it is: people missed, invented, and what lacks to a perfect overlap.

        Raises:
            ValueError: a mask of the truth is of another size than the picture.
        """
        for entry in truth:
            size = entry["segmentation"]["size"] if entry["segmentation"] else people.labels.shape
            if tuple(size) != people.labels.shape:
                raise ValueError(
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
        return _wrong(frame)

    def figures(self) -> dict[str, Any] | None:
        """Everything, None if no frame had a truth."""
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
            identity.Frame(f.truth + number * APART, f.answer + number * APART, f.similarity)
            for number, frames in enumerate(self._frames.values())
            for f in frames
        ]
        lost = [identity.switches(frames) for frames in self._frames.values()]
        idf1, _ = identity.idf1(apart)
        return {
            **{name: round(value, 9) for name, value in identity.hota(apart).items()},
            "IDF1": round(idf1, 9),
            "id_switches": sum(len(events) for events in lost),
            "people": sum(
                len(set().union(*(f.truth.tolist() for f in fs))) for fs in self._frames.values()
            ),
        }


def _compare(people: People, entries: Annotations) -> identity.Frame:
    """Mask IoU of the annotated with the found people; OKS where the truth has no masks at all."""
    sure = [e for e in entries if not e["iscrowd"]]
    by_mask = not sure or any(e["segmentation"] for e in sure)
    known = [e for e in sure if e["segmentation"]] if by_mask else sure
    truth = np.array([e["track_id"] if e["track_id"] is not None else -1 for e in known], int)
    if not by_mask:
        points = np.array([e["keypoints"] for e in known], float).reshape(-1, K, 3)
        similarity = oks(people.keypoints, points, np.array([e["area"] for e in known]))
        return identity.Frame(truth, people.ids, similarity.T)
    _, found = coco_results(0, PERSON, people)
    shown = np.array([bool(rle.area(m["segmentation"])) for m in found], bool)
    masks = [m["segmentation"] for m, there in zip(found, shown, strict=True) if there]
    answer = people.ids[shown]
    inside = _inside(masks, [e for e in entries if e not in known], people.labels.shape)
    similarity = np.zeros((len(known), len(masks)))
    if known and masks:
        similarity = rle.iou(masks, [e["segmentation"] for e in known], [0] * len(known)).T
    # on an unknown region nobody is right or wrong, unless it is a known person
    kept = ~(inside > IGNORED) | (similarity >= identity.SAME).any(axis=0)
    return identity.Frame(truth, answer[kept], similarity[:, kept])


def _inside(masks: list[Any], regions: Annotations, size: tuple[int, ...]) -> np.ndarray:
    """Largest share of each mask inside one of the regions (P,)."""
    if not masks or not regions:
        return np.zeros(len(masks))
    shapes = [r["segmentation"] or _box(r["bbox"], size) for r in regions]
    shares: np.ndarray = np.asarray(rle.iou(masks, shapes, [1] * len(shapes))).max(axis=1)
    return shares


def _box(bbox: list[float], size: tuple[int, ...]) -> Any:
    return rle.frPyObjects([bbox], *size)[0]


def _wrong(frame: identity.Frame) -> float:
    fits = frame.similarity.max(axis=1, initial=0) if frame.similarity.size else np.zeros(0)
    good = fits[fits >= identity.SAME]
    missed, invented = len(frame.truth) - len(good), max(0, len(frame.answer) - len(good))
    return float(missed + invented + (1 - good).sum())

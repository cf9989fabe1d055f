"""A perfect network: fields made from a picture's annotations, for the real decoder.

It shows what targets, strides and decoder allow, and that they agree on coordinates.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import torch
from pycocotools import mask as rle

from kdc_core.config import ModelInfo
from kdc_core.errors import InputError
from kdc_core.letterbox import Letterbox
from kdc_core.skeleton import K
from kdc_core.types import Fields, Frame
from kdc_lab.evaluate.annotated_images import Dataset
from kdc_lab.evaluate.coco_metrics import as_rle
from kdc_lab.training import MAX_PEOPLE, OVERLAP, POSE_UNKNOWN, SEG_UNKNOWN, Batch, oracle_fields


class GroundTruthEngine:
    """An engine that answers with the annotations of the frame named by its ``frame_id``."""

    name = "oracle: fields from annotations"
    model = None

    def __init__(self, dataset: Dataset, info: ModelInfo) -> None:
        self.info = info
        self._people = {e["file_name"]: dataset.people[e["id"]] for e in dataset.images}

    def __call__(self, frame: Frame) -> Fields:
        """Targets of the letterboxed picture, as fields.

        Raises:
            ValueError: the frame is not one of the dataset's.
        """
        if frame.frame_id not in self._people:
            raise InputError(f"oracle: no annotations for {frame.frame_id!r}")
        letterbox = Letterbox.fit(frame.size, self.info.longest, self.info.multiple)
        batch = as_batch(frame.image, self._people[frame.frame_id], letterbox)
        return oracle_fields(batch, self.info, letterbox)

    def close(self) -> None:
        """Nothing is held."""


def as_batch(image: np.ndarray, people: list[dict[str, Any]], letterbox: Letterbox) -> Batch:
    """One picture with its annotations, letterboxed as at inference, as a training batch."""
    persons = [p for p in people if not p["iscrowd"]][:MAX_PEOPLE]
    width, height = letterbox.input_size
    owner = np.zeros((height, width), np.uint8)
    ignore = np.zeros((height, width), np.uint8)
    keypoints = np.zeros((len(persons), K, 3), np.float32)
    for row, person in enumerate(persons):
        mask = _mask(person, letterbox)
        owner[mask] = np.where(owner[mask] > 0, OVERLAP, row + 1)
        keypoints[row] = np.reshape(person["keypoints"], (K, 3))
        if not person["segmentation"]:
            ignore[_region(person, letterbox)] |= SEG_UNKNOWN
        if not person["num_keypoints"]:
            ignore[_region(person, letterbox)] |= POSE_UNKNOWN
    for crowd in (p for p in people if p["iscrowd"]):
        ignore[_region(crowd, letterbox)] |= SEG_UNKNOWN | POSE_UNKNOWN
    keypoints[..., :2] = letterbox.to_input(keypoints[..., :2])
    keypoints[keypoints[..., 2] <= 0] = 0
    area = np.array([p["area"] for p in persons], np.float32) * np.float32(letterbox.scale**2)
    known = np.array([bool(p["segmentation"]) for p in persons], np.float32)
    rgb = np.ascontiguousarray(letterbox.image(image)[..., ::-1].transpose(2, 0, 1))
    arrays = (rgb, owner, ignore, keypoints, area, known)
    return Batch(*(torch.from_numpy(array)[None] for array in arrays))


def _region(person: dict[str, Any], letterbox: Letterbox) -> np.ndarray:
    """Where a person or crowd is: its mask, or its box where the mask is unknown."""
    if person["segmentation"]:
        return _mask(person, letterbox)
    x, y, width, height = person["bbox"]
    box = [[x, y, x + width, y, x + width, y + height, x, y + height]]
    return _mask({"segmentation": box}, letterbox)


def _mask(person: dict[str, Any], letterbox: Letterbox) -> np.ndarray:
    """A mask (H, W) bool in the network's input; polygons are scaled before they are filled."""
    width, height = letterbox.input_size
    shape = person["segmentation"]
    if not shape:
        return np.zeros((height, width), bool)
    inner, frame = letterbox.inner_size, letterbox.frame_size
    if isinstance(shape, list):
        factors = (inner[0] / frame[0], inner[1] / frame[1])
        # polygons count from the picture's corner, not from a pixel's centre: no half pixel here
        scaled = [(np.reshape(p, (-1, 2)) * factors).ravel().tolist() for p in shape]
        return rle.decode(as_rle(scaled, (height, width))).astype(bool)
    mask = np.zeros((height, width), bool)
    stored = rle.decode(as_rle(shape, (frame[1], frame[0])))
    mask[: inner[1], : inner[0]] = cv2.resize(stored, inner, interpolation=cv2.INTER_NEAREST) > 0
    return mask

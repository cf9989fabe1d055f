"""Engine that makes fields from annotations instead of a network, for the real decoder.

Its figures are the ceiling for targets, strides and decoder, and show that they agree on
coordinates.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import torch
from pycocotools import mask as rle

from kdc_core.config import ModelInfo
from kdc_core.letterbox import Letterbox
from kdc_core.skeleton import K
from kdc_core.types import Fields, Frame
from kdc_lab.evaluate.annotated_images import Dataset
from kdc_lab.evaluate.coco_metrics import as_rle
from kdc_lab.training import MAX_PEOPLE, OVERLAP, POSE_UNKNOWN, SEG_UNKNOWN, Batch, oracle_fields


class GroundTruthEngine:
    """Makes fields from the annotations of the frame that ``frame_id`` names."""

    name = "oracle: fields from annotations"
    model = None

    def __init__(self, dataset: Dataset, info: ModelInfo) -> None:
        """Create an engine for the images of a dataset; ``info`` gives input size and strides."""
        self.info = info
        self._people = {e["file_name"]: dataset.people[e["id"]] for e in dataset.images}

    def __call__(self, frame: Frame) -> Fields:
        """Return the targets of the letterboxed image as fields.

        Raises:
            ValueError: the frame is not in the dataset.
        """
        if frame.frame_id not in self._people:
            raise ValueError(f"oracle: no annotations for {frame.frame_id!r}")
        letterbox = Letterbox.fit(frame.size, self.info.longest, self.info.multiple)
        batch = annotation_batch(frame.image, self._people[frame.frame_id], letterbox)
        return oracle_fields(batch, self.info, letterbox)

    def close(self) -> None:
        """Do nothing: no resource is held."""


def annotation_batch(
    image: np.ndarray, people: list[dict[str, Any]], letterbox: Letterbox
) -> Batch:
    """Return an image with its annotations, letterboxed as at inference, as a training batch."""
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
    """Return the pixels of a person or crowd: its mask, or its box if the mask is unknown."""
    if person["segmentation"]:
        return _mask(person, letterbox)
    x, y, width, height = person["bbox"]
    box = [[x, y, x + width, y, x + width, y + height, x, y + height]]
    return _mask({"segmentation": box}, letterbox)


def _mask(person: dict[str, Any], letterbox: Letterbox) -> np.ndarray:
    """Return a mask (H, W) bool in the network's input. Polygons are scaled, then filled."""
    width, height = letterbox.input_size
    shape = person["segmentation"]
    if not shape:
        return np.zeros((height, width), bool)
    inner, frame = letterbox.inner_size, letterbox.frame_size
    if isinstance(shape, list):
        factors = (inner[0] / frame[0], inner[1] / frame[1])
        # polygons start at the image's corner, not at a pixel's centre: no half pixel here
        scaled = [(np.reshape(p, (-1, 2)) * factors).ravel().tolist() for p in shape]
        return rle.decode(as_rle(scaled, (height, width))).astype(bool)
    mask = np.zeros((height, width), bool)
    stored = rle.decode(as_rle(shape, (frame[1], frame[0])))
    mask[: inner[1], : inner[0]] = cv2.resize(stored, inner, interpolation=cv2.INTER_NEAREST) > 0
    return mask

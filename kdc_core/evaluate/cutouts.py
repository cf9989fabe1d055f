"""Real people cut out of annotated pictures, to walk through clips whose truth is known."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from pycocotools import mask as rle

from kdc_core.evaluate.clips import Layer, Path
from kdc_core.evaluate.coco import as_rle
from kdc_core.evaluate.dataset import Dataset
from kdc_core.skeleton import K

VISIBLE = 13  # keypoints that a cut-out must show
TALLEST = 110  # pixels: smaller people would be blurred when they are enlarged
SWAY = 1.5  # degrees to either side while walking


@dataclass(frozen=True)
class Cutout:
    """One person with its mask, moved along a path by similarity transforms."""

    image: np.ndarray  # (h, w, 3) uint8 BGR
    mask: np.ndarray  # (h, w) uint8, 0 or 255
    keypoints: np.ndarray  # (17, 3) in pixels of ``image``
    feet: Path = lambda t: (0.0, 0.0)
    tall: float = 150.0  # pixels
    pace: float = 1.0  # steps per second

    def layer(self, t: float, camera: np.ndarray, size: tuple[int, int]) -> Layer:
        """See ``Figure``."""
        height, width = self.mask.shape
        step = np.sin(2 * np.pi * self.pace * t)
        matrix = cv2.getRotationMatrix2D((width / 2, height), SWAY * step, self.tall / height)
        matrix[:, 2] += np.array(self.feet(t)) - camera - (width / 2, height)
        mask = cv2.warpAffine(self.mask, matrix, size, flags=cv2.INTER_LINEAR)
        image = cv2.warpAffine(self.image, matrix, size, borderMode=cv2.BORDER_REPLICATE)
        keypoints = self.keypoints.copy()
        keypoints[:, :2] = self.keypoints[:, :2] @ matrix[:, :2].T + matrix[:, 2]
        return Layer(mask > 127, keypoints, image)

    def walking(self, feet: Path, tall: float, pace: float) -> Cutout:
        """The same person on another way."""
        return replace(self, feet=feet, tall=tall, pace=pace)


def cut_out(dataset: Dataset) -> list[Cutout]:
    """All upright people of a dataset that are seen whole, the best labelled first.

    Raises:
        ValueError: there is none.
    """
    found = []
    for image, frame in dataset.frames():
        for person in dataset.people[image]:
            if _whole(person, frame.size):
                found.append((person["num_keypoints"], _cut(frame.image, person)))
    if not found:
        raise ValueError(
            f"{dataset.file}: nobody in it is upright, {TALLEST} pixels tall, has a mask and shows "
            f"{VISIBLE} keypoints; use more pictures"
        )
    return [cutout for _, cutout in sorted(found, key=lambda pair: -pair[0])]


def _whole(person: dict, size: tuple[int, int]) -> bool:
    x, y, width, height = person["bbox"]
    v = np.array(person["keypoints"][2::3])
    inside = x > 2 and y > 2 and x + width < size[0] - 2 and y + height < size[1] - 2
    upright = height >= TALLEST and height > 1.5 * width
    shown = np.count_nonzero(v == 2) >= VISIBLE and v[15:].min() > 0 and v[:5].max() == 2
    real = isinstance(person["segmentation"], list) and len(person["segmentation"]) == 1
    return bool(inside and upright and shown and real and not person["iscrowd"])


def _cut(image: np.ndarray, person: dict) -> Cutout:
    height, width = image.shape[:2]
    mask = rle.decode(as_rle(person["segmentation"], (height, width)))
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    keypoints = np.reshape(person["keypoints"], (K, 3)).astype(np.float32)
    keypoints[:, :2] -= columns[0], rows[0]
    return Cutout(image[box].copy(), mask[box] * 255, keypoints)

"""Cut people out of annotated or rendered images, to compose clips with known ground truth."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import cv2
import numpy as np
from pycocotools import mask as rle

from kdc_core.errors import InputError
from kdc_core.skeleton import K
from kdc_lab.evaluate.annotated_images import Dataset
from kdc_lab.evaluate.coco_metrics import as_rle
from kdc_lab.evaluate.composed_clips import Layer, Path
from kdc_lab.synth import RenderedFrame, SynthConfig, clip, image_seed

MIN_VISIBLE = 13  # visible keypoints of a cut-out
MIN_HEIGHT = 110  # pixels; smaller people would be blurred when they are enlarged
SWAY = 1.5  # degrees to either side while walking
RATE, FRAMES = 15.0, 12  # frames per second and number of frames of a rendered person's motion
MIN_RENDERED_HEIGHT = 200  # pixels, for the same reason
TRIES = 20  # clips that are rendered per person, at most


@dataclass(frozen=True)
class Cutout:
    """One person with its mask. A similarity transform moves it along a path."""

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
        """Return the same person on another path."""
        return replace(self, feet=feet, tall=tall, pace=pace)


@dataclass(frozen=True)
class Walker:
    """One rendered person in several frames of a motion, played back and forth along a path."""

    frames: tuple[Cutout, ...]  # hips in the middle; ``tall`` relative to the person's mean height
    feet: Path = lambda t: (0.0, 0.0)
    tall: float = 150.0  # pixels
    pace: float = 1.0  # times the motion's own speed; 0 = stands still

    def layer(self, t: float, camera: np.ndarray, size: tuple[int, int]) -> Layer:
        """See ``Figure``."""
        last = len(self.frames) - 1
        at = int(t * self.pace * RATE) % (2 * last)
        frame = self.frames[min(at, 2 * last - at)]
        still = replace(frame, feet=self.feet, tall=self.tall * frame.tall, pace=0.0)
        return still.layer(t, camera, size)

    def walking(self, feet: Path, tall: float, pace: float) -> Walker:
        """Return the same person on another path."""
        return replace(self, feet=feet, tall=tall, pace=pace)


def rendered(count: int, seed: int = 0) -> list[Walker]:
    """Render ``count`` people in motion, each isolated and fully visible.

    Raises:
        InputError: the generator is not installed, or too few people are fully visible.
    """
    found = list(islice(_walkers(seed, TRIES * count), count))
    if len(found) < count:
        raise InputError(
            f"rendered people: expected {count} clips with a fully visible person, got "
            f"{len(found)} of {TRIES * count}; try another --seed"
        )
    return found


def _walkers(seed: int, tries: int) -> Iterator[Walker]:
    isolated = SynthConfig(
        size=(640, 640),
        people=(1, 1),
        crowding=0.0,
        camera_height=(1.0, 1.6),
        focal=(1.0, 1.6),
        tilt=0.0,
        occluders=0.0,
        contact=0.0,
        effects=0.0,
    )
    for index in range(tries):
        frames = []
        for shot in clip(image_seed(seed, index), isolated, FRAMES / RATE, RATE):
            if not _is_frame_usable(shot):
                break
            frames.append(_cut_rendered(shot))
        if len(frames) == FRAMES:
            yield Walker(at_one_distance(frames))


def at_one_distance(frames: list[Cutout]) -> tuple[Cutout, ...]:
    """Remove the linear trend of the heights, which comes from walking to or from the camera."""
    heights = np.array([len(frame.mask) for frame in frames], float)
    steps = np.arange(len(frames))
    steady = np.polyval(np.polyfit(steps, heights, 1), steps)
    return tuple(
        replace(f, tall=float(h / s)) for f, h, s in zip(frames, heights, steady, strict=True)
    )


def _is_frame_usable(shot: RenderedFrame) -> bool:
    if len(shot) != 1:
        return False
    height, width = shot.labels.shape
    x1, y1, x2, y2 = shot.box[0]
    inside = x1 > 2 and y1 > 2 and x2 < width - 2 and y2 < height - 2
    upright = y2 - y1 >= MIN_RENDERED_HEIGHT and y2 - y1 > 1.5 * (x2 - x1)
    return bool(inside and upright and shot.hidden[0] < 0.01)


def _cut_rendered(shot: RenderedFrame) -> Cutout:
    """Cut the person out, with its hips in the middle of a box that ends at its feet."""
    mask = shot.labels == 1
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    hips = round(float(shot.keypoints[0, 11:13, 0].mean()))
    half = max(hips - columns[0], columns[-1] - hips)
    sides = ((0, 0), (half, half))
    box = slice(rows[0], rows[-1] + 1), slice(hips, hips + 2 * half + 1)
    keypoints = shot.keypoints[0] - (hips - half, rows[0], 0)
    image = np.pad(shot.image, (*sides, (0, 0)), mode="edge")[box]
    return Cutout(image, np.pad(mask, sides)[box].astype(np.uint8) * 255, keypoints)


def cut_out(dataset: Dataset) -> list[Cutout]:
    """Cut out all upright, fully visible people of a dataset, the best annotated first.

    Raises:
        InputError: there is none.
    """
    found = []
    for image, frame in dataset.frames():
        for person in dataset.people[image]:
            if _is_fully_visible(person, frame.size):
                found.append((person["num_keypoints"], _cut(frame.image, person)))
    if not found:
        raise InputError(
            f"{dataset.file}: expected an upright person {MIN_HEIGHT} pixels tall with a mask and "
            f"{MIN_VISIBLE} visible keypoints, got none; use more images"
        )
    return [cutout for _, cutout in sorted(found, key=lambda pair: -pair[0])]


def _is_fully_visible(person: dict[str, Any], size: tuple[int, int]) -> bool:
    x, y, width, height = person["bbox"]
    v = np.array(person["keypoints"][2::3])
    inside = x > 2 and y > 2 and x + width < size[0] - 2 and y + height < size[1] - 2
    upright = height >= MIN_HEIGHT and height > 1.5 * width
    shown = np.count_nonzero(v == 2) >= MIN_VISIBLE and v[15:].min() > 0 and v[:5].max() == 2
    real = isinstance(person["segmentation"], list) and len(person["segmentation"]) == 1
    return bool(inside and upright and shown and real and not person["iscrowd"])


def _cut(image: np.ndarray, person: dict[str, Any]) -> Cutout:
    height, width = image.shape[:2]
    mask = rle.decode(as_rle(person["segmentation"], (height, width)))
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    keypoints = np.reshape(person["keypoints"], (K, 3)).astype(np.float32)
    keypoints[:, :2] -= columns[0], rows[0]
    return Cutout(image[box].copy(), mask[box] * 255, keypoints)

"""Compose clips with known ground truth: people walk, cross, and pass behind pillars.

Every figure is a layer: image, mask and keypoints at a time. A clip stacks its layers, so exact
masks, visibility and ids of every frame are known for every kind of figure.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from kdc_core.skeleton import K
from kdc_lab.synth import STANDING, STRIDE, draw_body, label_visibility

Path = Callable[[float], tuple[float, float]]  # seconds → (x, y) of the feet, scene pixels
Box = tuple[float, float, float, float]  # x0, y0, x1, y1, scene pixels


class Figure(Protocol):
    """A person in a clip."""

    def layer(self, t: float, camera: np.ndarray, size: tuple[int, int]) -> Layer:
        """Return the figure at ``t`` seconds; ``camera`` is the top left corner of the image."""
        ...


@dataclass(frozen=True)
class Layer:
    """One figure without the others."""

    mask: np.ndarray  # (H, W) bool
    keypoints: np.ndarray  # (17, 3) x, y, v: 0 unknown, 1 hidden by the figure itself, 2 visible
    image: np.ndarray | None = None  # (H, W, 3) uint8 BGR, read where the mask is


@dataclass(frozen=True)
class Drawn:
    """A drawn figure whose keypoints are all visible unless something is in front of it."""

    feet: Path
    tall: float = 150.0  # pixels
    pace: float = 1.0  # steps per second, 0 = stands still
    colour: tuple[int, int, int] = (200, 200, 200)

    def layer(self, t: float, camera: np.ndarray, size: tuple[int, int]) -> Layer:
        """See ``Figure``."""
        swing = np.sin(2 * np.pi * self.pace * t)
        points = np.array(self.feet(t)) - camera + self.tall * (STANDING + swing * STRIDE)
        mask = np.zeros((size[1], size[0]), np.uint8)
        draw_body(mask, points, self.tall, 1)
        image = np.empty((size[1], size[0], 3), np.uint8)
        image[:] = self.colour
        keypoints = np.concatenate([points, np.full((K, 1), 2.0)], axis=1)
        return Layer(mask > 0, keypoints.astype(np.float32), image)


@dataclass(frozen=True)
class ComposedFrame:
    """Ground truth of one frame; row w is figure w."""

    owner: np.ndarray  # (H, W) uint8, figure + 1, 0 = background
    keypoints: np.ndarray  # (W, 17, 3) v = 1 where hidden by anything, 0 outside the image
    share: np.ndarray  # (W,) visible share of each figure's body, 0…1
    image: np.ndarray  # (H, W, 3) uint8 BGR

    def seen(self, least: float = 0.05) -> ComposedFrame:
        """Return only the figures that are visible enough to be annotated: a share of ``least``."""
        rows = np.flatnonzero(self.share >= least)
        value = np.zeros(len(self.share) + 1, np.uint8)
        value[rows + 1] = np.arange(1, len(rows) + 1)
        return ComposedFrame(value[self.owner], self.keypoints[rows], self.share[rows], self.image)


@dataclass(frozen=True)
class Clip:
    """Figures, later ones in front; pillars in front of all of them; a camera that may pan."""

    figures: tuple[Figure, ...]
    size: tuple[int, int] = (320, 240)  # (width, height), pixels
    pillars: Callable[[float], list[Box]] = lambda t: []
    camera: Path = lambda t: (0.0, 0.0)
    background: np.ndarray | None = None  # at least (H, W, 3) uint8 BGR, moves with the camera

    def at(self, t: float) -> ComposedFrame:
        """Return the frame at ``t`` seconds."""
        width, height = self.size
        camera = np.array(self.camera(t), float)
        owner, image = np.zeros((height, width), np.uint8), self._behind(camera)
        layers = [figure.layer(t, camera, self.size) for figure in self.figures]
        for row, layer in enumerate(layers):
            owner[layer.mask] = row + 1
            if layer.image is not None:
                image[layer.mask] = layer.image[layer.mask]
        for box in self.pillars(t):
            x0, y0, x1, y1 = np.maximum(np.rint(np.array(box) - np.tile(camera, 2)), 0).astype(int)
            owner[y0:y1, x0:x1], image[y0:y1, x0:x1] = 0, (60, 70, 80)
        whole = np.array([max(1, np.count_nonzero(layer.mask)) for layer in layers])
        share = np.bincount(owner.ravel(), minlength=len(layers) + 1)[1:] / whole
        keypoints = np.array([layer.keypoints for layer in layers], np.float32).reshape(-1, K, 3)
        return ComposedFrame(owner, label_visibility(keypoints, owner), share, image)

    def _behind(self, camera: np.ndarray) -> np.ndarray:
        width, height = self.size
        if self.background is None:
            return np.full((height, width, 3), 30, np.uint8)
        x = np.arange(width) + round(camera[0])
        y = np.arange(height) + round(camera[1])
        tall, wide = self.background.shape[:2]
        # the background is mirrored at its border, so that a pan never leaves it
        x, y = _mirrored(x, wide), _mirrored(y, tall)
        return self.background[y[:, None], x]


def line(x: float, y: float, speed: float) -> Path:
    """Return a walk along x; ``speed`` is in pixels per second, positive to the right."""
    return lambda t: (x + speed * t, y)


def _mirrored(index: np.ndarray, size: int) -> np.ndarray:
    index = index % (2 * size)
    return np.where(index < size, index, 2 * size - 1 - index)

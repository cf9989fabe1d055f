"""Add the errors of a network to perfect fields."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from kdc_core.types import Fields

HEAT, SEG, VIS = 0.05, 0.10, 0.15  # standard deviations of probabilities
NEAR, FAR = 0.04, 0.06  # deviation of offsets: in R, and as a share of their length
SHARED = 0.7  # correlation of the errors of neighbouring cells: errors of a network are patchy
PATCH = 4  # cells


def noisy(fields: Fields, rng: np.random.Generator, level: float = 1.0) -> Fields:
    """Return a copy with errors; longer offsets have larger errors."""

    def unsure(values: np.ndarray, deviation: float) -> np.ndarray:
        noise = rng.standard_normal(values.shape, np.float32) * np.float32(deviation * level)
        return (values + noise).clip(0, 1)

    def wrong(offsets: np.ndarray) -> np.ndarray:
        length = np.sqrt((offsets**2).sum(axis=1, keepdims=True))
        size = np.float32(level) * (NEAR + FAR * length)
        return offsets + size * _patchy(rng, offsets.shape)

    return replace(
        fields,
        heat=unsure(fields.heat, HEAT),
        seg=unsure(fields.seg, SEG),
        vis=unsure(fields.vis, VIS),
        short=wrong(fields.short),
        mid=wrong(fields.mid),
        anchor=wrong(fields.anchor),
    )


def _patchy(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Return noise (N, 2, h, w) of variance about 1, correlated between neighbouring cells."""
    height, width = shape[2:]
    single = rng.standard_normal(shape, np.float32)
    coarse = rng.standard_normal(
        (height // PATCH + 2, width // PATCH + 2, shape[0] * 2), np.float32
    )
    patches = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
    smooth = (patches / (patches.std() + 1e-9)).transpose(2, 0, 1).reshape(shape)
    noise: np.ndarray = np.sqrt(SHARED) * smooth + np.sqrt(1 - SHARED) * single
    return noise.astype(np.float32)

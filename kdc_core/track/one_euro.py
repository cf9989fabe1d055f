"""One-Euro filter (Casiez 2012) for published keypoints, relative to the body's own motion."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from kdc_core.geometry import length
from kdc_core.track.columns import Rows

SLOPE_CUTOFF = 1.0  # Hz, low-pass of the speed that opens the filter


@dataclass(frozen=True)
class Calm(Rows):
    """Filter state of T people in units of their scale, relative to their origin."""

    value: np.ndarray  # (T, 18, 2)
    slope: np.ndarray  # (T, 18, 2) per second


def still(value: np.ndarray) -> Calm:
    """State of people that were not there before, ``value`` (P, 18, 2)."""
    return Calm(value, np.zeros_like(value))


def smooth(calm: Calm, value: np.ndarray, dt: float, min_cutoff: float, beta: float) -> Calm:
    """State ``dt`` seconds later.

    The body's own motion has been taken out of ``value``: walking opens the filter no more than
    standing does, and does not lag.
    """
    if dt <= 0:
        return calm
    slope = calm.slope + _rate(SLOPE_CUTOFF, dt) * ((value - calm.value) / dt - calm.slope)
    cutoff = min_cutoff + beta * length(slope)[..., None]
    return Calm(calm.value + _rate(cutoff, dt) * (value - calm.value), slope)


def _rate(cutoff: float | np.ndarray, dt: float) -> np.ndarray:
    return 1 / (1 + 1 / (2 * math.pi * np.asarray(cutoff) * dt))

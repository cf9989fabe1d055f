"""One-Euro filter (Casiez 2012) for published keypoints, relative to the body's own motion."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from kdc_core.geometry import length
from kdc_core.track.columns import Rows
from kdc_core.track.track_config import SmoothingConfig


@dataclass(frozen=True)
class OneEuroState(Rows):
    """Filter state of T people in units of their scale, relative to their origin."""

    value: np.ndarray  # (T, 18, 2)
    slope: np.ndarray  # (T, 18, 2) per second


def initial_state(value: np.ndarray) -> OneEuroState:
    """Return the state of new people at ``value`` (P, 18, 2)."""
    return OneEuroState(value, np.zeros_like(value))


def filter_keypoints(
    state: OneEuroState, value: np.ndarray, dt: float, config: SmoothingConfig
) -> OneEuroState:
    """Return the state ``dt`` seconds later.

    The body's own motion is not part of ``value`` (T, 18, 2): walking opens the filter no more
    than standing, and adds no lag.
    """
    if dt <= 0:
        return state
    slope_rate = _rate(config.slope_cutoff, dt)
    slope = state.slope + slope_rate * ((value - state.value) / dt - state.slope)
    cutoff = config.min_cutoff + config.beta * length(slope)[..., None]
    return OneEuroState(state.value + _rate(cutoff, dt) * (value - state.value), slope)


def _rate(cutoff: float | np.ndarray, dt: float) -> np.ndarray:
    """Return the share of the way to a new value for a low-pass of ``cutoff`` Hz."""
    return 1 / (1 + 1 / (2 * math.pi * np.asarray(cutoff) * dt))

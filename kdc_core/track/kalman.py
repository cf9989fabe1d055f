"""Constant-velocity Kalman filters, one per anchor and one for the body, all tracks at once."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from kdc_core.skeleton import A
from kdc_core.track.columns import Rows

BODY = A  # slot of the body's origin behind the 18 anchors
POINTS = A + 1


@dataclass(frozen=True)
class Motion(Rows):
    """Where the points of T people are and where they go. Both axes share a variance."""

    xy: np.ndarray  # (T, 19, 2) input pixels
    velocity: np.ndarray  # (T, 19, 2) input pixels / second
    variance: np.ndarray  # (T, 19, 3) of position, of both, of velocity


def initiate(xy: np.ndarray, noise: np.ndarray, speed: np.ndarray) -> Motion:
    """Filters that stand still at ``xy`` (T, 19, 2); standard deviations in pixels, (T, 19)."""
    variance = np.stack([noise**2, np.zeros_like(noise), speed**2], axis=-1)
    return Motion(xy, np.zeros_like(xy), variance)


def predict(motion: Motion, dt: float, density: np.ndarray) -> Motion:
    """State after ``dt`` seconds; ``density`` (T, 19) is the variance that velocity gains a second.

    White noise in the acceleration, integrated over time, so that two short steps equal a long one.
    """
    pp, pv, vv = motion.variance.transpose(2, 0, 1)
    variance = np.stack(
        [
            pp + 2 * dt * pv + dt**2 * vv + density * dt**3 / 3,
            pv + dt * vv + density * dt**2 / 2,
            vv + density * dt,
        ],
        axis=-1,
    )
    return Motion(motion.xy + dt * motion.velocity, motion.velocity, variance)


def correct(motion: Motion, xy: np.ndarray, noise: np.ndarray) -> Motion:
    """State after points were measured at ``xy`` with standard deviation ``noise`` (T, 19)."""
    pp, pv, vv = motion.variance.transpose(2, 0, 1)
    total = pp + noise**2
    of_place, of_speed = pp / total, pv / total
    miss = xy - motion.xy
    variance = np.stack([pp * (1 - of_place), pv * (1 - of_place), vv - of_speed * pv], axis=-1)
    return Motion(
        motion.xy + of_place[..., None] * miss,
        motion.velocity + of_speed[..., None] * miss,
        variance,
    )


def coast(motion: Motion, body: np.ndarray, dt: float, calm: float) -> Motion:
    """Hidden people: joints settle at their usual place ``body`` (T, 18, 2), all move as one.

    Velocity falls by e in ``calm`` seconds: nobody walks straight on for ever.
    """
    settle = 1 - np.exp(-dt / 0.2)
    xy = motion.xy.copy()
    xy[:, :A] += settle * (body - xy[:, :A])
    velocity = np.repeat(motion.velocity[:, BODY:], POINTS, axis=1) * np.exp(-dt / calm)
    return replace(motion, xy=xy, velocity=velocity)

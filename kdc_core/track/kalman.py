"""Constant-velocity Kalman filters: one per anchor and one for the body, all tracks at once."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from kdc_core.skeleton import A
from kdc_core.track.columns import Rows

BODY = A  # index of the body's origin, after the 18 anchors
POINTS = A + 1


@dataclass(frozen=True)
class Motion(Rows):
    """Positions and velocities of the points of T people. Both axes share a variance."""

    xy: np.ndarray  # (T, 19, 2) input pixels
    velocity: np.ndarray  # (T, 19, 2) input pixels / second
    variance: np.ndarray  # (T, 19, 3) of position, covariance with velocity, of velocity


def initiate(xy: np.ndarray, noise: np.ndarray, speed: np.ndarray) -> Motion:
    """Return filters at rest.

    Args:
        xy: (T, 19, 2) positions, input pixels.
        noise: (T, 19) standard deviations of the positions, input pixels.
        speed: (T, 19) standard deviations of the velocities, input pixels / second.
    """
    variance = np.stack([noise**2, np.zeros_like(noise), speed**2], axis=-1)
    return Motion(xy, np.zeros_like(xy), variance)


def predict(motion: Motion, dt: float, density: np.ndarray) -> Motion:
    """Return the state after ``dt`` seconds.

    The acceleration is white noise that is integrated over time, so that two short steps equal a
    long one.

    Args:
        motion: T filters.
        dt: seconds.
        density: (T, 19) variance that the velocity gains per second, (input pixels / second)² / s.
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
    """Return the state after points were measured.

    Args:
        motion: T filters.
        xy: (T, 19, 2) measured positions, input pixels.
        noise: (T, 19) their standard deviations, input pixels; inf = not measured.
    """
    pp, pv, vv = motion.variance.transpose(2, 0, 1)
    total = pp + noise**2
    position_gain, velocity_gain = pp / total, pv / total
    miss = xy - motion.xy
    variance = np.stack(
        [pp * (1 - position_gain), pv * (1 - position_gain), vv - velocity_gain * pv], axis=-1
    )
    return Motion(
        motion.xy + position_gain[..., None] * miss,
        motion.velocity + velocity_gain[..., None] * miss,
        variance,
    )


def coast(
    motion: Motion, anchors: np.ndarray, dt: float, joint_return: float, coast_time: float
) -> Motion:
    """Return the state of occluded people: joints return to the usual shape, all move as one.

    Args:
        motion: T filters.
        anchors: (T, 18, 2) usual positions of the joints, input pixels.
        dt: seconds since the last frame.
        joint_return: seconds in which a joint's deviation falls to 1/e.
        coast_time: seconds in which the velocity falls to 1/e.
    """
    rate = 1 - np.exp(-dt / joint_return)
    xy = motion.xy.copy()
    xy[:, :A] += rate * (anchors - xy[:, :A])
    velocity = np.repeat(motion.velocity[:, BODY:], POINTS, axis=1) * np.exp(-dt / coast_time)
    return replace(motion, xy=xy, velocity=velocity)

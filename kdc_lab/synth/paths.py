"""Simulate paths of people who avoid each other; the paths do not depend on the frame rate."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

STEP = 0.1  # seconds per step of the simulation; frames are interpolated
PERSONAL_SPACE = 1.2  # metres of free space that people keep around them
MAX_TURN_RATE = 2.0  # radians per second
MAX_JAM = 1.0  # seconds without progress before a person picks another goal
ACCELERATION = 1.5  # m/s²; braking is three times as strong


@dataclass(frozen=True)
class WalkPath:
    """Path of one person, sampled every ``STEP`` seconds."""

    xy: np.ndarray  # (T, 2) metres
    heading: np.ndarray  # (T,) radians turned left from -y, without jumps of 2π
    speed: np.ndarray  # (T,) m/s
    phase: np.ndarray  # (T,) cycles of the gait so far

    def at(self, time: float) -> tuple[float, float, float, float, float]:
        """Return x, y, degrees turned left, speed and gait phase at a time in seconds."""
        times = np.arange(len(self.speed)) * STEP
        columns = (*self.xy.T, np.rad2deg(self.heading), self.speed, self.phase)
        x, y, yaw, speed, phase = (float(np.interp(time, times, column)) for column in columns)
        return x, y, yaw, speed, phase


def simulate_paths(
    rng: np.random.Generator,
    seconds: float,
    starts: np.ndarray,
    speeds: np.ndarray,
    radii: np.ndarray,
    strides: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
) -> list[WalkPath]:
    """Return the paths of N people in an area.

    Args:
        rng: Source of the goals.
        seconds: Length of the paths.
        starts: (N, 2) metres.
        speeds: (N,) preferred speeds in m/s; 0 stands still.
        radii: (N,) radii of the people in metres.
        strides: (N,) metres of a gait cycle at 1 m/s; it grows with the square root of the speed.
        low: (2,) corner of the area in metres.
        high: (2,) opposite corner.
    """
    count = len(starts)
    steps = int(np.ceil(seconds / STEP)) + 2
    position, goals = starts.astype(float).copy(), rng.uniform(low, high, (count, 2))
    way = goals - position
    heading = np.arctan2(way[:, 0], -way[:, 1])
    pace = speeds.astype(float).copy()
    phase = rng.random(count)
    moving, stuck = speeds > 0, np.zeros(count)
    log = np.empty((steps, count, 5))
    for step in range(steps):
        log[step] = np.column_stack([position, heading, pace, phase])
        wish = goals - position
        stuck = np.where(pace < 0.3 * speeds, stuck + STEP, 0.0)
        reached = moving & ((np.linalg.norm(wish, axis=1) < 0.5) | (stuck > MAX_JAM))
        goals[reached] = rng.uniform(low, high, (count, 2))[reached]
        stuck[reached] = 0.0
        wish /= np.maximum(np.linalg.norm(wish, axis=1, keepdims=True), 1e-6)
        wish += _repulsion(position, radii)
        bearing = np.arctan2(wish[:, 0], -wish[:, 1])
        error = (bearing - heading + np.pi) % (2 * np.pi) - np.pi
        heading = heading + moving * np.clip(error, -MAX_TURN_RATE * STEP, MAX_TURN_RATE * STEP)
        ahead = np.column_stack([np.sin(heading), -np.cos(heading)])
        # slow down when the goal is not ahead or another person is close in front
        aim = (
            speeds
            * np.clip(np.cos(error), 0.1, 1)
            * np.clip(_free_speed_share(position, ahead, radii), 0, 1)
        )
        pace = pace + np.clip(aim - pace, -3 * ACCELERATION * STEP, ACCELERATION * STEP)
        position = position + ahead * (pace * STEP)[:, None]
        position = _separate(position, radii, moving)
        phase = phase + STEP * np.sqrt(np.maximum(pace, 0)) / strides
    return [WalkPath(log[:, i, :2], log[:, i, 2], log[:, i, 3], log[:, i, 4]) for i in range(count)]


def _repulsion(position: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """Return the push (N, 2) away from other people."""
    apart = position[:, None] - position[None]
    distance = np.linalg.norm(apart, axis=2) + np.eye(len(position)) * 1e3
    gap = distance - radii[:, None] - radii[None]
    strength = np.clip(1 - gap / PERSONAL_SPACE, 0, 1) ** 2
    away = apart / np.maximum(distance, 1e-6)[..., None]
    # evade to the right and not straight back, otherwise two people block each other
    beside = np.stack([-away[..., 1], away[..., 0]], axis=-1)
    return ((1.2 * away + 0.8 * beside) * strength[..., None]).sum(axis=1)


def _free_speed_share(position: np.ndarray, ahead: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """Return the share (N,) of the preferred speed that the gap in front allows."""
    apart = position[None] - position[:, None]
    front = np.einsum("ijk,ik->ij", apart, ahead)
    side = np.abs(np.einsum("ijk,ik->ij", apart, np.column_stack([-ahead[:, 1], ahead[:, 0]])))
    reach = radii[:, None] + radii[None]
    blocking = (front > 0) & (side < reach)
    np.fill_diagonal(blocking, False)
    gap = np.where(blocking, front - reach, 9.0)
    return np.clip(gap.min(axis=1, initial=9.0) / 0.6, 0.05, 1)


def _separate(position: np.ndarray, radii: np.ndarray, moving: np.ndarray) -> np.ndarray:
    """Push overlapping people apart; only moving people give way."""
    for _ in range(4):
        apart = position[:, None] - position[None]
        distance = np.linalg.norm(apart, axis=2) + np.eye(len(position)) * 1e3
        deep = np.maximum(radii[:, None] + radii[None] - distance, 0)
        share = moving[:, None] / np.maximum(moving[:, None] + moving[None], 1)
        position = position + (
            apart / np.maximum(distance, 1e-6)[..., None] * (deep * share)[..., None]
        ).sum(axis=1)
    return position

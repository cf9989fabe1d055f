"""Where people go: paths through a crowd that avoid each other, the same at any frame rate."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

STEP = 0.1  # seconds of the simulation; frames are read between its steps
LOOK = 1.2  # metres of free space around a body that people like to keep
TURN = 2.0  # radians a second that someone turns at most
PATIENCE = 1.0  # seconds in a jam before someone goes elsewhere
HURRY = 1.5  # m/s²: how fast they speed up or slow down


@dataclass(frozen=True)
class Path:
    """One person's way, at times ``STEP`` apart."""

    xy: np.ndarray  # (T, 2) metres
    heading: np.ndarray  # (T,) radians turned left from facing -y, without jumps
    speed: np.ndarray  # (T,) metres a second
    phase: np.ndarray  # (T,) cycles of the gait so far

    def at(self, time: float) -> tuple[float, float, float, float, float]:
        """x, y, degrees turned left, speed and phase at a time in seconds."""
        times = np.arange(len(self.speed)) * STEP
        columns = (*self.xy.T, np.rad2deg(self.heading), self.speed, self.phase)
        x, y, yaw, speed, phase = (float(np.interp(time, times, column)) for column in columns)
        return x, y, yaw, speed, phase


def walk(
    rng: np.random.Generator, seconds: float, starts: np.ndarray, speeds: np.ndarray,
    radii: np.ndarray, strides: np.ndarray, low: np.ndarray, high: np.ndarray,
) -> list[Path]:  # fmt: skip
    """Paths of N people in the field from corner ``low`` (2,) to ``high``.

    ``starts`` (N, 2) metres; ``speeds`` (N,) wanted, m/s, 0 stays; ``radii`` (N,) metres;
    ``strides`` (N,): metres of a gait cycle at 1 m/s, which grows with the root of the speed.
    """
    count = len(starts)
    steps = int(np.ceil(seconds / STEP)) + 2
    place, goals = starts.astype(float).copy(), rng.uniform(low, high, (count, 2))
    way = goals - place
    heading = np.arctan2(way[:, 0], -way[:, 1])
    pace = speeds.astype(float).copy()
    phase = rng.random(count)
    moving, stuck = speeds > 0, np.zeros(count)
    log = np.empty((steps, count, 5))
    for step in range(steps):
        log[step] = np.column_stack([place, heading, pace, phase])
        wish = goals - place
        stuck = np.where(pace < 0.3 * speeds, stuck + STEP, 0.0)
        reached = moving & ((np.linalg.norm(wish, axis=1) < 0.5) | (stuck > PATIENCE))
        goals[reached] = rng.uniform(low, high, (count, 2))[reached]
        stuck[reached] = 0.0
        wish /= np.maximum(np.linalg.norm(wish, axis=1, keepdims=True), 1e-6)
        wish += _pushes(place, radii)
        bearing = np.arctan2(wish[:, 0], -wish[:, 1])
        error = (bearing - heading + np.pi) % (2 * np.pi) - np.pi
        heading = heading + moving * np.clip(error, -TURN * STEP, TURN * STEP)
        ahead = np.column_stack([np.sin(heading), -np.cos(heading)])
        # slower where the wish is not ahead, and where someone is close in front
        aim = speeds * np.clip(np.cos(error), 0.1, 1) * np.clip(_room(place, ahead, radii), 0, 1)
        pace = pace + np.clip(aim - pace, -3 * HURRY * STEP, HURRY * STEP)
        place = place + ahead * (pace * STEP)[:, None]
        place = _apart(place, radii, moving)
        phase = phase + STEP * np.sqrt(np.maximum(pace, 0)) / strides
    return [Path(log[:, i, :2], log[:, i, 2], log[:, i, 3], log[:, i, 4]) for i in range(count)]


def _pushes(place: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """Wish (N, 2) to keep away from others."""
    apart = place[:, None] - place[None]
    distance = np.linalg.norm(apart, axis=2) + np.eye(len(place)) * 1e3
    gap = distance - radii[:, None] - radii[None]
    strength = np.clip(1 - gap / LOOK, 0, 1) ** 2
    away = apart / np.maximum(distance, 1e-6)[..., None]
    # to the right of them rather than straight back, or two would block each other
    beside = np.stack([-away[..., 1], away[..., 0]], axis=-1)
    return ((1.2 * away + 0.8 * beside) * strength[..., None]).sum(axis=1)


def _room(place: np.ndarray, ahead: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """Share (N,) of the wanted speed that the gap in front allows."""
    apart = place[None] - place[:, None]
    front = np.einsum("ijk,ik->ij", apart, ahead)
    side = np.abs(np.einsum("ijk,ik->ij", apart, np.column_stack([-ahead[:, 1], ahead[:, 0]])))
    reach = radii[:, None] + radii[None]
    blocking = (front > 0) & (side < reach)
    np.fill_diagonal(blocking, False)
    gap = np.where(blocking, front - reach, 9.0)
    return np.clip(gap.min(axis=1, initial=9.0) / 0.6, 0.05, 1)


def _apart(place: np.ndarray, radii: np.ndarray, moving: np.ndarray) -> np.ndarray:
    """Push those who overlap apart; only who moves gives way."""
    for _ in range(4):
        apart = place[:, None] - place[None]
        distance = np.linalg.norm(apart, axis=2) + np.eye(len(place)) * 1e3
        deep = np.maximum(radii[:, None] + radii[None] - distance, 0)
        share = moving[:, None] / np.maximum(moving[:, None] + moving[None], 1)
        place = place + (apart / np.maximum(distance, 1e-6)[..., None]
                         * (deep * share)[..., None]).sum(axis=1)  # fmt: skip
    return place

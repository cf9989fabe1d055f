"""Which keypoints of a person are seen, and which of them carries it: calm, but quick to let go."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from kdc_core.config import CentroidMode
from kdc_core.decode import weigh_anchors
from kdc_core.geometry import length
from kdc_core.skeleton import ANCHORS, CENTRE, A, K
from kdc_core.track.columns import Rows
from kdc_core.track.track_config import TrackConfig
from kdc_core.types import Centroids

NEAR_HIDDEN, FAR = 0.2, 1.0  # scales: worth of a keypoint beside a hidden one; where it is safe


@dataclass(frozen=True)
class CentroidSwitch:
    """A person's centroid moved to another anchor; the id is whose it was and stays."""

    id: int
    before: int  # anchor, see skeleton.ANCHORS
    after: int
    reason: str  # one line for people, such as "left_ankle 0.71 -> 0.22, nose 0.93"
    stamp: float  # seconds


@dataclass(frozen=True)
class Visibility(Rows):
    """How well T people's keypoints are seen, and the anchors in use."""

    value: np.ndarray  # (T, 17) v_k, average confidence
    above: np.ndarray  # (T, 17) seconds since v_k rose above ``on``
    on: np.ndarray  # (T, 17) bool
    weight: np.ndarray  # (T, 18) ω_k, cross-faded
    primary: np.ndarray  # (T,) anchor that is reported as the centroid
    since: np.ndarray  # (T,) seconds since the last switch


def look(confidence: np.ndarray, config: TrackConfig) -> Visibility:
    """State of people that were not there before; ``confidence`` c_k is (P, 18)."""
    value = confidence[:, :K].astype(float)
    on = value > (config.on + config.off) / 2
    primary = np.where(on.any(axis=1), (value * on).argmax(axis=1), CENTRE)
    since = np.full(len(value), np.inf)
    state = Visibility(value, np.zeros_like(value), on, np.zeros((len(value), A)), primary, since)
    return _weighted(state, confidence, 1.0)


def look_again(state: Visibility, confidence: np.ndarray, config: TrackConfig) -> Visibility:
    """State of people who come back: as seen now, carried by what carried them if that is seen."""
    now = look(confidence, config)
    padded = np.concatenate([now.on, np.zeros((len(now.on), 1), bool)], axis=1)
    kept = padded[np.arange(len(padded)), state.primary]
    return replace(now, primary=np.where(kept, state.primary, now.primary))


def update(
    state: Visibility, confidence: np.ndarray, shape: np.ndarray, dt: float, config: TrackConfig
) -> Visibility:
    """State ``dt`` seconds later with newly measured confidences (T, 18).

    ``shape`` (T, 18, 2) is where the anchors are, in scales: what hides one keypoint soon hides
    its neighbours.
    """
    value = state.value + (1 - np.exp(-dt / config.fall)) * (confidence[:, :K] - state.value)
    above = np.where(value > config.on, state.above + dt, 0.0)
    on = (state.on | (above >= config.dwell)) & (value >= config.off)
    safe = _from_hidden(shape[:, :K], (confidence[:, :K] < config.off) | ~on)
    primary, since = _reselect(state, value * on, safe, dt, config)
    state = Visibility(value, above, on, state.weight, primary, since)
    return _weighted(state, confidence, 1 - np.exp(-dt / config.fade))


def _reselect(
    state: Visibility, quality: np.ndarray, safe: np.ndarray, dt: float, config: TrackConfig
) -> tuple[np.ndarray, np.ndarray]:
    """Primary (T,) and seconds since the last switch (T,).

    Among keypoints of some quality the one farthest from what is hidden is taken: it will last.
    """
    rows = np.arange(len(quality))
    best = (quality * safe).argmax(axis=1)
    padded = np.concatenate([quality, np.zeros((len(quality), 1))], axis=1)  # CENTRE carries none
    held, offered = padded[rows, state.primary], padded[rows, best]
    since = state.since + dt
    better = (offered > config.margin * held) & (since >= config.dwell)
    gone = held <= 0
    target = np.where(offered > 0, best, CENTRE)
    moves = (gone | better) & (target != state.primary)
    return np.where(moves, target, state.primary), np.where(moves, 0.0, since)


def _from_hidden(xy: np.ndarray, hidden: np.ndarray) -> np.ndarray:
    """Factor (T, 17) that grows with the distance to the nearest hidden keypoint."""
    away = length(xy[:, :, None] - xy[:, None])
    nearest = np.where(hidden[:, None], away, np.inf).min(axis=2)
    return NEAR_HIDDEN + np.minimum(nearest, FAR)


def _weighted(state: Visibility, confidence: np.ndarray, rate: float) -> Visibility:
    """State whose weights have gone a share ``rate`` of the way to what is seen now."""
    target = weigh_anchors(state.value, state.on, confidence[:, CENTRE])
    weight = state.weight + rate * (target - state.weight)
    weight[target <= 0] = 0  # what is hidden lets go at once
    return replace(state, weight=weight)


def switches(
    before: Visibility, after: Visibility, ids: np.ndarray, stamp: float
) -> tuple[CentroidSwitch, ...]:
    """Events of the rows whose primary changed."""
    events = []
    for row in np.flatnonzero(before.primary != after.primary):
        old, new = int(before.primary[row]), int(after.primary[row])
        parts = []
        if old != CENTRE:
            parts.append(f"{ANCHORS[old]} {before.value[row, old]:.2f} -> "
                         f"{after.value[row, old]:.2f}")  # fmt: skip
        parts.append("no keypoint" if new == CENTRE else f"{ANCHORS[new]} "
                     f"{after.value[row, new]:.2f}")  # fmt: skip
        events.append(CentroidSwitch(int(ids[row]), old, new, ", ".join(parts), stamp))
    return tuple(events)


def carried(
    state: Visibility, centroids: Centroids, mode: CentroidMode, temporal: bool
) -> Visibility:
    """State with the weights that ``mode`` asks for; of this frame alone where not ``temporal``."""
    weight, primary = state.weight, state.primary
    if not temporal or mode in (CentroidMode.STATIC, CentroidMode.ALL):
        weight, primary = centroids.weight.astype(float), centroids.primary
    elif mode == CentroidMode.SINGLE:
        weight = np.eye(A)[primary]
    return replace(state, weight=weight, primary=primary)

"""Decide which keypoints are visible, and which of them carries a person, with hysteresis."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from kdc_core.config import CentroidMode
from kdc_core.decode import weigh_anchors
from kdc_core.geometry import length
from kdc_core.skeleton import ANCHORS, CENTRE, A, K
from kdc_core.track.columns import Rows
from kdc_core.track.track_config import VisibilityConfig
from kdc_core.types import Centroids


@dataclass(frozen=True)
class CentroidSwitch:
    """Event: a person's centroid moved to another anchor; the id stays the same."""

    id: int
    before: int  # anchor, see skeleton.ANCHORS
    after: int
    reason: str  # one line for people, such as "left_ankle 0.71 -> 0.22, nose 0.93"
    stamp: float  # seconds


@dataclass(frozen=True)
class Visibility(Rows):
    """Visibility of T people's keypoints, and the anchors in use."""

    value: np.ndarray  # (T, 17) v_k, average confidence
    above: np.ndarray  # (T, 17) seconds since v_k rose above ``on``
    on: np.ndarray  # (T, 17) bool
    weight: np.ndarray  # (T, 18) ω_k, cross-faded
    primary: np.ndarray  # (T,) anchor that is reported as the centroid
    since: np.ndarray  # (T,) seconds since the last switch


def initial_visibility(confidence: np.ndarray, config: VisibilityConfig) -> Visibility:
    """Return the state of new tracks with confidences c_k (P, 18)."""
    value = confidence[:, :K].astype(float)
    on = value > (config.on + config.off) / 2
    primary = np.where(on.any(axis=1), (value * on).argmax(axis=1), CENTRE)
    since = np.full(len(value), np.inf)
    state = Visibility(value, np.zeros_like(value), on, np.zeros((len(value), A)), primary, since)
    return _fade_weights(state, confidence, 1.0)


def revived_visibility(
    state: Visibility, confidence: np.ndarray, config: VisibilityConfig
) -> Visibility:
    """Return the state of tracks that were occluded; the primary anchor stays if it is visible."""
    now = initial_visibility(confidence, config)
    padded = np.concatenate([now.on, np.zeros((len(now.on), 1), bool)], axis=1)
    kept = padded[np.arange(len(padded)), state.primary]
    return replace(now, primary=np.where(kept, state.primary, now.primary))


def update_visibility(
    state: Visibility,
    confidence: np.ndarray,
    shape: np.ndarray,
    dt: float,
    config: VisibilityConfig,
) -> Visibility:
    """Return the state ``dt`` seconds later.

    Args:
        state: T people.
        confidence: (T, 18) newly measured c_k.
        shape: (T, 18, 2) positions of the anchors in s: an occluder that hides one keypoint soon
            hides its neighbours.
        dt: seconds since the last frame.
        config: thresholds and time constants.
    """
    rate = 1 - np.exp(-dt / config.average_time)
    value = state.value + rate * (confidence[:, :K] - state.value)
    above = np.where(value > config.on, state.above + dt, 0.0)
    on = (state.on | (above >= config.dwell)) & (value >= config.off)
    safety = _safety(shape[:, :K], (confidence[:, :K] < config.off) | ~on, config)
    primary, since = _select_primary(state, value * on, safety, dt, config)
    state = Visibility(value, above, on, state.weight, primary, since)
    return _fade_weights(state, confidence, 1 - np.exp(-dt / config.fade))


def _select_primary(
    state: Visibility, quality: np.ndarray, safety: np.ndarray, dt: float, config: VisibilityConfig
) -> tuple[np.ndarray, np.ndarray]:
    """Return the primary anchors (T,) and the seconds since the last switch (T,).

    A new primary anchor is a keypoint of good quality that is far from hidden ones: it will stay
    visible.
    """
    rows = np.arange(len(quality))
    best = (quality * safety).argmax(axis=1)
    padded = np.concatenate([quality, np.zeros((len(quality), 1))], axis=1)  # CENTRE has none
    held, offered = padded[rows, state.primary], padded[rows, best]
    since = state.since + dt
    better = (offered > config.margin * held) & (since >= config.dwell)
    gone = held <= 0
    target = np.where(offered > 0, best, CENTRE)
    switches = (gone | better) & (target != state.primary)
    return np.where(switches, target, state.primary), np.where(switches, 0.0, since)


def _safety(xy: np.ndarray, hidden: np.ndarray, config: VisibilityConfig) -> np.ndarray:
    """Return factors (T, 17) that grow with the distance to the nearest hidden keypoint."""
    away = length(xy[:, :, None] - xy[:, None])
    nearest = np.where(hidden[:, None], away, np.inf).min(axis=2)
    return config.beside_hidden + np.minimum(nearest, config.safe_distance)


def _fade_weights(state: Visibility, confidence: np.ndarray, rate: float) -> Visibility:
    """Return the state with weights moved by the share ``rate`` towards what is visible now."""
    target = weigh_anchors(state.value, state.on, confidence[:, CENTRE])
    weight = state.weight + rate * (target - state.weight)
    weight[target <= 0] = 0  # hidden anchors lose their weight at once
    return replace(state, weight=weight)


def find_switches(
    before: Visibility, after: Visibility, ids: np.ndarray, stamp: float
) -> tuple[CentroidSwitch, ...]:
    """Return an event for each row whose primary anchor changed.

    Args:
        before: T people.
        after: the same people, later.
        ids: (T,).
        stamp: seconds, time of the events.
    """
    events = []
    for row in np.flatnonzero(before.primary != after.primary):
        old, new = int(before.primary[row]), int(after.primary[row])
        parts = []
        if old != CENTRE:
            values = f"{before.value[row, old]:.2f} -> {after.value[row, old]:.2f}"
            parts.append(f"{ANCHORS[old]} {values}")
        parts.append(
            "no keypoint" if new == CENTRE else f"{ANCHORS[new]} {after.value[row, new]:.2f}"
        )
        events.append(CentroidSwitch(int(ids[row]), old, new, ", ".join(parts), stamp))
    return tuple(events)


def apply_mode(
    state: Visibility, centroids: Centroids, mode: CentroidMode, temporal: bool
) -> Visibility:
    """Return the state with the weights of ``mode``; of this frame alone if not ``temporal``."""
    weight, primary = state.weight, state.primary
    if not temporal or mode in (CentroidMode.STATIC, CentroidMode.ALL):
        weight, primary = centroids.weight.astype(float), centroids.primary
    elif mode == CentroidMode.SINGLE:
        weight = np.eye(A)[primary]
    return replace(state, weight=weight, primary=primary)

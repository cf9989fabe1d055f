"""Estimate the motion of the camera from the people, and move the tracks with it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from kdc_core.geometry import length
from kdc_core.track.body import keypoint_mean
from kdc_core.track.observation import Observation
from kdc_core.track.step import Step
from kdc_core.track.tracks import Tracks

TOLERANCE = 0.2  # s, deviation of a person from the common motion
SAME_SCALE = np.log(1.4)  # largest |log| of the ratio of the scales of one person
STEADY = 0.6  # mean agreement above which the predictions are right and no motion is sought
GAIN = 0.75  # people that a shift must explain in addition, nearly one
MAX_GUESSES = 6  # largest people whose displacements are tried


def common_shift(tracks: Tracks, seen: Observation) -> np.ndarray:
    """Return the displacement (2,) in pixels that all visible people share, that of the camera.

    It is sought only if the predictions fail. It counts only if it explains one person more than
    no shift does, and at least two people. Otherwise it is 0.
    """
    still = np.zeros(2)
    predicted, scale = keypoint_mean(tracks.motion.xy), tracks.body.scale
    if len(tracks) < 2 or len(seen) < 2:
        return still
    away = seen.position[None] - predicted[:, None]  # (T, P, 2)
    same_size = abs(np.log(seen.centroids.scale[None] / scale[:, None])) < SAME_SCALE

    def explained(shifts: np.ndarray) -> np.ndarray:
        """Return how well each shift (C, 2) explains each track, (C, T), 0 to 1."""
        miss = length(away - shifts[:, None, None]) / scale[:, None]
        fit = np.exp(-(miss**2) / (2 * TOLERANCE**2))
        best: np.ndarray = np.where(same_size, fit, 0).max(axis=2)
        return best

    now = explained(still[None])[0]
    if now.mean() > STEADY:
        return still
    largest = np.argsort(-scale, kind="stable")[:MAX_GUESSES]
    guesses = away[largest].reshape(-1, 2)
    fit = explained(guesses)
    best = int(fit.sum(axis=1).argmax())
    good = fit[best] > 0.5
    if fit[best].sum() < now.sum() + GAIN or np.count_nonzero(good) < 2:
        return still
    rest = np.where(same_size, length(away - guesses[best]), np.inf)[good]
    shift: np.ndarray = np.median(away[good, rest.argmin(axis=1)], axis=0)
    return shift


def compensate(tracks: Tracks, shift: np.ndarray, step: Step) -> Tracks:
    """Return the tracks moved by ``shift`` (2,) pixels, part of which becomes their velocity."""
    config = step.config.motion
    gain = config.pan_persistence * shift / step.dt if step.dt >= config.pan_min_dt else 0.0
    motion = replace(
        tracks.motion, xy=tracks.motion.xy + shift, velocity=tracks.motion.velocity + gain
    )
    return replace(
        tracks,
        motion=motion,
        cells_at=tracks.cells_at + shift,
        seen_at=tracks.seen_at + shift,
    )

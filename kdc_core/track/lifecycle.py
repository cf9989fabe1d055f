"""Lifecycle of tracks: confirm, lose and delete them, and allocate ids."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np

from kdc_core.geometry import length
from kdc_core.track.kalman import BODY
from kdc_core.track.step import Step
from kdc_core.track.tracks import Tracks
from kdc_core.types import Phase

LARGEST_ID = 65535  # a pixel of the label image holds no more

_log = logging.getLogger(__name__)


def prune(tracks: Tracks, pose_of: np.ndarray, step: Step) -> tuple[Tracks, np.ndarray]:
    """Return the tracks in their phase after this frame, and their poses, without deleted tracks.

    A person who left the image is forgotten sooner than one who hides in it, because the next
    person to enter is probably another one.

    Args:
        tracks: T tracks.
        pose_of: (T,) pose of each track in this frame, -1 = none.
        step: this update.
    """
    config = step.config.lifecycle
    unseen = step.stamp - tracks.seen
    left = _outside(tracks.motion.xy[:, BODY], 0.0, step.size)
    # a person who was last seen in the middle has not left, wherever the prediction has drifted
    left &= _outside(tracks.seen_at, tracks.body.scale[:, None], step.size)
    young = tracks.phase == Phase.TENTATIVE
    confirmed = (pose_of >= 0) & (step.stamp - tracks.born >= config.confirm)
    patience = np.where(left, config.forget_left, config.forget_after)
    gone = unseen > np.where(young, config.confirm, patience)
    phase = np.where(unseen > config.lose_after, Phase.LOST, Phase.OCCLUDED)
    phase = np.where(unseen <= 0, Phase.CONFIRMED, phase)
    phase = np.where(young & ~confirmed, Phase.TENTATIVE, phase)
    return replace(tracks, phase=phase.astype(np.uint8))[~gone], pose_of[~gone]


def _outside(xy: np.ndarray, margin: np.ndarray | float, size: tuple[int, int]) -> np.ndarray:
    """Return which points (T, 2) lie outside of an image, or closer than ``margin`` to its edge."""
    outside = np.logical_or(xy < margin, xy >= np.array(size) - margin)
    return np.asarray(outside.any(axis=1))


class IdAllocator:
    """Allocates ids in the order of arrival; none is used twice before all are used up."""

    def __init__(self, last: int = 0) -> None:
        """Create an allocator that continues after the id ``last``."""
        self._last = last

    def allocate(self, tracks: Tracks, step: Step) -> Tracks:
        """Return the tracks with ids for those that were seen now and have none.

        A new track near an occluded one gets its id when it is confirmed, because it may turn out
        to be the occluded person. Others get it at once.
        """
        config = step.config.association
        occluded = tracks.phase >= Phase.OCCLUDED
        origin = tracks.motion.xy[:, BODY]
        away = length(origin[:, None] - origin)
        unseen = step.stamp - tracks.seen
        reach = tracks.body.scale * (2 * config.reach + config.max_speed * unseen)
        near = (occluded & (away < reach)).any(axis=1)
        new = (tracks.id == 0) & (tracks.seen == step.stamp)
        due = new & ((tracks.phase == Phase.CONFIRMED) | ~near)
        ids = tracks.id.copy()
        for row in np.flatnonzero(due):
            ids[row] = self._next(ids)
        return replace(tracks, id=ids)

    def _next(self, used: np.ndarray) -> int:
        self._last += 1
        if self._last > LARGEST_ID:
            _log.warning("tracker: all %d ids are used up, numbering starts anew", LARGEST_ID)
            self._last = 1
        while self._last in used:
            self._last = self._last % LARGEST_ID + 1
        return self._last

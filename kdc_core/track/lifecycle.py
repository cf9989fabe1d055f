"""The life of a track: who is paired first, believed, lost, forgotten, and who gets an id."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np

from kdc_core.geometry import length
from kdc_core.track import associate
from kdc_core.track.kalman import BODY
from kdc_core.track.observation import Seen
from kdc_core.track.track_config import TrackConfig
from kdc_core.track.tracks import Tracks
from kdc_core.types import Phase

LARGEST_ID = 65535  # a pixel of the label image holds no more

_log = logging.getLogger(__name__)


def cascade(
    tracks: Tracks, seen: Seen, dt: float, stamp: float, config: TrackConfig
) -> tuple[np.ndarray, np.ndarray]:
    """Pose of each track (T,), -1 = none, from sure to unsure; and which tracks stay (T,) bool."""
    strong = seen.strength >= config.strong  # doubles too: they may be somebody behind
    cost = associate.costs(tracks, seen, dt, stamp, config)
    pose_of = np.full(len(tracks), -1)
    free = np.ones(len(seen), bool)

    def match(who: np.ndarray, which: np.ndarray, cost: np.ndarray, limit: float) -> None:
        mine, theirs = np.flatnonzero(who & (pose_of < 0)), np.flatnonzero(which & free)
        if len(mine) and len(theirs):
            rows, columns = associate.pair(cost[np.ix_(mine, theirs)], limit)
            pose_of[mine[rows]] = theirs[columns]
            free[theirs[columns]] = False

    present = (tracks.phase == Phase.CONFIRMED) | (tracks.phase == Phase.OCCLUDED)
    match(present, strong, cost, config.max_cost)
    match(present, ~strong, cost, config.max_weak)
    match(tracks.phase == Phase.TENTATIVE, strong, cost, config.max_cost)
    stays = np.ones(len(tracks), bool)
    hidden = (tracks.phase == Phase.OCCLUDED) & (stamp - tracks.seen > config.away)
    lost = (hidden | (tracks.phase == Phase.LOST)) & (pose_of < 0)
    if lost.any():
        # a newcomer who has no id yet may turn out to be somebody who was lost
        unnamed = np.flatnonzero((tracks.id == 0) & (pose_of >= 0))
        free[pose_of[unnamed]] = True
        revival = np.full(cost.shape, np.inf)
        revival[lost] = associate.revival_costs(tracks[lost], seen, stamp, config)
        match(lost, strong, revival, associate.FORBIDDEN / 2)
        stays[unnamed] = free[pose_of[unnamed]]
        pose_of[unnamed[~stays[unnamed]]] = -1
        free[pose_of[unnamed[stays[unnamed]]]] = False
    return pose_of, stays


def age(
    tracks: Tracks, pose_of: np.ndarray, stamp: float, size: tuple[int, int], config: TrackConfig
) -> tuple[Tracks, np.ndarray]:
    """Tracks in their phase after this frame, and their poses; who is forgotten is left out.

    Who went out of the picture, of ``size`` (width, height), is forgotten sooner than who hides in
    it: whoever comes in next is probably somebody else.
    """
    unseen = stamp - tracks.seen
    left = _beyond(tracks.motion.xy[:, BODY], 0.0, size)
    # who hid in the middle has not left, wherever the prediction has drifted to since
    left &= _beyond(tracks.seen_at, tracks.body.scale[:, None], size)
    young = tracks.phase == Phase.TENTATIVE
    ripe = (pose_of >= 0) & (stamp - tracks.born >= config.confirm)
    patience = np.where(left, config.left, config.forget)
    gone = unseen > np.where(young, config.confirm, patience)
    phase = np.where(unseen > config.hidden, Phase.LOST, Phase.OCCLUDED)
    phase = np.where(unseen <= 0, Phase.CONFIRMED, phase)
    phase = np.where(young & ~ripe, Phase.TENTATIVE, phase)
    return replace(tracks, phase=phase.astype(np.uint8))[~gone], pose_of[~gone]


def _beyond(xy: np.ndarray, margin: np.ndarray | float, size: tuple[int, int]) -> np.ndarray:
    """Which of the points (T, 2) lie outside of a picture, or by less than ``margin`` inside."""
    outside: np.ndarray = ((xy < margin) | (xy >= np.array(size) - margin)).any(axis=1)
    return outside


class Names:
    """Ids in the order of arrival, none twice in a run."""

    def __init__(self) -> None:
        self.last = 0

    def give(self, tracks: Tracks, stamp: float, config: TrackConfig) -> Tracks:
        """Ids for those who have none: at once, or once believed where somebody may come back."""
        hidden = tracks.phase >= Phase.OCCLUDED
        place = tracks.motion.xy[:, BODY]
        away = length(place[:, None] - place)
        reach = tracks.body.scale * (2 * config.reach + config.speed * (stamp - tracks.seen))
        near = (hidden & (away < reach)).any(axis=1)
        young = (tracks.id == 0) & (tracks.seen == stamp)
        due = young & ((tracks.phase == Phase.CONFIRMED) | ~near)
        ids = tracks.id.copy()
        for row in np.flatnonzero(due):
            ids[row] = self._next(ids)
        return replace(tracks, id=ids)

    def _next(self, used: np.ndarray) -> int:
        self.last += 1
        if self.last > LARGEST_ID:
            _log.warning("tracker: all %d ids are used up, numbering starts anew", LARGEST_ID)
            self.last = 1
        while self.last in used:
            self.last = self.last % LARGEST_ID + 1
        return self.last

"""The state of the tracker between two frames."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kdc_core.skeleton import A
from kdc_core.track.appearance import unknown_descriptors
from kdc_core.track.body import Body, no_bodies
from kdc_core.track.columns import Rows
from kdc_core.track.kalman import POINTS, Motion
from kdc_core.track.one_euro import OneEuroState, initial_state
from kdc_core.track.track_config import TrackConfig
from kdc_core.track.visibility import Visibility, initial_visibility


@dataclass(frozen=True)
class Tracks(Rows):
    """T tracked people. ``id`` is written once by ``IdAllocator`` and never changes."""

    id: np.ndarray  # (T,) int, 0 = not allocated yet
    phase: np.ndarray  # (T,) uint8, types.Phase
    born: np.ndarray  # (T,) seconds
    seen: np.ndarray  # (T,) seconds, last time that pixels or a pose were measured
    posed: np.ndarray  # (T,) seconds, last time that a pose was measured
    seen_at: np.ndarray  # (T, 2) input pixels, mean of the keypoints at time ``seen``
    score: np.ndarray  # (T,) of the last pose
    size: np.ndarray  # (T,) input pixels, scale of the last pose
    relative_sigma: np.ndarray  # (T,) sigma / scale, average
    area: np.ndarray  # (T,) cells, average size of the mask
    motion: Motion
    body: Body
    visibility: Visibility
    smoothed: OneEuroState
    descriptor: np.ndarray  # (T, 2, 24) colours, see ``appearance``; NaN = unknown
    cells: np.ndarray  # (T,) object: flat indices of the cells of the last mask
    cells_at: np.ndarray  # (T, 2) input pixels, origin of the body at that time

    def __len__(self) -> int:
        return len(self.id)


def no_tracks(config: TrackConfig) -> Tracks:
    """Return zero tracks."""
    none, pairs = np.zeros(0), np.zeros((0, 2))
    return Tracks(
        id=np.zeros(0, np.int64),
        phase=np.zeros(0, np.uint8),
        born=none,
        seen=none,
        posed=none,
        seen_at=pairs,
        score=none,
        size=none,
        relative_sigma=none,
        area=none,
        motion=Motion(np.zeros((0, POINTS, 2)), np.zeros((0, POINTS, 2)), np.zeros((0, POINTS, 3))),
        body=no_bodies(),
        visibility=initial_visibility(np.zeros((0, A)), config.visibility),
        smoothed=initial_state(np.zeros((0, A, 2))),
        descriptor=unknown_descriptors(0),
        cells=np.empty(0, object),
        cells_at=pairs,
    )

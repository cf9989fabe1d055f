"""All that is remembered of the people between two frames."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kdc_core.skeleton import A
from kdc_core.track import appearance
from kdc_core.track.body import Body, empty
from kdc_core.track.columns import Rows
from kdc_core.track.kalman import POINTS, Motion
from kdc_core.track.one_euro import Calm, still
from kdc_core.track.track_config import TrackConfig
from kdc_core.track.visibility import Visibility, look


@dataclass(frozen=True)
class Tracks(Rows):
    """T people. ``id`` is written once, when a track is believed; nothing else touches it."""

    id: np.ndarray  # (T,) int, 0 = not given yet
    phase: np.ndarray  # (T,) uint8, types.Phase
    born: np.ndarray  # (T,) seconds
    seen: np.ndarray  # (T,) seconds, last time that pixels or a pose were measured
    posed: np.ndarray  # (T,) seconds, last time that a pose was measured
    seen_at: np.ndarray  # (T, 2) input pixels, mean of the keypoints then
    score: np.ndarray  # (T,) of the last pose
    size: np.ndarray  # (T,) input pixels, scale of the last pose
    spread: np.ndarray  # (T,) sigma / scale, average
    area: np.ndarray  # (T,) cells, average size of the mask
    motion: Motion
    body: Body
    visibility: Visibility
    calm: Calm
    look: np.ndarray  # (T, 2, 24) colours, see ``appearance``; nan = not known
    cells: np.ndarray  # (T,) object: flat indices of the cells of the last mask
    cells_at: np.ndarray  # (T, 2) input pixels, the body's origin then

    def __len__(self) -> int:
        return len(self.id)


def nobody(config: TrackConfig) -> Tracks:
    """No track at all."""
    none, pairs = np.zeros(0), np.zeros((0, 2))
    return Tracks(
        id=np.zeros(0, np.int64), phase=np.zeros(0, np.uint8), born=none, seen=none, posed=none,
        seen_at=pairs, score=none, size=none, spread=none, area=none,
        motion=Motion(np.zeros((0, POINTS, 2)), np.zeros((0, POINTS, 2)), np.zeros((0, POINTS, 3))),
        body=empty(), visibility=look(np.zeros((0, A)), config), calm=still(np.zeros((0, A, 2))),
        look=appearance.unknown(0), cells=np.empty(0, object), cells_at=pairs,
    )  # fmt: skip

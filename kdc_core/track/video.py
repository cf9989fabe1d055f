"""Fields to people over time: masks are drawn after tracking, so pixels hold track ids."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from kdc_core.config import DecodeConfig
from kdc_core.decode import find
from kdc_core.decode.assign import assign
from kdc_core.decode.score import people
from kdc_core.track.config import TrackConfig
from kdc_core.track.observe import take
from kdc_core.track.publish import TrackedFrame
from kdc_core.track.tracker import Tracker
from kdc_core.track.visibility import CentroidSwitch
from kdc_core.types import Fields, InstanceMap, People

SAME = 0.01  # s: poses closer than this are one; of others the tracks tell people from fragments


class VideoDecoder:
    """``decoder(fields, stamp)`` is the people of that frame, with ids that last.

    The video's sibling of ``kdc_core.decode.decode``. ``switches`` are the centroids that were
    re-selected in the last frame. ``score.min_score`` and ``group.duplicate`` are for stills: in
    video ``TrackConfig.strong`` says who is reported, whoever was may fade, and two poses that lie
    on each other are two people if two were expected there.
    """

    def __init__(
        self, config: DecodeConfig | None = None, track: TrackConfig | None = None
    ) -> None:
        self.config = config or DecodeConfig()
        self._apart = replace(self.config, group=replace(self.config.group, duplicate=SAME))
        self.tracker = Tracker(track, self.config.centroid.mode)
        self.switches: tuple[CentroidSwitch, ...] = ()

    def __call__(
        self, fields: Fields, stamp: float, lap: Callable[[str], None] = lambda stage: None
    ) -> People:
        """All people of the frame taken at ``stamp`` seconds; ``lap`` as in ``decode``."""
        config = self.config
        poses, centroids = find(fields, self._apart, lap)
        tracked = self.tracker.update(fields, poses, centroids, stamp)
        lap("track")
        instances = _painted(fields, tracked, config)
        lap("assign")
        found = people(
            tracked.poses, tracked.centroids, instances, fields.letterbox,
            replace(config.score, min_score=0.0), tracked.phase,
        )  # fmt: skip
        lap("score")
        self.switches = tracked.switches
        return found

    def reset(self) -> None:
        """Forget everybody, as before the first frame; ids are not used again."""
        self.tracker.reset()
        self.switches = ()


def _painted(fields: Fields, tracked: TrackedFrame, config: DecodeConfig) -> InstanceMap:
    """Label image of those who have pixels; who is only predicted keeps a row, but no pixel."""
    rows = np.flatnonzero(tracked.measured)
    centroids, ids = take(tracked.centroids, rows), tracked.ids[rows]
    instances = assign(fields, centroids, ids, config.assign, config.centroid.mode)
    phi = np.zeros(len(tracked.ids), np.float32)
    phi[rows] = instances.phi
    return InstanceMap(instances.labels, tracked.ids, phi)

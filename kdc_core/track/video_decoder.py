"""Fields to people over time: masks are drawn after tracking, so pixels hold track ids."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from kdc_core.config import DecodeConfig
from kdc_core.decode import assign, build_people, find_poses
from kdc_core.track.publish import TrackedFrame
from kdc_core.track.track_config import TrackConfig
from kdc_core.track.tracker import Tracker
from kdc_core.track.visibility import CentroidSwitch
from kdc_core.types import Centroids, Fields, InstanceMap, People, Poses

SAME = 0.01  # s: poses closer than this are one; of others the tracks tell people from fragments


def keep_duplicates(config: DecodeConfig) -> DecodeConfig:
    """Return ``config`` for ``find_poses`` in video: two poses on each other may be two people."""
    return replace(config, group=replace(config.group, duplicate=SAME))


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
        self.tracker = Tracker(track)
        self.switches: tuple[CentroidSwitch, ...] = ()

    def __call__(
        self, fields: Fields, stamp: float, image: np.ndarray | None = None,
        lap: Callable[[str], None] = lambda stage: None, config: DecodeConfig | None = None,
    ) -> People:  # fmt: skip
        """All people of the frame taken at ``stamp`` seconds; ``lap`` as in ``decode``.

        With the BGR ``image`` (H, W, 3) that the fields were made of, colours help to tell apart
        who meets.
        """
        config = config or self.config
        poses, centroids = find_poses(fields, keep_duplicates(config), lap)
        return self.follow(fields, poses, centroids, stamp, image, lap, config)

    def follow(
        self, fields: Fields, poses: Poses, centroids: Centroids, stamp: float,
        image: np.ndarray | None = None, lap: Callable[[str], None] = lambda stage: None,
        config: DecodeConfig | None = None,
    ) -> People:  # fmt: skip
        """Do the same after ``find_poses`` was called with ``keep_duplicates(config)``."""
        config = config or self.config
        tracked = self.tracker.update(fields, poses, centroids, stamp, image, config.centroid.mode)
        lap("track")
        instances = self._painted(fields, tracked, stamp, config)
        lap("assign")
        found = build_people(
            tracked.poses, tracked.centroids, instances, fields.letterbox,
            config.score, tracked.phase,
        )  # fmt: skip
        lap("score")
        self.switches = tracked.switches
        return found

    def reset(self) -> None:
        """Forget everybody, as before the first frame; ids are not used again."""
        self.tracker.reset()
        self.switches = ()

    def _painted(
        self, fields: Fields, tracked: TrackedFrame, stamp: float, config: DecodeConfig
    ) -> InstanceMap:
        """Label image of those who have pixels; who is only predicted keeps a row, but no pixel."""
        rows = np.flatnonzero(tracked.measured)
        centroids, ids, place = tracked.centroids[rows], tracked.ids[rows], tracked.place[rows]
        favour, memory = None, self.tracker.memory
        if self.tracker.config.temporal:
            favour = self._favour(fields, ids, place, centroids.scale)
        instances = assign(fields, centroids, ids, config.assign, config.centroid.mode, favour)
        if self.tracker.config.temporal:
            memory.learn(instances.labels, ids, place, centroids.scale, fields, stamp)
        phi = np.zeros(len(tracked.ids), np.float32)
        phi[rows] = instances.phi
        return InstanceMap(instances.labels, tracked.ids, phi)

    def _favour(
        self, fields: Fields, ids: np.ndarray, place: np.ndarray, scale: np.ndarray
    ) -> np.ndarray:
        """Factors on φ (P, h, w) from what was painted before."""
        memory, config = self.tracker.memory, self.tracker.config
        usual = memory.favour(ids, place, scale, fields, config.outline)
        factor: np.ndarray = usual * memory.again(ids, place, fields, config.again)
        return factor

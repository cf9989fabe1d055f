"""Decode fields to people over time; masks are assigned after tracking, so pixels hold ids."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from kdc_core.config import DecodeConfig
from kdc_core.decode import assign, build_people, find_poses
from kdc_core.track.pixel_prior import PixelPrior
from kdc_core.track.publish import TrackedFrame
from kdc_core.track.track_config import TrackConfig
from kdc_core.track.tracker import Tracker
from kdc_core.track.visibility import CentroidSwitch
from kdc_core.types import Centroids, Fields, InstanceMap, People, Poses

IDENTICAL = 0.01  # s: poses closer than this are one; the tracker separates people from fragments


def keep_duplicates(config: DecodeConfig) -> DecodeConfig:
    """Return ``config`` for ``find_poses`` in video: poses on each other may be two people."""
    return replace(config, group=replace(config.group, duplicate=IDENTICAL))


class VideoDecoder:
    """Decodes the frames of one video to people with lasting ids.

    It is the counterpart of ``kdc_core.decode.decode``, which decodes single frames.
    ``group.duplicate`` is for single frames only: in a video, two poses that lie on each other are
    two people if two were expected there.

    Attributes:
        config: parameters of the decoder; a new value acts on the next frame.
        tracker: the tracks.
        switches: centroids that changed in the last frame.
    """

    def __init__(
        self, config: DecodeConfig | None = None, track: TrackConfig | None = None
    ) -> None:
        """Create a decoder without tracks."""
        self.config = config or DecodeConfig()
        self.tracker = Tracker(track)
        self.switches: tuple[CentroidSwitch, ...] = ()
        temporal = self.tracker.config.temporal
        self._prior = PixelPrior(self.tracker.config.pixels) if temporal else None

    def __call__(
        self,
        fields: Fields,
        stamp: float,
        image: np.ndarray | None = None,
        lap: Callable[[str], None] = lambda stage: None,
        config: DecodeConfig | None = None,
    ) -> People:
        """Return all people of one frame.

        Args:
            fields: network output of the frame.
            stamp: seconds, when the frame was taken.
            image: BGR image (H, W, 3) uint8 of the frame; its colours help to tell people apart.
            lap: is called with the name of each stage that has finished.
            config: replaces ``self.config`` for this frame.
        """
        config = config or self.config
        poses, centroids = find_poses(fields, keep_duplicates(config), lap)
        return self.follow(fields, poses, centroids, stamp, image, lap, config)

    def follow(
        self,
        fields: Fields,
        poses: Poses,
        centroids: Centroids,
        stamp: float,
        image: np.ndarray | None = None,
        lap: Callable[[str], None] = lambda stage: None,
        config: DecodeConfig | None = None,
    ) -> People:
        """Return all people of one frame whose poses were found with ``keep_duplicates(config)``.

        The arguments are those of a call, and the result of ``find_poses``.
        """
        config = config or self.config
        tracked = self.tracker.update(
            fields, poses, centroids, stamp, image, config.centroid.mode, self._prior
        )
        self.switches = tracked.switches
        lap("track")
        instances = self._assign(fields, tracked, stamp, config)
        lap("assign")
        people = build_people(
            tracked.poses,
            tracked.centroids,
            instances,
            fields.letterbox,
            config.score,
            tracked.phase,
        )
        lap("score")
        return people

    def reset(self) -> None:
        """Delete all tracks, as before the first frame; ids are not used again."""
        self.tracker.reset()
        self.switches = ()
        if self._prior is not None:
            self._prior.clear()

    def _assign(
        self, fields: Fields, tracked: TrackedFrame, stamp: float, config: DecodeConfig
    ) -> InstanceMap:
        """Return the label image; people whose position is only predicted have a row, no pixel."""
        rows = np.flatnonzero(tracked.measured)
        centroids, ids, origin = tracked.centroids[rows], tracked.ids[rows], tracked.origin[rows]
        factors, prior = None, self._prior
        if prior is not None:
            prior.keep(self.tracker.tracks.id)
            factors = prior.factors(ids, origin, centroids.scale, fields)
        instances = assign(fields, centroids, ids, config.assign, config.centroid.mode, factors)
        if prior is not None:
            prior.update(instances.labels, ids, origin, centroids.scale, fields, stamp)
        phi = np.zeros(len(tracked.ids), np.float32)
        phi[rows] = instances.phi
        return InstanceMap(instances.labels, tracked.ids, phi)

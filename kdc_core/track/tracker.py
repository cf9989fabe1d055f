"""Track people from frame to frame: poses in, people with ids out."""

from __future__ import annotations

import logging

import numpy as np

from kdc_core.config import CentroidMode
from kdc_core.geometry import length
from kdc_core.letterbox import Letterbox
from kdc_core.skeleton import CENTRE
from kdc_core.track.associate import associate, find_duplicates
from kdc_core.track.camera_motion import common_shift, compensate
from kdc_core.track.kalman import BODY
from kdc_core.track.lifecycle import IdAllocator, prune
from kdc_core.track.observation import Observation, observe
from kdc_core.track.pixel_prior import PixelPrior
from kdc_core.track.publish import TrackedFrame, publish
from kdc_core.track.step import Step
from kdc_core.track.track_config import TrackConfig
from kdc_core.track.tracks import Tracks, no_tracks
from kdc_core.track.update import predict_tracks, spawn, update_matched, update_unmatched
from kdc_core.track.visibility import find_switches
from kdc_core.types import Centroids, Fields, Phase, Poses

_log = logging.getLogger(__name__)


class Tracker:
    """Keeps the identity of people. Call ``update`` for every frame, in order of time.

    Positions are input pixels, so a change of the letterbox deletes all tracks. So does time that
    runs backwards; ``kdc_core.session.FrameClock`` drops late frames before.
    """

    def __init__(self, config: TrackConfig | None = None) -> None:
        """Create a tracker without tracks."""
        self.config = config or TrackConfig()
        self._ids = IdAllocator()
        self.reset()

    @property
    def tracks(self) -> Tracks:
        """All tracks after the last frame, hidden and unnamed ones as well; do not write to it."""
        return self._tracks

    def reset(self) -> None:
        """Delete all tracks; ids are not used again."""
        self._tracks = no_tracks(self.config)
        self._stamp: float | None = None
        self._input: tuple[Letterbox, int] | None = None

    def update(
        self,
        fields: Fields,
        poses: Poses,
        centroids: Centroids,
        stamp: float,
        image: np.ndarray | None = None,
        mode: CentroidMode = CentroidMode.WEIGHTED,
        prior: PixelPrior | None = None,
    ) -> TrackedFrame:
        """Return the people of this frame, including those whose pose was missed.

        Args:
            fields: network output of the frame; read again where a person is expected.
            poses: poses from the decoder.
            centroids: confidences and sigmas of the poses, same rows.
            stamp: seconds, when the frame was taken.
            image: the image, (H, W, 3) uint8 BGR; None = colours are not used.
            mode: how the weights of the anchors are chosen.
            prior: silhouettes of the people, for those without a pose; None = unknown.
        """
        dt = self._elapsed(fields, stamp)
        first, self._stamp = self._stamp is None, stamp
        step = Step(stamp, dt, self.config, mode, fields.radius, fields.letterbox.inner_size)
        seen = observe(fields, poses, centroids, self.config.association, image)
        tracks = predict_tracks(self._tracks, step)
        shift = common_shift(tracks[tracks.phase != Phase.LOST], seen)
        tracks = compensate(tracks, shift, step)
        pose_of, kept = associate(tracks, seen, step)
        tracks, pose_of = tracks[kept], pose_of[kept]
        rows = np.flatnonzero(pose_of >= 0)
        new = self._new_people(tracks, seen, pose_of[rows])
        before = tracks.visibility
        tracks = update_matched(tracks, seen, rows, pose_of[rows], step)
        tracks = update_unmatched(tracks, rows, fields, seen, step, prior)
        switches = find_switches(before, tracks.visibility, tracks.id, stamp)
        tracks, pose_of = prune(tracks, pose_of, step)
        if len(new):
            phase = Phase.CONFIRMED if first else Phase.TENTATIVE
            tracks = tracks.join(spawn(seen, new, phase, step))
        self._tracks = self._ids.allocate(tracks, step)
        return publish(self._tracks, np.concatenate([pose_of, new]), seen, switches, step)

    def _elapsed(self, fields: Fields, stamp: float) -> float:
        """Return the seconds since the last frame; delete all tracks if they make no sense."""
        here, last = (fields.letterbox, fields.stride), self._stamp
        forget_after = self.config.lifecycle.forget_after
        if self._input is not None and self._input != here:
            _log.warning(
                "tracker: the input changed from %s to %s, starting anew", self._input[0], here[0]
            )
            self.reset()
        elif last is not None and not last <= stamp <= last + forget_after:
            _log.warning("tracker: time went from %.3f to %.3f s, starting anew", last, stamp)
            self.reset()
        self._input = here
        return 0.0 if self._stamp is None else stamp - self._stamp

    def _new_people(self, tracks: Tracks, seen: Observation, matched: np.ndarray) -> np.ndarray:
        """Return the rows of poses that start a track: strong, and no duplicate of a tracked one.

        Where people overlap, the decoder may split off a CENTRE. So a new person among others must
        have keypoints.
        """
        config = self.config.association
        tracks = tracks[tracks.phase != Phase.LOST]
        strong = (seen.strength >= config.strong) & ~seen.duplicate
        strong[matched] = False
        away = seen.poses.xy[:, None, CENTRE] - tracks.motion.xy[:, BODY]
        among_others = (length(away) < tracks.body.scale).any(axis=1)
        free = np.flatnonzero(strong & ~(seen.centre_only & among_others))
        if not len(free):
            return free
        return free[~find_duplicates(tracks, seen, free, matched, config.duplicate)]

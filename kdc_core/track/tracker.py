"""From the poses of one frame to the people of a video: who they are and what carries them."""

from __future__ import annotations

import logging

import numpy as np

from kdc_core.config import CentroidMode
from kdc_core.geometry import length
from kdc_core.letterbox import Letterbox
from kdc_core.skeleton import CENTRE
from kdc_core.track.associate import common_shift, doubles
from kdc_core.track.kalman import BODY
from kdc_core.track.lifecycle import Names, age, cascade
from kdc_core.track.observation import Seen, observe
from kdc_core.track.pixel_prior import PixelMemory
from kdc_core.track.publish import TrackedFrame, publish
from kdc_core.track.track_config import TrackConfig
from kdc_core.track.tracks import Tracks, nobody
from kdc_core.track.update import absorb, begin, live_on, predict, shift
from kdc_core.track.visibility import switches
from kdc_core.types import Centroids, Fields, Phase, Poses

_log = logging.getLogger(__name__)


class Tracker:
    """``tracker.update(fields, poses, centroids, stamp)`` for every frame, in order of time.

    Everything that is remembered between frames is in here. Positions are input pixels, so a
    change of the letterbox starts anew, and so does time that runs backwards.
    ``kdc_core.session.FrameClock`` drops late frames before.
    """

    def __init__(self, config: TrackConfig | None = None) -> None:
        self.config = config or TrackConfig()
        self._names = Names()
        self.memory = PixelMemory()  # whoever paints the masks tells it
        self.reset()

    def reset(self) -> None:
        """Forget everybody; ids go on where they were."""
        self._tracks = nobody(self.config)
        self.memory.clear()
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
    ) -> TrackedFrame:
        """People of this frame, among them those whose pose was missed.

        Args:
            fields: of this frame; read again where a person is expected.
            poses: what the decoder found.
            centroids: confidences and sigmas of the poses, same rows.
            stamp: seconds, when the picture was taken.
            image: the picture, (H, W, 3) uint8 BGR; None: nobody is known by colours.
            mode: how the weights of the anchors are chosen.
        """
        dt, config = self._elapsed(fields, stamp), self.config
        opening, self._stamp = self._stamp is None, stamp
        seen = observe(fields, poses, centroids, config.weak, config.apart, image)
        tracks = predict(self._tracks, dt, config)
        tracks = shift(tracks, common_shift(tracks[tracks.phase != Phase.LOST], seen), dt)
        pose_of, stays = cascade(tracks, seen, dt, stamp, config)
        tracks, pose_of = tracks[stays], pose_of[stays]
        rows = np.flatnonzero(pose_of >= 0)
        born = self._births(tracks, seen, pose_of[rows])
        before = tracks.visibility
        tracks = absorb(tracks, seen, rows, pose_of[rows], dt, stamp, config, mode,
                        fields.radius)  # fmt: skip
        memory = self.memory if config.temporal else None
        tracks = live_on(tracks, rows, fields, seen, dt, stamp, config, memory)
        moved = switches(before, tracks.visibility, tracks.id, stamp)
        tracks, pose_of = age(tracks, pose_of, stamp, fields.letterbox.inner_size, config)
        phase = Phase.CONFIRMED if opening else Phase.TENTATIVE
        if len(born):
            tracks = tracks.join(begin(seen, born, stamp, phase, config, mode))
        self._tracks = self._names.give(tracks, stamp, config)
        self.memory.keep(self._tracks.id)
        pose_of = np.concatenate([pose_of, born])
        helped = config.temporal and mode in (CentroidMode.WEIGHTED, CentroidMode.NEAREST)
        return publish(self._tracks, pose_of, seen, fields, stamp, moved, helped)

    def _elapsed(self, fields: Fields, stamp: float) -> float:
        """Seconds since the last frame; forgets everybody where that makes no sense."""
        here, last = (fields.letterbox, fields.stride), self._stamp
        if self._input is not None and self._input != here:
            _log.warning("tracker: the input changed from %s to %s, starting anew",
                         self._input[0], here[0])  # fmt: skip
            self.reset()
        elif last is not None and not last <= stamp <= last + self.config.forget:
            _log.warning("tracker: time went from %.3f to %.3f s, starting anew", last, stamp)
            self.reset()
        self._input = here
        return 0.0 if self._stamp is None else stamp - self._stamp

    def _births(self, tracks: Tracks, seen: Seen, taken: np.ndarray) -> np.ndarray:
        """Poses that start a track: strong, and not the double of one that has a track.

        Where people overlap, the decoder may split off somebody's CENTRE: a newcomer among others
        has to show keypoints.
        """
        tracks = tracks[tracks.phase != Phase.LOST]
        strong = (seen.strength >= self.config.strong) & ~seen.double
        strong[taken] = False
        away = seen.poses.xy[:, None, CENTRE] - tracks.motion.xy[:, BODY]
        among = (length(away) < tracks.body.scale).any(axis=1)
        free = np.flatnonzero(strong & ~(seen.bare & among))
        if not len(free):
            return free
        return free[~doubles(tracks, seen, free, taken, self.config.duplicate)]

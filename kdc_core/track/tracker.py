"""From the poses of one frame to the people of a video: who they are and what carries them."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np

from kdc_core.letterbox import Letterbox
from kdc_core.skeleton import CENTRE, A, K
from kdc_core.track.associate import common_shift, doubles
from kdc_core.track.config import TrackConfig
from kdc_core.track.filter import BODY
from kdc_core.track.life import Names, age, cascade
from kdc_core.track.measure import absorb, begin, live_on, mixed, predict, shift
from kdc_core.track.observe import Seen, observe
from kdc_core.track.state import Tracks, nobody
from kdc_core.track.visibility import CentroidSwitch, switches
from kdc_core.types import Centroids, Fields, Phase, Poses

FADE = 0.5  # seconds, time constant of the score of people whose pose is missing

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrackedFrame:
    """The people of one frame: rows for ``assign`` and ``people``, best score first."""

    ids: np.ndarray  # (P,) int, 1…65535
    phase: np.ndarray  # (P,) uint8, types.Phase
    measured: np.ndarray  # (P,) bool: has pixels in this frame; False: the place is predicted
    poses: Poses  # keypoints are calmed by the One-Euro filter: for publication
    centroids: Centroids  # anchors as measured: for the assignment of pixels
    switches: tuple[CentroidSwitch, ...]


class Tracker:
    """``tracker.update(fields, poses, centroids, stamp)`` for every frame, in order of time.

    Everything that is remembered between frames is in here. Positions are input pixels, so a
    change of the letterbox starts anew, and so does time that runs backwards.
    """

    def __init__(self, config: TrackConfig | None = None, mode: str = "weighted") -> None:
        """``mode`` is one of ``CENTROID_MODES``: what the weights are made of."""
        self.config = config or TrackConfig()
        self.mode = mode
        self._names = Names()
        self.reset()

    def reset(self) -> None:
        """Forget everybody; ids go on where they were."""
        self._tracks = nobody(self.config)
        self._stamp: float | None = None
        self._input: tuple[Letterbox, int] | None = None

    def update(
        self, fields: Fields, poses: Poses, centroids: Centroids, stamp: float
    ) -> TrackedFrame:
        """People of this frame, among them those whose pose was missed.

        Args:
            fields: of this frame; read again where a person is expected.
            poses: what the decoder found.
            centroids: confidences and sigmas of the poses, same rows.
            stamp: seconds, when the picture was taken.
        """
        dt, config = self._elapsed(fields, stamp), self.config
        opening, self._stamp = self._stamp is None, stamp
        seen = observe(fields, poses, centroids, config.weak)
        tracks = predict(self._tracks, dt, config)
        tracks = shift(tracks, common_shift(tracks[tracks.phase != Phase.LOST], seen), dt)
        pose_of, stays = cascade(tracks, seen, dt, stamp, config)
        tracks, pose_of = tracks[stays], pose_of[stays]
        rows = np.flatnonzero(pose_of >= 0)
        born = self._births(tracks, seen, pose_of[rows])
        before = tracks.visibility
        tracks = absorb(tracks, seen, rows, pose_of[rows], dt, stamp, config, self.mode,
                        fields.radius)  # fmt: skip
        claimed = np.concatenate([pose_of[rows], born])
        tracks = live_on(tracks, rows, fields, seen, claimed, dt, stamp, config)
        moved = switches(before, tracks.visibility, tracks.id, stamp)
        tracks, pose_of = age(tracks, pose_of, stamp, config)
        phase = Phase.CONFIRMED if opening else Phase.TENTATIVE
        tracks = tracks.join(begin(seen, born, stamp, phase, config, self.mode))
        self._tracks = self._names.give(tracks, stamp, config)
        pose_of = np.concatenate([pose_of, born])
        return _publish(self._tracks, pose_of, seen, fields, stamp, moved)

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
        strong = seen.strength >= self.config.strong
        strong[taken] = False
        away = seen.poses.xy[:, None, CENTRE] - tracks.motion.xy[:, BODY]
        among = (np.linalg.norm(away, axis=2) < tracks.body.scale).any(axis=1)
        free = np.flatnonzero(strong & ~(seen.bare & among))
        return free[~doubles(tracks, seen, free, taken, self.config.duplicate)]


def _publish(
    tracks: Tracks, pose_of: np.ndarray, seen: Seen, fields: Fields, stamp: float,
    moved: tuple[CentroidSwitch, ...],
) -> TrackedFrame:  # fmt: skip
    """Rows of the people who are there, or were a moment ago."""
    measured = tracks.seen == stamp
    place = tracks.motion.xy[:, BODY]
    inside = ((place >= 0) & (place < fields.letterbox.inner_size)).all(axis=1)
    shown = (tracks.id > 0) & (tracks.phase != Phase.LOST) & (inside | measured)
    score = tracks.score * np.exp(-(stamp - tracks.posed) / FADE)
    order = np.flatnonzero(shown)
    order = order[np.lexsort((tracks.id[order], -score[order]))]
    tracks, pose_of = tracks[order], pose_of[order]
    poses, centroids = _rows(tracks, pose_of, seen, score[order], stamp, fields.radius)
    ids = set(tracks.id.tolist())
    return TrackedFrame(
        ids=tracks.id, phase=tracks.phase, measured=measured[order], poses=poses,
        centroids=centroids, switches=tuple(event for event in moved if event.id in ids),
    )  # fmt: skip


def _rows(
    tracks: Tracks, pose_of: np.ndarray, seen: Seen, score: np.ndarray, stamp: float, radius: float
) -> tuple[Poses, Centroids]:
    """Poses and centroids of tracks, predicted where they have none in this frame.

    Pixels are assigned to the anchors as measured, and to the filtered ones where two people's
    disks merge: there the decoder mixes them up.
    """
    trust = 0.5 * np.exp(-(stamp - tracks.posed) / FADE)[:, None]
    confidence = np.ones((len(tracks), A))
    confidence[:, :K] = tracks.visibility.value
    confidence = (confidence * trust).astype(np.float32)
    xy = tracks.motion.xy[:, :A].astype(np.float32)
    published, disk = xy.copy(), confidence.copy()
    vis, matched = np.zeros_like(disk), np.zeros(disk.shape, bool)
    has = pose_of >= 0
    pose = pose_of[has]
    calm = tracks.motion.xy[:, BODY:] + tracks.body.scale[:, None, None] * tracks.calm.value
    published[has] = calm[has]
    blurred = mixed(xy, radius)
    xy[has] = np.where(blurred[has, :, None], xy[has], seen.poses.xy[pose])
    disk[has], vis[has] = seen.poses.disk[pose], seen.poses.vis[pose]
    matched[has], confidence[has] = seen.poses.matched[pose], seen.centroids.confidence[pose]
    poses = Poses(xy=published, disk=disk, vis=vis, matched=matched, score=score.astype(np.float32))
    scale = tracks.body.scale
    weight = tracks.visibility.weight.astype(np.float32)
    import os
    MX=float(os.environ.get("MX","1")); 
    if MX<1:
        helps = has & ~blurred[:, CENTRE] & (confidence[:, CENTRE] >= 0.5) & (blurred[:, :K] & (weight[:, :K] > 0)).any(1)
        weight[helps] *= np.where(blurred[helps], MX, 1)
        weight[helps, CENTRE] = confidence[helps, CENTRE]
    centroids = Centroids(
        xy=xy, weight=weight, confidence=confidence,
        sigma=(tracks.spread * scale).astype(np.float32), scale=scale.astype(np.float32),
        primary=tracks.visibility.primary,
    )  # fmt: skip
    return poses, centroids

"""What the tracker says of a frame: rows for the assignment of pixels and for publication."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kdc_core.skeleton import A, K
from kdc_core.track.kalman import BODY
from kdc_core.track.observation import Seen
from kdc_core.track.tracks import Tracks
from kdc_core.track.update import mixed
from kdc_core.track.visibility import CentroidSwitch
from kdc_core.types import Centroids, Fields, Phase, Poses

FADE = 0.5  # seconds, time constant of the score of people whose pose is missing
BLURRED = 0.3  # weight of a keypoint whose disk merges with somebody else's


@dataclass(frozen=True)
class TrackedFrame:
    """The people of one frame: rows for ``assign`` and ``people``, best score first."""

    ids: np.ndarray  # (P,) int, 1…65535
    phase: np.ndarray  # (P,) uint8, types.Phase
    measured: np.ndarray  # (P,) bool: has pixels in this frame; False: the place is predicted
    poses: Poses  # keypoints are calmed by the One-Euro filter: for publication
    centroids: Centroids  # anchors as measured: for the assignment of pixels
    switches: tuple[CentroidSwitch, ...]
    place: np.ndarray  # (P, 2) input pixels, the body's origin


def publish(
    tracks: Tracks, pose_of: np.ndarray, seen: Seen, fields: Fields, stamp: float,
    moved: tuple[CentroidSwitch, ...], helped: bool,
) -> TrackedFrame:  # fmt: skip
    """Rows of the people who are there, or were a moment ago.

    ``pose_of`` is the pose of each track in this frame, -1 = none; ``helped`` makes keypoints that
    are mixed up with somebody else's count less.
    """
    measured = tracks.seen == stamp
    place = tracks.motion.xy[:, BODY]
    inside = ((place >= 0) & (place < fields.letterbox.inner_size)).all(axis=1)
    shown = (tracks.id > 0) & (measured | (inside & (tracks.phase == Phase.OCCLUDED)))
    score = tracks.score * np.exp(-(stamp - tracks.posed) / FADE)
    order = np.flatnonzero(shown)
    order = order[np.lexsort((tracks.id[order], -score[order]))]
    tracks, pose_of = tracks[order], pose_of[order]
    poses, centroids = _rows(tracks, pose_of, seen, score[order], stamp, fields.radius, helped)
    ids = set(tracks.id.tolist())
    return TrackedFrame(
        ids=tracks.id, phase=tracks.phase, measured=measured[order], poses=poses,
        centroids=centroids, switches=tuple(event for event in moved if event.id in ids),
        place=tracks.motion.xy[:, BODY],
    )  # fmt: skip


def _rows(
    tracks: Tracks,
    pose_of: np.ndarray,
    seen: Seen,
    score: np.ndarray,
    stamp: float,
    radius: float,
    helped: bool,
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
    published, anchor_score = xy.copy(), confidence.copy()
    vis, matched = np.zeros_like(anchor_score), np.zeros(anchor_score.shape, bool)
    has = pose_of >= 0
    pose = pose_of[has]
    calm = tracks.motion.xy[:, BODY:] + tracks.body.scale[:, None, None] * tracks.calm.value
    published[has] = calm[has]
    blurred = mixed(xy, radius)
    xy[has] = np.where(blurred[has, :, None], xy[has], seen.poses.xy[pose])
    anchor_score[has], vis[has] = seen.poses.anchor_score[pose], seen.poses.vis[pose]
    matched[has], confidence[has] = seen.poses.matched[pose], seen.centroids.confidence[pose]
    poses = Poses(
        xy=published,
        anchor_score=anchor_score,
        vis=vis,
        matched=matched,
        score=score.astype(np.float32),
    )
    scale = tracks.body.scale
    weight = tracks.visibility.weight.astype(np.float32)
    if helped:
        weight *= np.where(blurred & has[:, None], np.float32(BLURRED), np.float32(1))
    centroids = Centroids(
        xy=xy, weight=weight, confidence=confidence,
        sigma=(tracks.spread * scale).astype(np.float32), scale=scale.astype(np.float32),
        primary=tracks.visibility.primary,
    )  # fmt: skip
    return poses, centroids

"""Select the tracks that are reported, as rows for mask assignment and publication."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kdc_core.config import CentroidMode
from kdc_core.skeleton import A, K
from kdc_core.track.kalman import BODY
from kdc_core.track.observation import Observation
from kdc_core.track.step import Step
from kdc_core.track.tracks import Tracks
from kdc_core.track.update import overlapping
from kdc_core.track.visibility import CentroidSwitch
from kdc_core.types import Centroids, Phase, Poses

PREDICTED_CONFIDENCE = 0.5  # share of a keypoint's confidence that is left without a pose


@dataclass(frozen=True)
class TrackedFrame:
    """The people of one frame: rows for ``assign`` and ``build_people``, best score first."""

    ids: np.ndarray  # (P,) int, 1 to 65535
    phase: np.ndarray  # (P,) uint8, types.Phase
    measured: np.ndarray  # (P,) bool: has pixels in this frame; False: the position is predicted
    poses: Poses  # keypoints after the One-Euro filter, for publication
    centroids: Centroids  # anchors as measured, for mask assignment
    switches: tuple[CentroidSwitch, ...]
    origin: np.ndarray  # (P, 2) of the bodies, input pixels


def publish(
    tracks: Tracks,
    pose_of: np.ndarray,
    seen: Observation,
    switches: tuple[CentroidSwitch, ...],
    step: Step,
) -> TrackedFrame:
    """Return the rows of the people who are visible, or were a moment ago.

    People without an id, lost ones, and predictions outside the image are left out.

    Args:
        tracks: T tracks after this frame.
        pose_of: (T,) pose of each track in this frame, -1 = none.
        seen: poses of this frame.
        switches: events of all tracks.
        step: this update.
    """
    measured = tracks.seen == step.stamp
    origin = tracks.motion.xy[:, BODY]
    inside = ((origin >= 0) & (origin < step.size)).all(axis=1)
    shown = (tracks.id > 0) & (measured | (inside & (tracks.phase == Phase.OCCLUDED)))
    fade = step.config.smoothing.score_fade
    score = tracks.score * np.exp(-(step.stamp - tracks.posed) / fade)
    order = np.flatnonzero(shown)
    order = order[np.lexsort((tracks.id[order], -score[order]))]
    tracks, pose_of = tracks[order], pose_of[order]
    poses, centroids = _rows(tracks, pose_of, seen, score[order], step)
    ids = set(tracks.id.tolist())
    return TrackedFrame(
        ids=tracks.id,
        phase=tracks.phase,
        measured=measured[order],
        poses=poses,
        centroids=centroids,
        switches=tuple(event for event in switches if event.id in ids),
        origin=tracks.motion.xy[:, BODY],
    )


def _rows(
    tracks: Tracks, pose_of: np.ndarray, seen: Observation, score: np.ndarray, step: Step
) -> tuple[Poses, Centroids]:
    """Return poses and centroids of tracks, predicted for those without a pose in this frame.

    Pixels are assigned to the anchors as measured. Where the disks of two people merge, the decoder
    may confuse them; there the filtered anchors are used, with a lower weight.
    """
    config = step.config.smoothing
    trust = np.exp(-(step.stamp - tracks.posed) / config.score_fade)[:, None]
    confidence = np.ones((len(tracks), A))
    confidence[:, :K] = tracks.visibility.value
    confidence = (confidence * (PREDICTED_CONFIDENCE * trust)).astype(np.float32)
    xy = tracks.motion.xy[:, :A].astype(np.float32)
    published, anchor_score = xy.copy(), confidence.copy()
    vis, matched = np.zeros_like(anchor_score), np.zeros(anchor_score.shape, bool)
    has = pose_of >= 0
    pose = pose_of[has]
    scale = tracks.body.scale
    smoothed = tracks.motion.xy[:, BODY:] + scale[:, None, None] * tracks.smoothed.value
    published[has] = smoothed[has]
    merged = overlapping(xy, step.radius)
    xy[has] = np.where(merged[has, :, None], xy[has], seen.poses.xy[pose])
    anchor_score[has], vis[has] = seen.poses.anchor_score[pose], seen.poses.vis[pose]
    matched[has], confidence[has] = seen.poses.matched[pose], seen.centroids.confidence[pose]
    poses = Poses(
        xy=published,
        anchor_score=anchor_score,
        vis=vis,
        matched=matched,
        score=score.astype(np.float32),
    )
    weight = tracks.visibility.weight.astype(np.float32)
    if step.config.temporal and step.mode in (CentroidMode.WEIGHTED, CentroidMode.NEAREST):
        lower = np.float32(config.overlap_weight)
        weight *= np.where(merged & has[:, None], lower, np.float32(1))
    centroids = Centroids(
        xy=xy,
        weight=weight,
        confidence=confidence,
        sigma=(tracks.relative_sigma * scale).astype(np.float32),
        scale=scale.astype(np.float32),
        primary=tracks.visibility.primary,
    )
    return poses, centroids

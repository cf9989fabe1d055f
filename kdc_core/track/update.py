"""Predict tracks, and update them with what was measured: a pose, pixels alone, or nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from kdc_core.geometry import length
from kdc_core.skeleton import A
from kdc_core.track import body, kalman
from kdc_core.track.appearance import update_descriptors
from kdc_core.track.kalman import BODY, POINTS, Motion
from kdc_core.track.observation import Observation
from kdc_core.track.one_euro import filter_keypoints, initial_state
from kdc_core.track.pixel_prior import PixelPrior
from kdc_core.track.requery import requery
from kdc_core.track.step import Step
from kdc_core.track.track_config import MotionConfig
from kdc_core.track.tracks import Tracks
from kdc_core.track.visibility import (
    Visibility,
    apply_mode,
    initial_visibility,
    revived_visibility,
    update_visibility,
)
from kdc_core.types import Fields, Phase

FIRST_ERROR = 0.05  # s: error of the origin of a body that is seen for the first time
MIN_VISIBLE = 0.1  # share of the mask below which the noise grows no further


def predict_tracks(tracks: Tracks, step: Step) -> Tracks:
    """Return the tracks with their motion predicted for this frame."""
    config = step.config.motion
    density = np.full((len(tracks), POINTS), config.limb_agility**2)
    density[:, BODY] = config.body_agility**2
    density *= tracks.body.scale[:, None] ** 2
    return replace(tracks, motion=kalman.predict(tracks.motion, step.dt, density))


def spawn(seen: Observation, rows: np.ndarray, phase: Phase, step: Step) -> Tracks:
    """Return new tracks without ids from the given rows of the poses."""
    n = len(rows)
    centroids, xy = seen.centroids[rows], seen.poses.xy[rows].astype(float)
    shape, origin = body.measure(xy, centroids.confidence, centroids.scale)
    error = np.full(n, FIRST_ERROR)
    config = step.config
    points, noise = _measurement(
        xy, origin, centroids.confidence, error, shape.scale, config.motion
    )
    cells = seen.cells.of(rows)
    visibility = initial_visibility(centroids.confidence, config.visibility)
    now = np.full(n, step.stamp)
    return Tracks(
        id=np.zeros(n, np.int64),
        phase=np.full(n, phase, np.uint8),
        born=now,
        seen=now,
        posed=now,
        seen_at=seen.position[rows],
        score=seen.poses.score[rows].astype(float),
        size=centroids.scale.astype(float),
        relative_sigma=centroids.sigma / centroids.scale,
        area=np.array([len(own) for own in cells], float),
        motion=_start_motion(points, noise, shape.scale, config.motion),
        body=shape,
        visibility=apply_mode(visibility, centroids, step.mode, config.temporal),
        smoothed=initial_state((xy - origin[:, None]) / shape.scale[:, None, None]),
        descriptor=seen.descriptor[rows],
        cells=cells,
        cells_at=origin,
    )


def update_matched(
    tracks: Tracks, seen: Observation, rows: np.ndarray, columns: np.ndarray, step: Step
) -> Tracks:
    """Return the tracks after those at ``rows`` were updated with their poses at ``columns``."""
    if not len(rows):
        return tracks
    config, dt = step.config, step.dt
    mine, poses, centroids = tracks[rows], seen.poses[columns], seen.centroids[columns]
    origin, error = body.locate(mine.body, poses.xy, centroids.confidence)
    shape = body.update_body(
        mine.body, poses.xy, origin, centroids.confidence, centroids.scale, dt, config.motion
    )
    points, noise = _measurement(
        poses.xy, origin, centroids.confidence, error, shape.scale, config.motion
    )
    cells = seen.cells.of(columns)
    area = np.array([len(own) for own in cells], float)
    noise = _inflate(noise, mine, area, step)
    motion = _correct_motion(mine, points, noise, shape.scale, config.motion)
    relative = (poses.xy - motion.xy[:, BODY:]) / shape.scale[:, None, None]
    colour_rate = _colour_rate(tracks, step)[rows]
    visibility = _update_visibility(mine, centroids.confidence, step)
    now = np.full(len(rows), step.stamp)
    after = replace(
        mine,
        seen=now,
        posed=now,
        seen_at=seen.position[columns],
        motion=motion,
        body=shape,
        score=poses.score.astype(float),
        size=centroids.scale.astype(float),
        area=_average_area(mine.area, area, dt, config.motion),
        relative_sigma=mine.relative_sigma
        + (1 - np.exp(-dt / config.motion.mask_time))
        * (centroids.sigma / centroids.scale - mine.relative_sigma),
        visibility=apply_mode(visibility, centroids, step.mode, config.temporal),
        smoothed=filter_keypoints(mine.smoothed, relative, dt, config.smoothing),
        descriptor=update_descriptors(mine.descriptor, seen.descriptor[columns], colour_rate),
        cells=cells,
        cells_at=motion.xy[:, BODY],
    )
    steady = mine.phase != Phase.LOST
    moved = _share_correction(tracks, rows, mine.motion[steady], motion[steady], config.motion)
    return moved.put(rows, after)


def update_unmatched(
    tracks: Tracks,
    rows: np.ndarray,
    fields: Fields,
    seen: Observation,
    step: Step,
    prior: PixelPrior | None,
) -> Tracks:
    """Return the tracks after those that are *not* in ``rows`` were updated without a pose.

    They coast. A track counts as seen if the fields still point at it, and at no one who has a
    pose.
    """
    left = np.setdiff1d(np.arange(len(tracks)), rows)
    if not len(left):
        return tracks
    config = step.config
    mine = tracks[left]
    usual = mine.body.anchors_at(mine.motion.xy[:, BODY])
    motion = kalman.coast(
        mine.motion, usual, step.dt, config.motion.joint_return, config.motion.coast_time
    )
    mine = replace(mine, motion=motion)
    tracks = tracks.put(left, mine)
    present = (mine.phase == Phase.CONFIRMED) | (mine.phase == Phase.OCCLUDED)
    left = left[present & (step.stamp - mine.posed <= config.lifecycle.max_requery)]
    if not len(left):
        return tracks
    found = requery(fields, seen.cells, tracks[left], tracks[rows], prior, config.pixels)
    good = np.flatnonzero(found.share >= config.pixels.min_explained)
    mine = tracks[left[good]]
    origin, _ = body.locate(mine.body, found.xy[good], np.ones((len(good), A)))
    points = np.concatenate([found.xy[good], origin[:, None]], axis=1)
    noise = np.repeat(config.motion.pixel_noise * mine.body.scale[:, None], POINTS, axis=1)
    motion = kalman.correct(mine.motion, points, noise)
    after = replace(
        mine,
        seen=np.full(len(good), step.stamp),
        motion=motion,
        seen_at=body.keypoint_mean(motion.xy),
        cells=found.cells[good],
        cells_at=motion.xy[:, BODY],
    )
    return tracks.put(left[good], after)


def overlapping(xy: np.ndarray, radius: float) -> np.ndarray:
    """Return which anchors (T, 18) are closer than ``radius`` to another person's of their type.

    Their disks merge, and the decoder may confuse the two.
    """
    away = length(xy[:, None] - xy)
    away[np.arange(len(xy)), np.arange(len(xy))] = np.inf
    near: np.ndarray = away.min(axis=1, initial=np.inf) < radius
    return near


def _update_visibility(mine: Tracks, confidence: np.ndarray, step: Step) -> Visibility:
    """Return the visibility of tracks with a pose; those that were occluded start anew."""
    config = step.config.visibility
    state = update_visibility(mine.visibility, confidence, mine.body.shape, step.dt, config)
    hidden = np.flatnonzero(mine.phase >= Phase.OCCLUDED)
    if not len(hidden):
        return state
    revived = revived_visibility(mine.visibility[hidden], confidence[hidden], config)
    return state.put(hidden, revived)


def _measurement(
    xy: np.ndarray,
    origin: np.ndarray,
    confidence: np.ndarray,
    error: np.ndarray,
    scale: np.ndarray,
    config: MotionConfig,
) -> tuple[np.ndarray, np.ndarray]:
    """Return measured points (P, 19, 2) and their standard deviations (P, 19), input pixels."""
    noise = config.keypoint_noise / np.maximum(confidence, config.min_confidence)
    noise = np.concatenate([noise, error[:, None]], axis=1) * scale[:, None]
    return np.concatenate([xy, origin[:, None]], axis=1), noise


def _inflate(noise: np.ndarray, mine: Tracks, area: np.ndarray, step: Step) -> np.ndarray:
    """Return the noise (P, 19), increased for people who overlap or are seen in part.

    The origin of a partially occluded body is biased, because the network predicts the hidden part
    inside the visible area.
    """
    config = step.config.motion
    merged = overlapping(mine.motion.xy[:, :A], step.radius)
    merged = np.concatenate([merged, merged.mean(axis=1, keepdims=True)], axis=1)
    noise = noise * (1 + config.overlap_noise * merged)
    visible = np.clip(area / np.maximum(mine.area, 1), MIN_VISIBLE, 1)
    noise[:, BODY] *= visible**-config.partial_power
    return noise


def _start_motion(
    points: np.ndarray, noise: np.ndarray, scale: np.ndarray, config: MotionConfig
) -> Motion:
    speed = np.repeat(config.first_speed * scale[:, None], POINTS, axis=1)
    return kalman.initiate(points, noise, speed)


def _correct_motion(
    mine: Tracks, points: np.ndarray, noise: np.ndarray, scale: np.ndarray, config: MotionConfig
) -> Motion:
    """Return the motion after the measurement; lost tracks start anew with their old velocity."""
    motion = kalman.correct(mine.motion, points, noise)
    lost = np.flatnonzero(mine.phase == Phase.LOST)
    if not len(lost):
        return motion
    anew = _start_motion(points[lost], noise[lost], scale[lost], config)
    return motion.put(lost, replace(anew, velocity=mine.motion.velocity[lost]))


def _average_area(
    average: np.ndarray, area: np.ndarray, dt: float, config: MotionConfig
) -> np.ndarray:
    """Return the average mask size (P,); it falls slowly, because a mask shrinks while occluded."""
    time = np.where(area > average, config.mask_time, config.mask_shrink_time)
    return average + (1 - np.exp(-dt / time)) * (area - average)


def _colour_rate(tracks: Tracks, step: Step) -> np.ndarray:
    """Return the rates (T,) at which colours are learned; 0 for people close to others."""
    config = step.config.association
    isolated = body.is_isolated(tracks.motion.xy[:, BODY], tracks.body.scale, config.colour_gap)
    return isolated * (1 - np.exp(-step.dt / config.colour_time))


def _share_correction(
    tracks: Tracks, rows: np.ndarray, before: Motion, after: Motion, config: MotionConfig
) -> Tracks:
    """Move tracks that are not in ``rows`` by the median correction of the others: the camera's."""
    rest = np.setdiff1d(np.arange(len(tracks)), rows)
    if len(before.xy) < config.crowd or not len(rest):
        return tracks
    shift = np.median(after.xy[:, BODY] - before.xy[:, BODY], axis=0)
    gain = np.median(after.velocity[:, BODY] - before.velocity[:, BODY], axis=0)
    mine = tracks[rest]
    motion = replace(mine.motion, xy=mine.motion.xy + shift, velocity=mine.motion.velocity + gain)
    return tracks.put(rest, replace(mine, motion=motion))

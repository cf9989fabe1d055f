"""Tracks take in what was measured: a pose, pixels without a pose, or nothing at all."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from kdc_core.config import CentroidMode
from kdc_core.geometry import length
from kdc_core.skeleton import A
from kdc_core.track import appearance, body, kalman, one_euro, visibility
from kdc_core.track.kalman import BODY, POINTS, Motion
from kdc_core.track.observation import Seen
from kdc_core.track.pixel_prior import PixelMemory
from kdc_core.track.requery import requery
from kdc_core.track.track_config import TrackConfig
from kdc_core.track.tracks import Tracks
from kdc_core.types import Fields, Phase

DOUBT = 0.15  # confidence below which a joint is not trusted less: its place still is a guess
PIXELS_NOISE = 0.1  # s: error of anchors that were read from pixels without a pose
MIXED = 1.5  # … by which the error grows where the disks of two people merge
FIRST_SPEED = 1.0  # s per second: deviation of the speed of people just seen
GOES_ON = 0.5  # share of a sudden shift of the picture that is taken for a new speed
CROWD = 3  # poses whose common correction is the camera's
AVERAGE = 0.5  # seconds, time constant of a mask's size and sigma …
SHRINK = 2.0  # … and of the size while it falls: whoever is being covered keeps it
PARTIAL = 2.0  # power of the visible share by which the body's place is trusted less
SUDDEN = 0.015  # seconds between frames from which a shift of the picture tells a speed


def predict(tracks: Tracks, dt: float, config: TrackConfig) -> Tracks:
    """Where everybody should be ``dt`` seconds later."""
    density = np.full((len(tracks), POINTS), config.limb_agility**2)
    density[:, BODY] = config.agility**2
    density *= tracks.body.scale[:, None] ** 2
    return replace(tracks, motion=kalman.predict(tracks.motion, dt, density))


def shift(tracks: Tracks, by: np.ndarray, dt: float) -> Tracks:
    """Everybody moved by ``by`` (2,) pixels: the camera turned, and half believed it goes on."""
    velocity = tracks.motion.velocity + (GOES_ON * by / dt if dt >= SUDDEN else 0.0)
    return replace(
        tracks, motion=replace(tracks.motion, xy=tracks.motion.xy + by, velocity=velocity),
        cells_at=tracks.cells_at + by, seen_at=tracks.seen_at + by,
    )  # fmt: skip


def begin(
    seen: Seen,
    poses: np.ndarray,
    stamp: float,
    phase: Phase,
    config: TrackConfig,
    mode: CentroidMode,
) -> Tracks:
    """New tracks, without ids, from the given rows of the poses."""
    n = len(poses)
    centroids, xy = seen.centroids[poses], seen.poses.xy[poses].astype(float)
    shape, origin = body.first(xy, centroids.confidence, centroids.scale)
    error = np.full(n, 0.05)
    points, noise = _points(xy, origin, centroids.confidence, error, shape.scale, config)
    cells = _cells(seen, poses)
    sight = visibility.look(centroids.confidence, config)
    now = np.full(n, stamp)
    return Tracks(
        id=np.zeros(n, np.int64), phase=np.full(n, phase, np.uint8), born=now, seen=now, posed=now,
        seen_at=seen.middle[poses], score=seen.poses.score[poses].astype(float),
        size=centroids.scale.astype(float), spread=centroids.sigma / centroids.scale,
        area=np.array([len(own) for own in cells], float),
        motion=_start(points, noise, shape.scale), body=shape,
        visibility=visibility.carried(sight, centroids, mode, config.temporal),
        calm=one_euro.still((xy - origin[:, None]) / shape.scale[:, None, None]),
        look=seen.look[poses], cells=cells, cells_at=origin,
    )  # fmt: skip


def absorb(
    tracks: Tracks, seen: Seen, rows: np.ndarray, columns: np.ndarray, dt: float, stamp: float,
    config: TrackConfig, mode: CentroidMode, radius: float,
) -> Tracks:  # fmt: skip
    """Tracks after the given rows took in their poses."""
    if not len(rows):
        return tracks
    mine, poses = tracks[rows], seen.poses[columns]
    centroids = seen.centroids[columns]
    origin, error = body.locate(mine.body, poses.xy, centroids.confidence)
    shape = body.learn(mine.body, poses.xy, origin, centroids.confidence, centroids.scale, dt)
    points, noise = _points(poses.xy, origin, centroids.confidence, error, shape.scale, config)
    blurred = mixed(mine.motion.xy[:, :A], radius)
    noise *= 1 + MIXED * np.concatenate([blurred, blurred.mean(axis=1, keepdims=True)], axis=1)
    cells = _cells(seen, columns)
    area = np.array([len(own) for own in cells], float)
    # who is seen in part is seen in the wrong place: the network shifts the rest into sight
    noise[:, BODY] *= np.clip(area / np.maximum(mine.area, 1), 0.1, 1) ** -PARTIAL
    motion = kalman.correct(mine.motion, points, noise)
    lost = np.flatnonzero(mine.phase == Phase.LOST)
    if len(lost):  # they start anew, but go where they went
        again = _start(points[lost], noise[lost], shape.scale[lost])
        motion = motion.put(lost, replace(again, velocity=mine.motion.velocity[lost]))
    rate = 1 - np.exp(-dt / AVERAGE)
    resize = 1 - np.exp(-dt / np.where(area > mine.area, AVERAGE, SHRINK))
    place = tracks.motion.xy[:, BODY]
    clear = body.alone(place, tracks.body.scale, appearance.CLEAR)[rows]
    fresh = clear * (1 - np.exp(-dt / appearance.MEMORY))
    relative = (poses.xy - motion.xy[:, BODY:]) / shape.scale[:, None, None]
    now = np.full(len(rows), stamp)
    sight = _sight(mine, centroids.confidence, dt, config)
    after = replace(
        mine, seen=now, posed=now, seen_at=seen.middle[columns], motion=motion, body=shape,
        score=poses.score.astype(float), size=centroids.scale.astype(float),
        area=mine.area + resize * (area - mine.area),
        spread=mine.spread + rate * (centroids.sigma / centroids.scale - mine.spread),
        visibility=visibility.carried(sight, centroids, mode, config.temporal),
        calm=one_euro.smooth(mine.calm, relative, dt, config.min_cutoff, config.beta),
        look=appearance.learn(mine.look, seen.look[columns], fresh),
        cells=cells, cells_at=motion.xy[:, BODY],
    )  # fmt: skip
    steady = mine.phase != Phase.LOST
    carried = _carry(tracks, rows, mine.motion[steady], motion[steady])
    return carried.put(rows, after)


def live_on(
    tracks: Tracks, rows: np.ndarray, fields: Fields, seen: Seen, dt: float, stamp: float,
    config: TrackConfig, memory: PixelMemory | None,
) -> Tracks:  # fmt: skip
    """Tracks after those that are not in ``rows`` did without a pose.

    They coast; where the fields still point at them, and at nobody who has a pose, they are seen
    all the same.
    """
    left = np.setdiff1d(np.arange(len(tracks)), rows)
    if not len(left):
        return tracks
    mine = tracks[left]
    usual = mine.body.place(mine.motion.xy[:, BODY])
    mine = replace(mine, motion=kalman.coast(mine.motion, usual, dt, config.coast))
    tracks = tracks.put(left, mine)
    present = (mine.phase == Phase.CONFIRMED) | (mine.phase == Phase.OCCLUDED)
    left = left[present & (stamp - mine.posed <= config.requery)]
    if not len(left):
        return tracks
    found = requery(fields, seen.cells, tracks[left], tracks[rows], memory, config.outline)
    good = np.flatnonzero(found.share >= config.explained)
    mine = tracks[left[good]]
    origin, _ = body.locate(mine.body, found.xy[good], np.ones((len(good), A)))
    points = np.concatenate([found.xy[good], origin[:, None]], axis=1)
    noise = np.repeat(PIXELS_NOISE * mine.body.scale[:, None], POINTS, axis=1)
    motion = kalman.correct(mine.motion, points, noise)
    after = replace(
        mine, seen=np.full(len(good), stamp), motion=motion, seen_at=body.middle(motion.xy),
        cells=found.cells[good], cells_at=motion.xy[:, BODY],
    )  # fmt: skip
    return tracks.put(left[good], after)


def mixed(xy: np.ndarray, radius: float) -> np.ndarray:
    """Anchors (T, 18) so close to somebody else's of the same type that their disks merge."""
    away = length(xy[:, None] - xy)
    away[np.arange(len(xy)), np.arange(len(xy))] = np.inf
    near: np.ndarray = away.min(axis=1, initial=np.inf) < radius
    return near


def _sight(
    mine: Tracks, confidence: np.ndarray, dt: float, config: TrackConfig
) -> visibility.Visibility:
    """Visibility of tracks with a pose; who was hidden is looked at afresh."""
    sight = visibility.update(mine.visibility, confidence, mine.body.shape, dt, config)
    hidden = np.flatnonzero(mine.phase >= Phase.OCCLUDED)
    if not len(hidden):
        return sight
    again = visibility.look_again(mine.visibility[hidden], confidence[hidden], config)
    return sight.put(hidden, again)


def _points(
    xy: np.ndarray, origin: np.ndarray, confidence: np.ndarray, error: np.ndarray,
    scale: np.ndarray, config: TrackConfig,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Measured points (P, 19, 2) and their standard deviations (P, 19), input pixels."""
    noise = config.noise / np.maximum(confidence, DOUBT)
    noise = np.concatenate([noise, error[:, None]], axis=1) * scale[:, None]
    return np.concatenate([xy, origin[:, None]], axis=1), noise


def _start(points: np.ndarray, noise: np.ndarray, scale: np.ndarray) -> Motion:
    speed = np.repeat(FIRST_SPEED * scale[:, None], POINTS, axis=1)
    return kalman.initiate(points, noise, speed)


def _carry(tracks: Tracks, rows: np.ndarray, before: Motion, after: Motion) -> Tracks:
    """People without a pose share the correction that most with a pose needed: the camera's."""
    rest = np.setdiff1d(np.arange(len(tracks)), rows)
    if len(before.xy) < CROWD or not len(rest):
        return tracks
    place = np.median(after.xy[:, BODY] - before.xy[:, BODY], axis=0)
    speed = np.median(after.velocity[:, BODY] - before.velocity[:, BODY], axis=0)
    mine = tracks[rest]
    motion = replace(mine.motion, xy=mine.motion.xy + place, velocity=mine.motion.velocity + speed)
    return tracks.put(rest, replace(mine, motion=motion))


def _cells(seen: Seen, poses: np.ndarray) -> np.ndarray:
    """Object array of the flat cell indices of each pose."""
    cells = np.empty(len(poses), object)
    for i, pose in enumerate(poses):
        cells[i] = seen.cells.at[seen.cells.owner == pose]
    return cells

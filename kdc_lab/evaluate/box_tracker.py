"""Baseline of the occlusion benchmark: single frames and a SORT-like tracker of their boxes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.optimize import linear_sum_assignment

from kdc_core.config import DecodeConfig
from kdc_core.decode import decode
from kdc_core.track import drop_below, kalman
from kdc_core.types import Fields, People, Phase

MIN_IOU = 0.3  # as in SORT
MAX_AGE = 1.0  # seconds after which an unmatched track is deleted; in SORT it is one frame
#: as shares of a box's height: measurement error, process noise, deviation of the first speed
NOISE, AGILITY, SPEED = 0.05, 0.6, 1.0


class BoxTracker:
    """Matches constant-velocity boxes by IoU (Bewley et al., 2016); masks come from each frame."""

    def __init__(self, config: DecodeConfig | None = None, min_score: float = 0.0) -> None:
        """Create a tracker without tracks; people below ``min_score`` are dropped."""
        self.config = config or DecodeConfig()
        self.min_score = min_score
        self._motion = kalman.initiate(np.zeros((0, 2, 2)), np.zeros((0, 2)), np.zeros((0, 2)))
        self._ids, self._seen = np.zeros(0, int), np.zeros(0)
        self._stamp, self._last = 0.0, 0

    def __call__(self, fields: Fields, stamp: float) -> People:
        """Return the people of a frame with the ids of their tracks; ``stamp`` is in seconds."""
        people = drop_below(decode(fields, self.config), self.min_score)
        corners = people.boxes.reshape(-1, 2, 2).astype(float)
        tall = np.maximum(corners[:, 1, 1] - corners[:, 0, 1], 8.0)[:, None]
        before = np.ptp(self._motion.xy[..., 1], axis=1)[:, None]
        density = np.repeat((AGILITY * before) ** 2, 2, axis=1)
        motion = kalman.predict(self._motion, stamp - self._stamp, density)
        iou = _iou(motion.xy, corners)
        rows, columns = linear_sum_assignment(iou, maximize=True)
        good = iou[rows, columns] >= MIN_IOU
        rows, columns = rows[good], columns[good]
        noise = np.repeat(NOISE * tall, 2, axis=1)
        seen = kalman.correct(motion[rows], corners[columns], noise[columns])
        motion, last_seen = motion.put(rows, seen), self._seen.copy()
        last_seen[rows] = stamp
        fresh = np.setdiff1d(np.arange(len(people)), columns)
        ids = np.zeros(len(people), int)
        ids[columns] = self._ids[rows]
        ids[fresh] = self._last + 1 + np.arange(len(fresh))
        self._last += len(fresh)
        speed = np.repeat(SPEED * tall[fresh], 2, axis=1)
        begun = kalman.initiate(corners[fresh], noise[fresh], speed)
        kept = np.flatnonzero(stamp - last_seen <= MAX_AGE)
        self._motion = motion[kept].join(begun)
        self._ids = np.concatenate([self._ids[kept], ids[fresh]])
        self._seen = np.concatenate([last_seen[kept], np.full(len(fresh), stamp)])
        self._stamp = stamp
        return _renamed(people, ids)


def _renamed(people: People, ids: np.ndarray) -> People:
    value = np.zeros(int(people.ids.max(initial=0)) + 1, np.uint16)
    value[people.ids] = ids
    phase = np.full(len(people), Phase.CONFIRMED, np.uint8)
    return replace(people, ids=ids, labels=value[people.labels], phase=phase)


def _iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the IoU (T, P) of boxes (T, 2, 2) and (P, 2, 2): top left and bottom right corners."""
    low = np.maximum(a[:, None, 0], b[None, :, 0])
    high = np.minimum(a[:, None, 1], b[None, :, 1])
    common = np.maximum(high - low, 0).prod(axis=2)
    size = [np.maximum(boxes[:, 1] - boxes[:, 0], 0).prod(axis=1) for boxes in (a, b)]
    overlap: np.ndarray = common / np.maximum(size[0][:, None] + size[1] - common, 1e-9)
    return overlap

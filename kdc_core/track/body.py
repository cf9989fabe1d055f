"""Model people as stick figures: shape, scale and bones, learned from visible joints."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kdc_core.geometry import length
from kdc_core.skeleton import CENTRE, A, K
from kdc_core.track.columns import Rows
from kdc_core.track.track_config import MotionConfig

SURE = 0.3  # confidence from which a keypoint is measured rather than guessed
#: how well a joint tells the position of the body: trunk and head do, hands and feet swing
RIGID = np.array([1, 1, 1, 1, 1, 2, 2, 0.7, 0.7, 0.2, 0.2, 2, 2, 0.7, 0.7, 0.3, 0.3])
BONES = np.array([(5, 6), (11, 12), (5, 11), (6, 12), (11, 13), (12, 14), (0, 5), (0, 6)])


@dataclass(frozen=True)
class Body(Rows):
    """Shapes of T people around their origins, in units of their scale."""

    shape: np.ndarray  # (T, 18, 2)
    learned: np.ndarray  # (T, 18) seconds for which the anchor was seen, up to ``shape_time``
    scale: np.ndarray  # (T,) input pixels
    sized: np.ndarray  # (T,) bool: the scale was measured on a whole body; False: on a part

    def anchors_at(self, origin: np.ndarray) -> np.ndarray:
        """Return the 17 keypoints and the CENTRE (T, 18, 2) of T bodies, in input pixels.

        Args:
            origin: (T, 2) input pixels, the mean of each body's keypoints.
        """
        return origin[:, None] + self.scale[:, None, None] * self.shape


def measure(xy: np.ndarray, confidence: np.ndarray, scale: np.ndarray) -> tuple[Body, np.ndarray]:
    """Return bodies and origins (P, 2) of people who are seen for the first time.

    Args:
        xy: (P, 18, 2) anchors, input pixels.
        confidence: (P, 18).
        scale: (P,) input pixels.
    """
    origin = keypoint_mean(xy)
    shape = (xy - origin[:, None]) / scale[:, None, None]
    body = Body(shape, np.zeros(xy.shape[:2]), scale.astype(float), is_whole(confidence))
    return body, origin


def keypoint_mean(xy: np.ndarray) -> np.ndarray:
    """Return the mean (P, 2) of the 17 keypoints."""
    return xy[:, :K].mean(axis=1)


def is_whole(confidence: np.ndarray) -> np.ndarray:
    """Return whether enough of each person (P, 18) is seen to measure its size, (P,) bool."""
    seen = confidence[:, :K] > SURE
    upper, lower = seen[:, :7].any(axis=1), seen[:, 11:].any(axis=1)
    trunk = seen[:, [5, 6, 11, 12]].all(axis=1)
    return (seen.sum(axis=1) >= 6) & ((upper & lower) | trunk)


def locate(body: Body, xy: np.ndarray, confidence: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the origins (T, 2) of known bodies from visible joints, and their errors (T,) in s."""
    weight = np.where(confidence[:, :K] > SURE, confidence[:, :K], 0) * RIGID
    total = weight.sum(axis=1)
    blind = total < 0.5
    weight = np.where(blind[:, None], RIGID, weight)
    votes = xy[:, :K] - body.scale[:, None, None] * body.shape[:, :K]
    origin = (votes * weight[..., None]).sum(axis=1) / weight.sum(axis=1)[:, None]
    return origin, np.where(blind, 0.2, 0.02 + 0.06 / (1 + total))


def update_body(
    body: Body,
    xy: np.ndarray,
    origin: np.ndarray,
    confidence: np.ndarray,
    scale: np.ndarray,
    dt: float,
    config: MotionConfig,
) -> Body:
    """Return the bodies after new poses were seen; only visible joints change the shape.

    Args:
        body: T bodies.
        xy: (T, 18, 2) anchors, input pixels.
        origin: (T, 2) input pixels.
        confidence: (T, 18).
        scale: (T,) of the poses, input pixels.
        dt: seconds since the last frame.
        config: time constants.
    """
    whole = is_whole(confidence)
    step = max(dt, 1e-3)
    rate = 1 - np.exp(-step / config.shape_time)
    growth = scale / body.scale
    size = body.scale * growth ** (whole * (1 - np.exp(-step / config.scale_time)))
    size = np.where(body.sized, size, scale)
    # a new scale that replaces a guess keeps the known joints at their pixels
    old = np.where(body.sized, 1.0, 1 / growth)[:, None, None] * body.shape
    seen = confidence > SURE
    seen[:, CENTRE] &= whole  # the centre of the visible part of a mask is not the body's
    # a plain mean at first, a moving average later
    rate = np.where(seen, np.maximum(rate, step / (body.learned + step)), 0.0)
    now = (xy - origin[:, None]) / size[:, None, None]
    shape = old + rate[..., None] * (now - old)
    learned = np.minimum(body.learned + step * seen, config.shape_time)
    return Body(shape, learned, size, body.sized | whole)


def bone_distance(body: Body, xy: np.ndarray, confidence: np.ndarray) -> np.ndarray:
    """Return the mean |log| of the bone length ratios (T, P) after removing their common factor.

    So the distance to the camera does not matter. With fewer than 4 common bones it is 0.

    Args:
        body: T bodies.
        xy: (P, 18, 2) anchors, input pixels.
        confidence: (P, 18).
    """
    known = np.all(body.learned[:, BONES] > 0, axis=2)  # (T, 8)
    seen = np.all(confidence[:, BONES] > SURE, axis=2)  # (P, 8)
    both = known[:, np.newaxis] & seen  # (T, P, 8)
    ratio = _log_lengths(xy)[None] - _log_lengths(body.shape)[:, None]
    count = np.maximum(both.sum(axis=2), 1)
    common = (ratio * both).sum(axis=2) / count
    spread = (abs(ratio - common[..., None]) * both).sum(axis=2) / count
    return np.where(both.sum(axis=2) >= 4, spread, 0.0)


def _log_lengths(xy: np.ndarray) -> np.ndarray:
    """Return the logarithms of the bone lengths (P, 8), at least 3 % of the body's size."""
    ends = xy[:, BONES]
    lengths = np.linalg.norm(ends[:, :, 0] - ends[:, :, 1], axis=2)
    size = np.ptp(xy[:, :K], axis=1).max(axis=1, initial=1e-6)
    return np.log(np.maximum(lengths, 0.03 * size[:, None]))  # seen end on, a bone has no length


def no_bodies() -> Body:
    """Return zero bodies."""
    return Body(np.zeros((0, A, 2)), np.zeros((0, A)), np.zeros(0), np.zeros(0, bool))


def is_isolated(origin: np.ndarray, scale: np.ndarray, gap: float) -> np.ndarray:
    """Return which people are farther than ``gap`` sums of two scales from all others, (T,) bool.

    Args:
        origin: (T, 2) input pixels.
        scale: (T,) input pixels.
        gap: minimum distance in sums of the two scales.
    """
    away = length(origin[:, None] - origin)
    np.fill_diagonal(away, np.inf)
    far: np.ndarray = (away > gap * (scale[:, None] + scale[None])).all(axis=1)
    return far

"""What a person looks like as a stick figure: shape, scale, bones; learned from visible joints."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kdc_core.geometry import length
from kdc_core.skeleton import CENTRE, A, K
from kdc_core.track.columns import Rows

SURE = 0.3  # confidence from which a keypoint is measured rather than guessed
#: how far a joint tells where the body is: trunk and head do, hands and feet swing
RIGID = np.array([1, 1, 1, 1, 1, 2, 2, 0.7, 0.7, 0.2, 0.2, 2, 2, 0.7, 0.7, 0.3, 0.3])
BONES = np.array([(5, 6), (11, 12), (5, 11), (6, 12), (11, 13), (12, 14), (0, 5), (0, 6)])
MEMORY = 2.0  # seconds, time constant of the shape
APPROACH = 0.3  # seconds, time constant of the scale: people come closer and enter from the side


@dataclass(frozen=True)
class Body(Rows):
    """Shape of T people around their origin, in units of their scale."""

    shape: np.ndarray  # (T, 18, 2)
    learned: np.ndarray  # (T, 18) seconds of being seen that the shape rests on
    scale: np.ndarray  # (T,) input pixels
    sized: np.ndarray  # (T,) bool: the scale was measured on a whole body; False: on what was seen

    def place(self, origin: np.ndarray) -> np.ndarray:
        """Anchors (T, 18, 2) of bodies whose origins are at ``origin`` (T, 2)."""
        return origin[:, None] + self.scale[:, None, None] * self.shape


def first(xy: np.ndarray, confidence: np.ndarray, scale: np.ndarray) -> tuple[Body, np.ndarray]:
    """Bodies and origins (P, 2) of people that are seen for the first time; anchors (P, 18, 2)."""
    origin = middle(xy)
    shape = (xy - origin[:, None]) / scale[:, None, None]
    body = Body(shape, np.zeros(xy.shape[:2]), scale.astype(float), whole(confidence))
    return body, origin


def middle(xy: np.ndarray) -> np.ndarray:
    """Mean of the 17 keypoints (P, 2)."""
    return xy[:, :K].mean(axis=1)


def whole(confidence: np.ndarray) -> np.ndarray:
    """Whether enough is seen of each person (P, 18) to measure its size (P,)."""
    seen = confidence[:, :K] > SURE
    upper, lower = seen[:, :7].any(axis=1), seen[:, 11:].any(axis=1)
    trunk = seen[:, [5, 6, 11, 12]].all(axis=1)
    return (seen.sum(axis=1) >= 6) & ((upper & lower) | trunk)


def locate(body: Body, xy: np.ndarray, confidence: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Origin (T, 2) of known bodies from the joints that are seen, and its error in scales (T,)."""
    weight = np.where(confidence[:, :K] > SURE, confidence[:, :K], 0) * RIGID
    total = weight.sum(axis=1)
    blind = total < 0.5
    weight = np.where(blind[:, None], RIGID, weight)
    votes = xy[:, :K] - body.scale[:, None, None] * body.shape[:, :K]
    origin = (votes * weight[..., None]).sum(axis=1) / weight.sum(axis=1)[:, None]
    return origin, np.where(blind, 0.2, 0.02 + 0.06 / (1 + total))


def learn(
    body: Body, xy: np.ndarray, origin: np.ndarray, confidence: np.ndarray, scale: np.ndarray,
    dt: float,
) -> Body:  # fmt: skip
    """Shape and scale after one more look; only what is seen teaches."""
    complete = whole(confidence)
    step = max(dt, 1e-3)
    rate = 1 - np.exp(-step / MEMORY)
    growth = scale / body.scale
    size = body.scale * growth ** (complete * (1 - np.exp(-step / APPROACH)))
    size = np.where(body.sized, size, scale)
    old = np.where(body.sized, 1.0, 1 / growth)[:, None, None] * body.shape  # pixels stay
    seen = confidence > SURE
    seen[:, CENTRE] &= complete  # the middle of what is left of a mask is not the body's
    # a plain mean while there is little to average, a moving one later
    rate = np.where(seen, np.maximum(rate, step / (body.learned + step)), 0.0)
    now = (xy - origin[:, None]) / size[:, None, None]
    shape = old + rate[..., None] * (now - old)
    learned = np.minimum(body.learned + step * seen, MEMORY)
    return Body(shape, learned, size, body.sized | complete)


def unlike(body: Body, xy: np.ndarray, confidence: np.ndarray) -> np.ndarray:
    """Mean |log| of the bone length ratios (T, P), after removing their common factor.

    Distance to the camera cancels. Too few common bones say nothing: 0.
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
    ends = xy[:, BONES]
    length = np.linalg.norm(ends[:, :, 0] - ends[:, :, 1], axis=2)
    size = np.ptp(xy[:, :K], axis=1).max(axis=1, initial=1e-6)
    return np.log(np.maximum(length, 0.03 * size[:, None]))  # a bone seen end on has no length


def empty() -> Body:
    """No body at all."""
    return Body(np.zeros((0, A, 2)), np.zeros((0, A)), np.zeros(0), np.zeros(0, bool))


def alone(place: np.ndarray, scale: np.ndarray, apart: float) -> np.ndarray:
    """Whose place (T, 2) is more than ``apart`` sums of two scales (T,) from all others', (T,)."""
    away = length(place[:, None] - place)
    np.fill_diagonal(away, np.inf)
    far: np.ndarray = (away > apart * (scale[:, None] + scale[None])).all(axis=1)
    return far

"""Group peaks into skeletons, greedily with a priority queue. After PersonLab §3.2."""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import numpy as np

from kdc_core.config import GroupConfig
from kdc_core.decode.phi import inverse_square_weights
from kdc_core.decode.rank import rank_poses, suppress_duplicates
from kdc_core.geometry import length
from kdc_core.skeleton import CENTRE, DIRECTED, OUT_EDGES, A, K
from kdc_core.types import Peaks, Poses

#: start and end of the directed edges (40,), and the rank of each among the edges of its start
_START, _END = np.array(DIRECTED).T
_SLOT = np.array([OUT_EDGES[a].index((e, b)) for e, (a, b) in enumerate(DIRECTED)])
#: the edge (40,) in the opposite direction
_BACK = np.array([DIRECTED.index((b, a)) for a, b in DIRECTED])
#: share of a person's scale by which the anchor field may miss the peak at which it is read
_DRIFT = 0.1
MIN_SCALE = 4.0  # input pixels, as in ``Poses.scale``


@dataclass
class _Skeleton:
    """A skeleton while it grows."""

    slot: list[int]  # peak of each of the 18 anchors, -1 = none
    scale: float  # sqrt(area of the keypoints' box), input pixels

    @property
    def matched(self) -> np.ndarray:
        """Types of the anchors that have a peak."""
        return np.flatnonzero(np.array(self.slot) >= 0)


class _Candidates:
    """The peaks, at most N per type, and everything about them that no person changes.

    All distances between peaks are computed at once. Skeletons that grow look up a few at a time.
    """

    def __init__(self, peaks: Peaks, config: GroupConfig) -> None:
        used = slice(np.count_nonzero(peaks.score.any(axis=0)))  # peaks come before empty slots
        self.xy, self.anchors = peaks.xy[:, used], peaks.anchors[:, used]
        self.score = peaks.score[:, used]
        self.scores = self.score.tolist()  # single numbers are read faster from lists
        self.counts = (self.score > config.min_anchor_score).tolist()
        points = self.anchors[:, :, :K]
        self.scale = np.sqrt(np.prod(points.max(axis=2) - points.min(axis=2), axis=2)).tolist()
        #: is added to distances (18, N): 0 for a free peak, inf for one that belongs to a person
        self.taken = np.where(self.score > 0, np.float32(0), np.float32(np.inf))
        ahead = peaks.reach[_START, used, _SLOT][:, :, None] - self.xy[_END][:, None]
        ahead = np.hypot(ahead[..., 0], ahead[..., 1])
        #: by how much each edge (40,) of each peak (N,) misses the peaks at its end (N,). Their
        #: edges back count half: a neighbour's keypoint is near, but its edge leads elsewhere
        self.miss = (2 * ahead + ahead[_BACK].swapaxes(1, 2)) / 3
        #: from each peak (18, N) to the person's anchors (18,) that are read there
        self.offset = length(self.anchors - self.xy[:, :, None])
        #: … and to the one of its own type: large on the pixels of another person in front
        self.drift = self.offset[np.arange(A), :, np.arange(A)]

    def seeds(self, min_score: float) -> list[tuple[int, int]]:
        """Return type and slot of the peaks of at least ``min_score``, best first."""
        kind, slot = np.nonzero(self.score >= min_score)
        order = np.argsort(-self.score[kind, slot], kind="stable")
        return list(zip(kind[order].tolist(), slot[order].tolist(), strict=True))

    def take(self, kind: int, slot: int) -> None:
        """Mark a peak as part of a person."""
        self.taken[kind, slot] = np.inf


def group(peaks: Peaks, radius: float, config: GroupConfig) -> Poses:
    """Return skeletons, best first and without duplicates.

    The best free peak starts a skeleton, which grows along its edges and is then completed: where
    no peak was matched, the anchor field read at the person's own peaks gives the position, and
    ``anchor_score`` is 0.

    Args:
        peaks: candidates of all anchor types.
        radius: R, input pixels.
        config: thresholds.
    """
    candidates = _Candidates(peaks, config)
    explained = np.zeros(candidates.score.shape, bool)  # lies on the same anchor of a person
    people: list[_Skeleton] = []
    positions: list[np.ndarray] = []
    for kind, slot in candidates.seeds(config.seed_score):
        if len(people) == config.max_people:
            break
        if explained[kind, slot] or candidates.taken[kind, slot]:
            continue
        person = _grow(candidates, kind, slot, radius, config)
        xy = _complete(candidates, person)
        if _match_completed(candidates, person, xy, radius, config):
            xy = _complete(candidates, person)
        if _is_person(candidates, person, config):
            people.append(person)
            positions.append(xy)
            reach = np.maximum(config.same_place, config.same_place_scale * person.scale)
            explained |= length(candidates.xy - xy[:, None]) < reach
    poses = _to_poses(peaks, people, positions)
    poses, _ = rank_poses(poses, poses.anchor_score, radius)
    return poses[suppress_duplicates(poses, config.duplicate)]


def _grow(
    candidates: _Candidates, kind: int, slot: int, radius: float, config: GroupConfig
) -> _Skeleton:
    """Follow the edges from the seed, most confident anchor first."""
    person = _Skeleton([-1] * A, candidates.scale[kind][slot])
    within = _match_radius(person, radius, config)
    person.slot[kind] = slot
    candidates.take(kind, slot)
    queue = [(-candidates.scores[kind][slot], kind)]
    while queue:
        _, source = heapq.heappop(queue)
        for edge, end in OUT_EDGES[source]:
            if person.slot[end] >= 0:
                continue
            distance = candidates.miss[edge, person.slot[source]] + candidates.taken[end]
            found = int(distance.argmin())
            if distance[found] <= within:
                person.slot[end] = found
                candidates.take(end, found)
                heapq.heappush(queue, (-candidates.scores[end][found], end))
    return person


def _match_radius(person: _Skeleton, radius: float, config: GroupConfig) -> float:
    """Return the distance in input pixels up to which a peak is matched."""
    return max(config.match_radius * radius, config.match_scale * person.scale)


def _complete(candidates: _Candidates, person: _Skeleton) -> np.ndarray:
    """Return all anchors (18, 2): matched peaks, else the mean of what the matched peaks predict.

    A prediction counts less with the square of its length, because its error grows with it. It
    also counts less if the anchor field misses the peak itself: a hidden keypoint lies on the
    pixels of the person in front and reads that person's anchors.
    """
    kinds = person.matched
    own = kinds, np.array(person.slot)[kinds]
    scale = max(person.scale, MIN_SCALE)
    drift = candidates.drift[own] / (_DRIFT * scale)
    # 1e-6: if no prediction is trusted, all of them are
    trust = candidates.score[own] * (np.exp(-(drift**2) / 2) + 1e-6)
    weight = inverse_square_weights(trust[:, None], candidates.offset[own], scale)
    guesses = candidates.anchors[own]
    xy: np.ndarray = (guesses * weight[:, :, None]).sum(axis=0) / weight.sum(axis=0)[:, None]
    xy[kinds] = candidates.xy[own]
    return xy


def _match_completed(
    candidates: _Candidates, person: _Skeleton, xy: np.ndarray, radius: float, config: GroupConfig
) -> bool:
    """Match free peaks near the completed anchors, which no edge reached; True if any matched."""
    kinds = np.flatnonzero(np.array(person.slot) < 0)
    away = candidates.xy[kinds] - xy[kinds, None]
    distance = np.hypot(away[..., 0], away[..., 1]) + candidates.taken[kinds]
    near = distance.min(axis=1) <= _match_radius(person, radius, config)
    for kind, found in zip(kinds[near].tolist(), distance[near].argmin(axis=1), strict=True):
        person.slot[kind] = int(found)
        candidates.take(kind, found)
    return bool(near.any())


def _is_person(candidates: _Candidates, person: _Skeleton, config: GroupConfig) -> bool:
    """Return whether the skeleton has enough keypoints, or a CENTRE that is enough by itself."""
    own = [(kind, slot) for kind, slot in enumerate(person.slot[:K]) if slot >= 0]
    centre = person.slot[CENTRE]
    enough = sum(candidates.counts[kind][slot] for kind, slot in own) >= config.min_keypoints
    return enough or (centre >= 0 and bool(candidates.score[CENTRE, centre] > config.min_centre))


def _to_poses(peaks: Peaks, people: list[_Skeleton], positions: list[np.ndarray]) -> Poses:
    """Return the skeletons as ``Poses`` without scores, in the order in which they grew."""
    slot = np.array([person.slot for person in people], np.intp).reshape(-1, A)
    matched = slot >= 0
    kinds = np.arange(A)
    return Poses(
        xy=np.array(positions, np.float32).reshape(-1, A, 2),
        anchor_score=np.where(matched, peaks.score[kinds, slot], 0).astype(np.float32),
        vis=np.where(matched, peaks.vis[kinds, slot], 0).astype(np.float32),
        matched=matched,
        score=np.zeros(len(people), np.float32),
    )

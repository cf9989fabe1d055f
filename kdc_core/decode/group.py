"""Greedy grouping of peaks into skeletons with a priority queue. After PersonLab §3.2."""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import numpy as np

from kdc_core.config import GroupConfig
from kdc_core.decode.refine import rank_poses
from kdc_core.geometry import length
from kdc_core.skeleton import CENTRE, DIRECTED, OUT_EDGES, A, K
from kdc_core.types import Peaks, Poses

#: start and end of the directed edges (40,), and which of the edges that leave the start it is
_START, _END = np.array(DIRECTED).T
_PLACE = np.array([OUT_EDGES[a].index((e, b)) for e, (a, b) in enumerate(DIRECTED)])
#: the edge (40,) that leads the other way
_BACK = np.array([DIRECTED.index((b, a)) for a, b in DIRECTED])
#: share of a person's scale by which the anchor field may miss the peak that it is read at
_ASTRAY = 0.1


@dataclass
class _Person:
    """A skeleton while it grows."""

    slot: list[int]  # peak of each of the 18 anchors, -1 = none yet
    scale: float  # sqrt(area of the keypoints' box), input pixels


class _Candidates:
    """The peaks that are there, N at most per kind, and all that does not depend on the person.

    Distances between peaks are measured at once: while skeletons grow, a few are asked at a time.
    """

    def __init__(self, peaks: Peaks, config: GroupConfig) -> None:
        used = slice(np.count_nonzero(peaks.score.any(axis=0)))  # peaks come before empty slots
        self.xy, self.anchors = peaks.xy[:, used], peaks.anchors[:, used]
        self.score = peaks.score[:, used]
        self.scores = self.score.tolist()  # one number at a time is read faster from lists
        self.counts = (self.score > config.min_anchor_score).tolist()
        points = self.anchors[:, :, :K]
        self.scale = np.sqrt(np.prod(points.max(axis=2) - points.min(axis=2), axis=2)).tolist()
        #: added to distances (18, N): 0 for a free peak, inf for one that is claimed
        self.claimed = np.where(self.score > 0, np.float32(0), np.float32(np.inf))
        ahead = peaks.reach[_START, used, _PLACE][:, :, None] - self.xy[_END][:, None]
        ahead = np.hypot(ahead[..., 0], ahead[..., 1])
        #: by how much each edge (40,) of each peak (N,) misses the peaks at its end (N,), and, with
        #: half that weight, their edges back: a neighbour's keypoint is near but points elsewhere
        self.miss = (2 * ahead + ahead[_BACK].swapaxes(1, 2)) / 3
        #: from each peak (18, N) to the person's anchors (18,) as read there
        self.away = length(self.anchors - self.xy[:, :, None])
        #: … and to that of its own kind: large where the pixels are of somebody in front
        self.astray = self.away[np.arange(A), :, np.arange(A)]

    def seeds(self, least: float) -> list[tuple[int, int]]:
        """Kind and slot of the peaks of at least this score, best first."""
        kind, slot = np.nonzero(self.score >= least)
        order = np.argsort(-self.score[kind, slot], kind="stable")
        return list(zip(kind[order].tolist(), slot[order].tolist(), strict=True))


def group(peaks: Peaks, radius: float, config: GroupConfig) -> Poses:
    """Skeletons from peaks: seed at the best free peak, follow the edges, place what is missing.

    Every anchor of a kept person is placed: where no peak was claimed, the anchor field as read
    at the person's own peaks tells where it should be, and its ``anchor_score`` is 0.
    """
    candidates = _Candidates(peaks, config)
    taken = np.zeros(candidates.score.shape, bool)  # on the same anchor of a person that is there
    people: list[_Person] = []
    placed: list[np.ndarray] = []
    for kind, slot in candidates.seeds(config.seed_score):
        if len(people) == config.max_people:
            break
        if taken[kind, slot] or candidates.claimed[kind, slot]:
            continue
        person = _grow(candidates, kind, slot, radius, config)
        xy = _place(candidates, person)
        if _claim_placed(candidates, person, xy, radius, config):
            xy = _place(candidates, person)
        if _is_person(candidates, person, config):
            people.append(person)
            placed.append(xy)
            reach = np.maximum(config.same_place, config.same_place_scale * person.scale)
            taken |= length(candidates.xy - xy[:, None]) < reach
    return _poses(peaks, radius, people, placed, config.duplicate)


def _grow(
    candidates: _Candidates, kind: int, slot: int, radius: float, config: GroupConfig
) -> _Person:
    """Follow edges from the seed, from the most confident anchor first."""
    person = _Person([-1] * A, candidates.scale[kind][slot])
    within = _match_radius(person, radius, config)
    person.slot[kind] = slot
    candidates.claimed[kind, slot] = np.inf
    queue = [(-candidates.scores[kind][slot], kind)]
    while queue:
        _, source = heapq.heappop(queue)
        for edge, end in OUT_EDGES[source]:
            if person.slot[end] >= 0:
                continue
            distance = candidates.miss[edge, person.slot[source]] + candidates.claimed[end]
            found = int(distance.argmin())
            if distance[found] <= within:
                person.slot[end] = found
                candidates.claimed[end, found] = np.inf
                heapq.heappush(queue, (-candidates.scores[end][found], end))
    return person


def _match_radius(person: _Person, radius: float, config: GroupConfig) -> float:
    return max(config.match_radius * radius, config.match_scale * person.scale)


def _place(candidates: _Candidates, person: _Person) -> np.ndarray:
    """All anchors (18, 2): claimed peaks, else the mean of what the claimed peaks' anchors say.

    Weights fall with the square of the distance, because the field's error grows with it, and
    where the peak's own place is not where the field says: a hidden keypoint lies on the pixels of
    whoever hides it, and reads that person's anchors.
    """
    slot = np.array(person.slot)
    kinds = np.flatnonzero(slot >= 0)
    own = kinds, slot[kinds]
    guesses = candidates.anchors[own]
    scale = max(person.scale, 4.0)
    near = 0.08 * scale + candidates.away[own]
    astray = candidates.astray[own] / (_ASTRAY * scale)
    trust = candidates.score[own] * (np.exp(-(astray**2) / 2) + 1e-6)  # someone must be believed
    weight = trust[:, None] / near**2
    xy: np.ndarray = (guesses * weight[:, :, None]).sum(axis=0) / weight.sum(axis=0)[:, None]
    xy[kinds] = candidates.xy[own]
    return xy


def _claim_placed(
    candidates: _Candidates, person: _Person, xy: np.ndarray, radius: float, config: GroupConfig
) -> bool:
    """Second chance for anchors that no edge reached: a free peak where the anchor field points."""
    kinds = np.flatnonzero(np.array(person.slot) < 0)
    away = candidates.xy[kinds] - xy[kinds, None]
    distance = np.hypot(away[..., 0], away[..., 1]) + candidates.claimed[kinds]
    near = distance.min(axis=1) <= _match_radius(person, radius, config)
    for kind, found in zip(kinds[near].tolist(), distance[near].argmin(axis=1), strict=True):
        person.slot[kind] = int(found)
        candidates.claimed[kind, found] = np.inf
    return bool(near.any())


def _is_person(candidates: _Candidates, person: _Person, config: GroupConfig) -> bool:
    own = [(kind, slot) for kind, slot in enumerate(person.slot[:K]) if slot >= 0]
    centre = person.slot[CENTRE]
    enough = sum(candidates.counts[kind][slot] for kind, slot in own) >= config.min_keypoints
    return enough or (centre >= 0 and bool(candidates.score[CENTRE, centre] > config.min_centre))


def _poses(
    peaks: Peaks, radius: float, people: list[_Person], placed: list[np.ndarray], duplicate: float
) -> Poses:
    """Columns of the people found, best first."""
    slot = np.array([person.slot for person in people], np.intp).reshape(-1, A)
    xy = np.array(placed, np.float32).reshape(-1, A, 2)
    matched = slot >= 0
    kinds = np.arange(A)
    anchor_score = np.where(matched, peaks.score[kinds, slot], 0)
    vis = np.where(matched, peaks.vis[kinds, slot], 0)
    poses = Poses(
        xy=xy,
        anchor_score=anchor_score.astype(np.float32),
        vis=vis.astype(np.float32),
        matched=matched,
        score=np.zeros(len(people), np.float32),
    )
    poses, _ = rank_poses(poses, anchor_score, radius)
    return poses[suppress_duplicates(poses, duplicate)]


def suppress_duplicates(poses: Poses, duplicate: float) -> np.ndarray:
    """Rows without fragments: a skeleton that lies on a better one is the same person."""
    scale = poses.scale
    apart = length(poses.xy[:, None] - poses.xy) / np.maximum(scale[:, None], scale)[:, :, None]
    alike = np.exp(-(apart**2) / (2 * duplicate**2)).mean(axis=2) > 0.5
    kept: list[int] = []
    for j in range(len(poses)):
        if not alike[j, kept].any():
            kept.append(j)
    return np.array(kept, np.intp)

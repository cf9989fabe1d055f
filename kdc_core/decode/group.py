"""Greedy grouping of peaks into skeletons with a priority queue. After PersonLab §3.2."""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import numpy as np

from kdc_core.config import GroupConfig
from kdc_core.decode.hough import ONE, smooth
from kdc_core.decode.sample import sample
from kdc_core.skeleton import CENTRE, OUT_EDGES, A, K
from kdc_core.types import Peaks, Poses


@dataclass
class _Person:
    """A skeleton while it grows."""

    slot: np.ndarray  # (18,) peak of each anchor, -1 = none yet
    scale: float  # sqrt(area of the keypoints' box), input pixels


def group(
    peaks: Peaks, votes: np.ndarray, radius: float, vote_stride: int, config: GroupConfig
) -> Poses:
    """Skeletons from peaks: seed at the best free peak, follow the edges, place what is missing.

    Every anchor of a kept person is placed: where no peak was claimed, the anchor field as read
    at the person's own peaks tells where it should be.
    """
    free = peaks.score > 0
    people: list[_Person] = []
    placed: list[np.ndarray] = []
    seeds = np.argwhere(peaks.score >= config.seed_score)
    order = np.argsort(-peaks.score[tuple(seeds.T)], kind="stable")
    for kind, slot in seeds[order]:
        if len(people) == config.max_people:
            break
        if not free[kind, slot] or _taken(peaks.xy[kind, slot], kind, people, placed, config):
            continue
        person = _grow(peaks, free, kind, slot, radius, config)
        xy = _place(peaks, person)
        if _claim_placed(peaks, free, person, xy, radius, config):
            xy = _place(peaks, person)
        if _is_person(peaks, person, config):
            people.append(person)
            placed.append(xy)
    return _poses(peaks, votes, vote_stride, radius, people, placed, config.duplicate)


def _taken(
    at: np.ndarray, kind: int, people: list[_Person], placed: list[np.ndarray], config: GroupConfig
) -> bool:
    """Whether the seed lies on the same anchor of a person that is there already."""
    if not people:
        return False
    distance = np.linalg.norm(np.stack(placed)[:, kind] - at, axis=1)
    scale = np.array([person.scale for person in people])
    reach = np.maximum(config.same_place, config.same_place_scale * scale)
    return bool((distance < reach).any())


def _grow(
    peaks: Peaks, free: np.ndarray, kind: int, slot: int, radius: float, config: GroupConfig
) -> _Person:
    """Follow edges from the seed, from the most confident anchor first."""
    points = peaks.anchors[kind, slot, :K]
    scale = float(np.sqrt(np.prod(points.max(axis=0) - points.min(axis=0))))
    person = _Person(np.full(A, -1), scale)
    person.slot[kind] = slot
    free[kind, slot] = False
    queue = [(-peaks.score[kind, slot], kind)]
    while queue:
        _, source = heapq.heappop(queue)
        for i, (_, end) in enumerate(OUT_EDGES[source]):
            if person.slot[end] >= 0:
                continue
            target = peaks.reach[source, person.slot[source], i]
            found = _nearest(peaks, free, end, target, _match_radius(person, radius, config))
            if found >= 0:
                person.slot[end] = found
                free[end, found] = False
                heapq.heappush(queue, (-peaks.score[end, found], end))
    return person


def _nearest(peaks: Peaks, free: np.ndarray, kind: int, at: np.ndarray, within: float) -> int:
    slots = np.flatnonzero(free[kind])
    if not len(slots):
        return -1
    distance = np.hypot(*(peaks.xy[kind, slots] - at).T)
    best = int(distance.argmin())
    return int(slots[best]) if distance[best] <= within else -1


def _match_radius(person: _Person, radius: float, config: GroupConfig) -> float:
    return max(config.match_radius * radius, config.match_scale * person.scale)


def _place(peaks: Peaks, person: _Person) -> np.ndarray:
    """All anchors (18, 2): claimed peaks, else the mean of what the claimed peaks' anchors say.

    Weights fall with the square of the distance, because the field's error grows with it.
    """
    kinds = np.flatnonzero(person.slot >= 0)
    at = peaks.xy[kinds, person.slot[kinds]]
    guesses = peaks.anchors[kinds, person.slot[kinds]]
    distance = np.linalg.norm(guesses - at[:, None], axis=2)
    weight = peaks.score[kinds, person.slot[kinds], None]
    weight = weight / (0.08 * max(person.scale, 4.0) + distance) ** 2
    xy = (guesses * weight[:, :, None]).sum(axis=0) / weight.sum(axis=0)[:, None]
    xy[kinds] = at
    return xy


def _claim_placed(
    peaks: Peaks, free: np.ndarray, person: _Person, xy: np.ndarray, radius: float,
    config: GroupConfig,
) -> bool:  # fmt: skip
    """Second chance for anchors that no edge reached: a free peak where the anchor field points."""
    claimed = False
    for kind in map(int, np.flatnonzero(person.slot < 0)):
        found = _nearest(peaks, free, kind, xy[kind], _match_radius(person, radius, config))
        if found >= 0:
            person.slot[kind] = found
            free[kind, found] = False
            claimed = True
    return claimed


def _is_person(peaks: Peaks, person: _Person, config: GroupConfig) -> bool:
    kinds = np.flatnonzero(person.slot >= 0)
    score = peaks.score[kinds, person.slot[kinds]]
    enough = np.count_nonzero(score[kinds < K] > config.min_disk) >= config.min_keypoints
    return bool(enough) or bool((score[kinds == CENTRE] > config.min_centre).any())


def _poses(
    peaks: Peaks, votes: np.ndarray, vote_stride: int, radius: float, people: list[_Person],
    placed: list[np.ndarray], duplicate: float,
) -> Poses:  # fmt: skip
    """Columns of the people found, best first."""
    slot = np.array([person.slot for person in people], np.intp).reshape(-1, A)
    xy = np.array(placed, np.float32).reshape(-1, A, 2)
    matched = slot >= 0
    kinds = np.arange(A)
    disk = np.where(matched, peaks.score[kinds, slot], _votes_at(votes, xy, vote_stride))
    vis = np.where(matched, peaks.vis[kinds, slot], 0)
    poses = Poses(
        xy=xy,
        disk=disk.astype(np.float32),
        vis=vis.astype(np.float32),
        matched=matched,
        score=instance_scores(xy, disk, radius),
    )
    poses = poses[np.argsort(-poses.score, kind="stable")]
    return poses[distinct(poses, duplicate)]


def distinct(poses: Poses, duplicate: float) -> np.ndarray:
    """Rows without fragments: a skeleton that lies on a better one is the same person."""
    kept: list[int] = []
    scale = poses.scale
    for j in range(len(poses)):
        apart = np.linalg.norm(poses.xy[kept] - poses.xy[j], axis=2)
        apart = apart / np.maximum(scale[kept], scale[j])[:, None]
        alike = np.exp(-(apart**2) / (2 * duplicate**2)).mean(axis=1)
        if not (alike > 0.5).any():
            kept.append(j)
    return np.array(kept, np.intp)


def _votes_at(votes: np.ndarray, xy: np.ndarray, vote_stride: int) -> np.ndarray:
    """Share of a disk that votes for each placed anchor (P, 18)."""
    if not len(xy):
        return np.zeros((0, A), np.float32)
    heights = smooth(votes)
    read = [sample(heights[kind], xy[:, kind], vote_stride) for kind in range(A)]
    return np.minimum(np.stack(read, axis=1) / np.float32(ONE), 1)


def instance_scores(xy: np.ndarray, disk: np.ndarray, radius: float) -> np.ndarray:
    """Share of the votes a skeleton may have that it has, (P,).

    PersonLab's soft NMS: a keypoint counts only for the best person within R / 3 of its place.
    """
    first = np.argsort(-disk[:, :K].sum(axis=1), kind="stable")
    score = np.zeros(len(xy), np.float32)
    for rank, person in enumerate(first):
        distance = np.linalg.norm(xy[first[:rank], :K] - xy[person, :K], axis=2)
        unclaimed = ~(distance < radius / 3).any(axis=0)
        score[person] = (disk[person, :K] * unclaimed).sum() / K
    return score

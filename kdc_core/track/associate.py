"""Associate poses with tracks, from the most certain tracks to the least."""

from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment

from kdc_core.skeleton import K
from kdc_core.track.costs import match_costs, oks, revival_costs
from kdc_core.track.observation import Observation
from kdc_core.track.step import Step
from kdc_core.track.tracks import Tracks
from kdc_core.types import Phase

FORBIDDEN = 1e6  # in place of infinity, which the solver does not accept


def associate(tracks: Tracks, seen: Observation, step: Step) -> tuple[np.ndarray, np.ndarray]:
    """Return the pose of each track (T,), -1 = none, and which tracks are kept (T,) bool.

    Confirmed and occluded tracks choose first, then tentative ones, then lost ones. A lost track
    may take the pose of a track that has no id yet; that track is not kept.
    """
    config, lifecycle = step.config.association, step.config.lifecycle
    strong = seen.strength >= config.strong  # duplicates as well: they may be a person behind
    cost = match_costs(tracks, seen, step)
    pose_of = np.full(len(tracks), -1)
    free = np.ones(len(seen), bool)

    def match(which: np.ndarray, poses: np.ndarray, cost: np.ndarray, limit: float) -> None:
        mine, theirs = np.flatnonzero(which & (pose_of < 0)), np.flatnonzero(poses & free)
        if len(mine) and len(theirs):
            rows, columns = solve(cost[np.ix_(mine, theirs)], limit)
            pose_of[mine[rows]] = theirs[columns]
            free[theirs[columns]] = False

    present = (tracks.phase == Phase.CONFIRMED) | (tracks.phase == Phase.OCCLUDED)
    match(present, strong, cost, config.max_cost)
    match(present, ~strong, cost, config.max_cost_weak)
    match(tracks.phase == Phase.TENTATIVE, strong, cost, config.max_cost)
    kept = np.ones(len(tracks), bool)
    hidden = (tracks.phase == Phase.OCCLUDED) & (step.stamp - tracks.seen > lifecycle.revive_after)
    lost = (hidden | (tracks.phase == Phase.LOST)) & (pose_of < 0)
    if lost.any():
        # a new person who has no id yet may turn out to be one who was lost
        unnamed = np.flatnonzero((tracks.id == 0) & (pose_of >= 0))
        free[pose_of[unnamed]] = True
        revival = np.full(cost.shape, np.inf)
        revival[lost] = revival_costs(tracks[lost], seen, step)
        match(lost, strong, revival, FORBIDDEN / 2)
        kept[unnamed] = free[pose_of[unnamed]]
        pose_of[unnamed[~kept[unnamed]]] = -1
        free[pose_of[unnamed[kept[unnamed]]]] = False
    return pose_of, kept


def solve(cost: np.ndarray, limit: float) -> tuple[np.ndarray, np.ndarray]:
    """Return rows and columns of the cheapest one-to-one pairs; none costs more than ``limit``."""
    rows, columns = linear_sum_assignment(np.minimum(cost, FORBIDDEN))
    good = cost[rows, columns] <= limit
    return rows[good], columns[good]


def find_duplicates(
    tracks: Tracks, seen: Observation, free: np.ndarray, matched: np.ndarray, min_oks: float
) -> np.ndarray:
    """Return which ``free`` poses are a second pose, or a fragment, of a tracked person.

    A second pose lies on a matched one as a whole. A fragment has few confident keypoints, which
    lie on those of a track; the others may be anywhere.

    Args:
        tracks: T tracks.
        seen: poses of the frame.
        free: rows of poses without a track.
        matched: rows of poses that have a track.
        min_oks: similarity above which two poses are one person.
    """
    xy, scale = seen.poses.xy[:, :K], seen.centroids.scale
    # half the scale gives COCO's own κ, because nothing has moved
    second = oks(
        xy[matched],
        np.zeros((len(matched), K)),
        scale[matched, None] / 2,
        xy[free],
        np.ones((len(free), K)),
    )
    fragment = oks(
        tracks.motion.xy[:, :K],
        np.zeros((len(tracks), K)),
        tracks.body.scale[:, None] / 2,
        xy[free],
        seen.centroids.confidence[free, :K],
    )
    alike = np.concatenate([second, np.nan_to_num(fragment)])
    duplicate: np.ndarray = alike.max(axis=0, initial=0) > min_oks
    return duplicate

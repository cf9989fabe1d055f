"""Who is who: cost of every track with every pose, gates, and the best one-to-one pairing."""

from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment

from kdc_core.geometry import length
from kdc_core.skeleton import OKS_SIGMAS, K
from kdc_core.track import appearance
from kdc_core.track.body import SURE, middle, unlike, whole
from kdc_core.track.kalman import BODY
from kdc_core.track.observation import Cells, Seen
from kdc_core.track.track_config import TrackConfig
from kdc_core.track.tracks import Tracks

#: of skeleton, pixels and colours in the cost; renormalised over those that are known
SHARES = np.array([0.45, 0.25, 0.6])[:, None, None]
TOLERANCE = (4 * OKS_SIGMAS) ** 2  # twice COCO's κ: people move between frames
STRANGER = 0.5  # distance of colours that are not known
FORBIDDEN = 1e6  # in place of infinity, which the solver refuses
BARE_REACH = 1.5  # scales: without keypoints only the place tells who came back
AWAY = 0.15  # extra cost of a track that is hidden: the visible neighbour comes first


def pair(cost: np.ndarray, limit: float) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the cheapest one-to-one pairing; pairs above ``limit`` are dropped."""
    rows, columns = linear_sum_assignment(np.minimum(cost, FORBIDDEN))
    good = cost[rows, columns] <= limit
    return rows[good], columns[good]


def costs(tracks: Tracks, seen: Seen, dt: float, stamp: float, config: TrackConfig) -> np.ndarray:
    """Cost (T, P) in 0…1 of each pair, inf where the gates say no."""
    scale = _scale(tracks, seen)
    similar = oks(tracks.motion.xy[:, :K], tracks.motion.variance[:, :K, 0], scale,
                  seen.poses.xy[:, :K], seen.centroids.confidence[:, :K])  # fmt: skip
    overlap = mask_iou(tracks, seen.cells, len(seen))
    terms = np.stack([1 - similar, 1 - overlap, appearance.unlike(tracks.look, seen.look)])
    known = ~np.isnan(terms)
    share = SHARES * known
    total = share.sum(axis=0)
    cost = (np.where(known, terms, 0) * share).sum(axis=0) / np.maximum(total, 1e-9)
    away = 1 - np.exp(-(stamp - tracks.seen) / 0.3)
    cost = cost + AWAY * np.where(stamp - tracks.seen > 1.5 * dt, away, 0)[:, None]
    reach = (config.reach + config.speed * dt) * scale
    reach = reach + 3 * np.sqrt(tracks.motion.variance[:, BODY, 0])[:, None]
    allowed = _distance(middle(tracks.motion.xy), seen.middle) <= reach
    allowed &= _same_size(tracks, seen, config.scale_ratio) & (share[:2].sum(axis=0) > 0)
    return np.where(allowed, cost, np.inf)


def oks(
    track_xy: np.ndarray, variance: np.ndarray, scale: np.ndarray, xy: np.ndarray,
    confidence: np.ndarray,
) -> np.ndarray:  # fmt: skip
    """Object keypoint similarity (T, P) over the keypoints that each pose sees; nan below three.

    ``scale`` is (T, P). The filters' own variance (T, 17) softens it: long-unseen joints may be
    further off.
    """
    away = track_xy[:, None] - xy
    square = away[..., 0] ** 2 + away[..., 1] ** 2
    spread = scale[:, :, None] ** 2 * TOLERANCE + variance[:, None]
    near = np.exp(-square / (2 * spread))
    used = confidence > SURE
    count = used.sum(axis=1)
    mean = (near * used).sum(axis=2) / np.maximum(count, 1)
    return np.where(count >= 3, mean, np.nan)


def mask_iou(tracks: Tracks, cells: Cells, poses: int) -> np.ndarray:
    """IoU (T, P) of each track's last cells, moved with the body, and each pose's cells.

    nan for tracks that have no cells.
    """
    height, width = cells.shape
    owner = np.full(height * width, -1)
    owner[cells.at] = cells.owner
    size = np.bincount(cells.owner + 1, minlength=poses + 1)[1:]
    counts = np.array([len(own) for own in tracks.cells], np.intp)
    row = np.repeat(np.arange(len(tracks)), counts)
    moved = tracks.motion.xy[:, BODY] - tracks.cells_at
    step = np.rint(moved / cells.stride).astype(np.intp)[row]
    at = np.concatenate([*tracks.cells, np.zeros(0, np.intp)]).astype(np.intp)
    x, y = at % width + step[:, 0], at // width + step[:, 1]
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    hit = owner[y[inside] * width + x[inside]]
    index = row[inside] * (poses + 1) + hit + 1
    common = np.bincount(index, minlength=len(tracks) * (poses + 1))
    common = common.reshape(len(tracks), poses + 1)[:, 1:]
    union = counts[:, None] + size[None] - common
    return np.where(counts[:, None] > 0, common / np.maximum(union, 1), np.nan)


def revival_costs(tracks: Tracks, seen: Seen, stamp: float, config: TrackConfig) -> np.ndarray:
    """Cost (T, P) of LOST tracks coming back as a pose; inf where nobody could have got there.

    The gate is reach, never overlap: a person may come back anywhere that a walk leads to.
    """
    age = (stamp - tracks.seen)[:, None]
    scale = tracks.body.scale[:, None]
    predicted = _distance(middle(tracks.motion.xy), seen.middle)
    nearest = np.minimum(predicted, _distance(tracks.seen_at, seen.middle))
    strange = unlike(tracks.body, seen.poses.xy, seen.centroids.confidence)
    allowed = nearest <= config.reach * scale + config.speed * scale * age
    resize = abs(np.log(seen.centroids.scale[None] / scale))
    allowed &= _same_size(tracks, seen, config.revival_ratio)
    allowed &= resize <= np.log(config.partial_ratio)
    allowed &= strange <= config.proportions
    allowed &= ~seen.bare | (nearest <= BARE_REACH * scale)
    other = np.nan_to_num(appearance.unlike(tracks.look, seen.look), nan=STRANGER)
    spread = 0.5 * scale + np.sqrt(tracks.motion.variance[:, BODY, 0])[:, None]
    return np.where(allowed, predicted / spread + strange + resize + other, np.inf)


def common_shift(tracks: Tracks, seen: Seen) -> np.ndarray:
    """Displacement (2,) that all visible people share beyond their own motion: the camera's.

    Looks further only where the predictions fail, and believes it only if one more person than
    without it is explained, and at least two are.
    """
    still = np.zeros(2)
    predicted, scale = middle(tracks.motion.xy), tracks.body.scale
    if len(tracks) < 2 or len(seen) < 2:
        return still
    away = seen.middle[None] - predicted[:, None]  # (T, P, 2)
    sizes = abs(np.log(seen.centroids.scale[None] / scale[:, None])) < np.log(1.4)

    def explained(by: np.ndarray) -> np.ndarray:
        miss = length(away - by[:, None, None]) / scale[:, None]
        return np.where(sizes, np.exp(-(miss**2) / (2 * 0.2**2)), 0).max(axis=2)  # (C, T)

    now = explained(still[None])[0]
    if now.mean() > 0.6:
        return still
    largest = np.argsort(-scale, kind="stable")[:6]
    guesses = away[largest].reshape(-1, 2)
    fit = explained(guesses)
    best = int(fit.sum(axis=1).argmax())
    if fit[best].sum() < now.sum() + 0.75 or np.count_nonzero(fit[best] > 0.5) < 2:
        return still
    good = fit[best] > 0.5
    rest = np.where(sizes, length(away - guesses[best]), np.inf)[good]
    shift: np.ndarray = np.median(away[good, rest.argmin(axis=1)], axis=0)
    return shift


def doubles(
    tracks: Tracks, seen: Seen, free: np.ndarray, taken: np.ndarray, limit: float
) -> np.ndarray:
    """Which of the ``free`` poses are a second pose, or a fragment, of somebody who is known.

    A second pose lies on a ``taken`` one as a whole. A fragment has few sure keypoints, and they
    lie on those of a track; the rest of it may be anywhere.
    """
    xy, scale = seen.poses.xy[:, :K], seen.centroids.scale
    # half the scale: COCO's own κ, for here nobody has moved
    second = oks(xy[taken], np.zeros((len(taken), K)), scale[taken, None] / 2, xy[free],
                 np.ones((len(free), K)))  # fmt: skip
    sure = seen.centroids.confidence[free, :K]
    fragment = oks(tracks.motion.xy[:, :K], np.zeros((len(tracks), K)),
                   tracks.body.scale[:, None] / 2, xy[free], sure)  # fmt: skip
    alike = np.concatenate([second, np.nan_to_num(fragment)])
    most: np.ndarray = alike.max(axis=0, initial=0) > limit
    return most


def _distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return length(a[:, None] - b)


def _scale(tracks: Tracks, seen: Seen) -> np.ndarray:
    """Scale of each pair (T, P): the track's, or the larger while it never was seen whole."""
    mine = tracks.body.scale[:, None]
    return np.where(tracks.body.sized[:, None], mine, np.maximum(mine, seen.centroids.scale))


def _same_size(tracks: Tracks, seen: Seen, most: float) -> np.ndarray:
    """Whether scales agree (T, P), with the average or with the last pose: people come closer.

    What is seen in part may have any scale.
    """
    known = np.stack([tracks.body.scale, tracks.size])[:, :, None]
    ratio = abs(np.log(seen.centroids.scale / known)).min(axis=0)
    unknown = ~tracks.body.sized[:, None] | ~whole(seen.centroids.confidence)
    return unknown | (ratio <= np.log(most))

"""Choose the anchors that attract a person's pixels: static, dynamic, weighted (paper §III-B)."""

from __future__ import annotations

import math

import numpy as np

from kdc_core.config import CentroidConfig, CentroidMode
from kdc_core.decode.sample import PERSON, person_share, sample
from kdc_core.letterbox import cell_centres, to_grid
from kdc_core.skeleton import CENTRE, A, K
from kdc_core.types import Centroids, Fields, Poses

#: weight of the CENTRE relative to a keypoint. It is more than one, because ``assign`` weights
#: anchors by the inverse square of their distance, and few pixels are near the CENTRE. 4 to 16 are
#: equally good on images of the tuning split, 8 to 16 on its tracked clips
SEEN_CENTRE = 16.0
LOST_CENTRE = 0.7  # … if no keypoint is confident
#: σ is the mean over the matched anchors with a score above SURE_SCORE, if there are MIN_SURE
SURE_SCORE, MIN_SURE = 0.3, 3


def select(fields: Fields, poses: Poses, config: CentroidConfig) -> Centroids:
    """Return the centroids of all people in one frame, without knowledge of other frames.

    Args:
        fields: network output of the frame.
        poses: P poses.
        config: mode and thresholds.
    """
    scale, sigma = person_size(fields, poses, config)
    confidence = anchor_confidence(fields, poses, sigma)
    weight, primary = anchor_weights(confidence, poses, config)
    return Centroids(
        xy=poses.xy, weight=weight, confidence=confidence, sigma=sigma, scale=scale, primary=primary
    )


def person_size(
    fields: Fields, poses: Poses, config: CentroidConfig
) -> tuple[np.ndarray, np.ndarray]:
    """Return s_j and σ_j of eq. 3, both (P,) in input pixels.

    The network predicts σ; it is read at the person's confident anchors. A person without any
    keypoint has no box that tells its size, so s_j is derived from σ_j.
    """
    scale = poses.scale
    if not len(poses):
        return scale, scale
    read = sample(fields.log_sigma, poses.xy.reshape(-1, 2), fields.stride).reshape(-1, A)
    centre_only = np.logical_not(poses.matched[:, :K].any(axis=1))
    sure = poses.matched & ((poses.anchor_score > SURE_SCORE) | centre_only[:, None])
    count = sure.sum(axis=1)
    mean = (read * sure).sum(axis=1) / np.maximum(count, 1)
    sigma = fields.radius * np.exp(mean)
    scale = np.where(centre_only, sigma / config.sigma_fallback, scale)
    sigma = np.where((count >= MIN_SURE) | centre_only, sigma, config.sigma_fallback * scale)
    low, high = config.sigma_range
    return scale.astype(np.float32), np.clip(sigma, low * scale, high * scale).astype(np.float32)


def anchor_confidence(fields: Fields, poses: Poses, sigma: np.ndarray) -> np.ndarray:
    """Return c_k (P, 18): geometric mean of score, visibility and stability of the anchors.

    This is the paper's "confident score using the keypoint disk and the visible stability of
    keypoints". Stability is low for a keypoint that was placed on another person. The CENTRE has
    no visibility.
    """
    product = poses.anchor_score * _stability(fields, poses, sigma)
    keypoints = np.cbrt(product[:, :K] * poses.vis[:, :K])
    return np.concatenate([keypoints, np.sqrt(product[:, K:])], axis=1).astype(np.float32)


def _stability(fields: Fields, poses: Poses, sigma: np.ndarray) -> np.ndarray:
    """Return how well the person's pixels around each anchor point back at it, (P, 18).

    The value is the mean of exp(−‖e_k − y_k‖² / 2(σ/2)²) over the foreground cells of the disk.
    """
    height, width = fields.log_sigma.shape
    person = person_share(fields) > PERSON
    reach = math.ceil(fields.radius / fields.stride)
    window = np.arange(-reach, reach + 1)
    middle = np.rint(to_grid(poses.xy, fields.stride)).astype(np.intp)  # (P, 18, 2)
    columns = middle[..., 0, None, None] + window  # (P, 18, 1, n)
    rows = middle[..., 1, None, None] + window[:, None]  # (P, 18, n, 1)
    inside = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
    rows, columns = rows.clip(0, height - 1), columns.clip(0, width - 1)
    centres = cell_centres(height, width, fields.stride)
    x, y = centres[0, columns, 0], centres[rows, 0, 1]
    own_x, own_y = (poses.xy[..., axis, None, None] for axis in (0, 1))
    near = (x - own_x) ** 2 + (y - own_y) ** 2 <= fields.radius**2
    kinds = np.arange(A)[None, :, None, None]
    to_x, to_y = (fields.radius * fields.anchor[kinds, axis, rows, columns] for axis in (0, 1))
    miss = (x + to_x - own_x) ** 2 + (y + to_y - own_y) ** 2
    points_back = np.exp(-miss / (2 * (sigma[:, None, None, None] / 2) ** 2))
    used = inside & near & person[rows, columns]
    return (points_back * used).sum((2, 3)) / np.maximum(used.sum((2, 3)), 1)


def anchor_weights(
    confidence: np.ndarray, poses: Poses, config: CentroidConfig
) -> tuple[np.ndarray, np.ndarray]:
    """Return the weights ω (P, 18) and the primary anchor (P,) of each person.

    Args:
        confidence: c_k (P, 18).
        poses: P poses, same rows.
        config: mode and gate.
    """
    soft = confidence.copy()
    soft[:, CENTRE] = 0  # the dynamic centroid is a keypoint
    primary = np.where(soft.max(axis=1, initial=0) > 0, soft.argmax(axis=1), CENTRE)
    rows = np.arange(len(poses))
    weight = np.zeros_like(confidence)
    if config.mode == CentroidMode.STATIC:
        primary[:] = CENTRE
        weight[:, CENTRE] = 1
    elif config.mode == CentroidMode.SINGLE:
        weight[rows, primary] = 1
    elif config.mode == CentroidMode.ALL:
        weight[:, :K] = poses.anchor_score[:, :K] + 1e-3
    else:
        value = confidence[:, :K]
        weight = weigh_anchors(value, value >= config.gate, confidence[:, CENTRE])
        centre_only = np.logical_not(poses.matched[:, :K].any(axis=1))
        weight[centre_only] = np.eye(A, dtype=weight.dtype)[CENTRE]
        primary = np.where(centre_only, CENTRE, primary)
    return weight, primary


def weigh_anchors(value: np.ndarray, confident: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """Return ω (P, 18): confident keypoints by their value, the CENTRE by its confidence.

    Near keypoints tell to which limb a pixel belongs, the CENTRE to which body. If no keypoint is
    confident, all of them count.

    Args:
        value: (P, 17) confidence or visibility.
        confident: (P, 17) bool, which keypoints are confident.
        centre: (P,) confidence of the CENTRE.
    """
    lost = ~confident.any(axis=1, keepdims=True)
    keypoints = np.where(confident | lost, value, 0)
    body = np.where(lost, LOST_CENTRE, SEEN_CENTRE * centre[:, None])
    return np.concatenate([keypoints, body], axis=1).astype(value.dtype)

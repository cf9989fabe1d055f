"""Membership φ of a cell in a person (eq. 3 of the paper), from the offsets read at the cell."""

from __future__ import annotations

import numpy as np

from kdc_core.config import AssignConfig

#: of the person's scale: softens the inverse-distance weight of an anchor that is close by
NEAR = AssignConfig.near


def inverse_square_weights(
    weight: np.ndarray | float, offset: np.ndarray, scale: np.ndarray | float, near: float = NEAR
) -> np.ndarray:
    """Return ``weight`` / (``near`` · ``scale`` + ``offset``)².

    Near anchors are predicted better than far ones: the error of an offset grows with its length.

    Args:
        weight: weights of the anchors, broadcast against ``offset``.
        offset: lengths ‖u‖ of the predicted offsets, input pixels.
        scale: s of the person, input pixels.
        near: of ``scale``, softens the weight where the offset is short.
    """
    soft = near * scale + offset
    weights: np.ndarray = weight / (soft * soft)
    return weights


def mean_distance(distance: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return the weighted mean (..., N) over the anchors of ``distance`` (..., A, N).

    Args:
        distance: ‖x + u_k − C_k‖ of N cells to A anchors, input pixels.
        weight: (..., A, N), see ``inverse_square_weights``.
    """
    return _sum_anchors(weight * distance) / _sum_anchors(weight)


def phi(distance: np.ndarray, sigma: np.ndarray) -> np.ndarray:
    """Return φ = exp(−distance² / 2σ²), between 0 and 1.

    float32 distances use ``decay``, so that CPU and GPU agree bit for bit.

    Args:
        distance: distance of cells to a person's anchors, input pixels.
        sigma: σ of the person, input pixels, broadcast against ``distance``.
    """
    double: np.ndarray = distance.dtype.type(2) * sigma * sigma
    exponent = distance * distance / double
    return decay(exponent) if distance.dtype == np.float32 else np.exp(-exponent)


def decay(t: np.ndarray) -> np.ndarray:
    """Return exp(−t) of t ≥ 0 in float32, within 2e-7 of its value.

    The math libraries of CPU and GPU round differently. With the same few multiplications and
    additions on both sides, φ and the labels are equal bit for bit.
    """
    t = np.minimum(t.astype(np.float32), np.float32(80))
    halvings = np.rint(t * np.float32(1.44269504))
    s = halvings * np.float32(0.693359375) - t  # ln 2 in two parts, the first exact in 12 bits
    s = s + halvings * np.float32(-2.12194440e-4)
    power = np.float32(1 / 720)
    for coefficient in (1 / 120, 1 / 24, 1 / 6, 1 / 2, 1.0, 1.0):
        power = power * s + np.float32(coefficient)
    return power * ((127 - halvings.astype(np.int32)) << 23).view(np.float32)


def _sum_anchors(terms: np.ndarray) -> np.ndarray:
    """Return the sum over the last axis but one, first row first.

    ``np.sum`` chooses the order by the memory layout; the CUDA kernel adds in this order.
    """
    total: np.ndarray = terms[..., 0, :].copy()
    for row in range(1, terms.shape[-2]):
        total += terms[..., row, :]
    return total

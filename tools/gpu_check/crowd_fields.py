"""Synthetic fields for checking and timing the kernels: crowds with noise, and pure noise."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from kdc_core.config import ModelInfo
from kdc_core.letterbox import Letterbox, cell_centres
from kdc_core.skeleton import CENTRE, CHANNELS, DIRECTED, HEADS, A, K
from kdc_core.types import Fields, Poses
from kdc_lab.synth import HIP_CENTRE, STANDING

#: (18, 2) anchors of a standing person, relative to its CENTRE, in units of its height
_STANDING = np.concatenate([STANDING, [HIP_CENTRE]]) - HIP_CENTRE


def crowd(
    people: int,
    rng: np.random.Generator,
    size: tuple[int, int] = (640, 480),
    longest: int = 640,
    stride: int = 8,
    seg_stride: int = 2,
    radius: float = 16.0,
    noise: float = 0.05,
) -> tuple[Fields, Poses]:
    """Return fields and true poses of standing people at random positions.

    Later people are in front of earlier ones.

    Args:
        people: number of people.
        rng: random numbers.
        size: (width, height) of the frame, pixels.
        longest: longest side of the network's input, pixels.
        stride: input pixels per cell of the offset fields.
        seg_stride: input pixels per cell of the mask.
        radius: R, input pixels.
        noise: standard deviation of the noise on all fields but the mask.
    """
    letterbox = Letterbox.fit(size, longest, ModelInfo().multiple)
    width, height = letterbox.input_size
    tall = height * rng.uniform(0.25, 0.9, people) / max(1.0, people / 8) ** 0.5
    middle = rng.uniform(0.1, 0.9, (people, 2)) * letterbox.inner_size
    xy = (middle[:, None] + tall[:, None, None] * _STANDING).astype(np.float32)
    cells = cell_centres(height // stride, width // stride, stride)
    owner = _owner(cells, middle, tall)
    fields = _fields(cells, owner, xy, tall, radius)
    fields += noise * rng.standard_normal(fields.shape, np.float32)
    fields[: HEADS[0].channels] = fields[: HEADS[0].channels].clip(0, 1)
    fine = _owner(cell_centres(height // seg_stride, width // seg_stride, seg_stride), middle, tall)
    seg = ((fine >= 0) * 0.9 + rng.uniform(0, 0.1, fine.shape)).astype(np.float32)
    confident = rng.uniform(0.2, 1, (2, people, A)).astype(np.float32)
    poses = Poses(
        xy=xy,
        anchor_score=confident[0],
        vis=confident[1],
        matched=np.ones((people, A), bool),
        score=np.ones(people, np.float32),
    )
    return Fields.from_tensors(fields[None], seg[None, None], radius, letterbox), poses


def noise_fields(
    people: int,
    rng: np.random.Generator,
    size: tuple[int, int],
    longest: int,
    stride: int = 8,
    seg_stride: int = 2,
    radius: float = 16.0,
) -> tuple[Fields, Poses]:
    """Return noise in every field, and random poses; offsets often point outside the frame."""
    fields, poses = crowd(people, rng, size, longest, stride, seg_stride, radius, noise=3.0)
    blank = rng.uniform(0, 1, fields.seg.shape) < 0.3
    return replace(fields, seg=np.where(blank, 0, fields.seg).astype(np.float32)), poses


def _owner(cells: np.ndarray, middle: np.ndarray, tall: np.ndarray) -> np.ndarray:
    """Return the index of the front person at each cell, −1 for background; bodies are ellipses."""
    owner = np.full(cells.shape[:2], -1)
    for j in range(len(tall)):
        off = (cells - middle[j]) / (tall[j] * np.array([0.2, 0.5]))
        owner[(off**2).sum(-1) < 1] = j
    return owner


def _fields(
    cells: np.ndarray, owner: np.ndarray, xy: np.ndarray, tall: np.ndarray, radius: float
) -> np.ndarray:
    """Return all heads (188, h, w) without noise."""
    shape = owner.shape
    kinds = np.arange(A)[:, None, None]
    if not len(tall):
        return np.zeros((CHANNELS, *shape), np.float32)
    gap = np.linalg.norm(xy[:, :, None, None] - cells, axis=-1)  # (P, 18, h, w)
    closest = gap.argmin(axis=0)  # (18, h, w)
    heat = gap.min(axis=0) <= radius
    short = np.moveaxis(xy[closest, kinds] - cells, -1, 1)
    mid = [np.moveaxis(xy[closest[a], b] - cells, -1, 0) for a, b in DIRECTED]
    at = np.where(owner >= 0, owner, gap[:, CENTRE].argmin(axis=0))
    anchor = np.moveaxis(xy[at] - cells[:, :, None], (2, 3), (0, 1))
    heads = [
        heat,
        short.reshape(-1, *shape) / radius,
        np.stack(mid).reshape(-1, *shape) / radius,
        anchor.reshape(-1, *shape) / radius,
        np.log(0.2 * tall[at] / radius)[None],
        0.9 * heat[:K],
    ]
    return np.concatenate(heads).astype(np.float32)

"""Small observations and tracks for unit tests: standing stick figures, no network, no clip."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from kdc_core.config import CentroidMode
from kdc_core.geometry import length
from kdc_core.letterbox import Letterbox, cell_centres
from kdc_core.skeleton import CENTRE, DIRECTED, A, K
from kdc_core.track import TrackConfig
from kdc_core.track.appearance import unknown_descriptors
from kdc_core.track.observation import Cells, Observation
from kdc_core.track.step import Step
from kdc_core.track.tracks import Tracks
from kdc_core.track.update import spawn
from kdc_core.types import Centroids, Fields, Phase, Poses
from kdc_lab.synth import STANDING

GRID = (30, 40)  # cells of 8 pixels: an image of 320 x 240
STRIDE = 8
SIZE = (320, 240)


def step(
    stamp: float = 0.1, dt: float = 0.1, config: TrackConfig | None = None,
    mode: CentroidMode = CentroidMode.WEIGHTED,
) -> Step:  # fmt: skip
    """An update of an image of 320 x 240 pixels, R = 16."""
    return Step(stamp, dt, config or TrackConfig(), mode, 16.0, SIZE)


def observation(*people: tuple[float, float], tall: float = 120.0) -> Observation:
    """Whole, confident poses of people who stand with their feet at (x, y)."""
    shape = np.concatenate([STANDING, STANDING.mean(axis=0, keepdims=True)])
    feet = np.array(people, np.float32).reshape(-1, 1, 2)
    xy = (feet + tall * shape).astype(np.float32)
    count = len(xy)
    full = lambda value: np.full((count, A), value, np.float32)  # noqa: E731
    poses = Poses(xy, full(0.9), full(0.9), full(1).astype(bool), np.full(count, 0.9, np.float32))
    confidence = full(0.8)
    scale = poses.scale
    centroids = Centroids(xy, confidence, confidence, 0.2 * scale, scale, np.full(count, 0))
    position = xy[:, :K].mean(axis=1)
    xy_cells = cell_centres(*GRID, STRIDE).reshape(-1, 2).T
    away = length(xy_cells.T - xy[:, CENTRE][:, None]) / np.maximum(scale[:, None], 1)
    owner = np.where(away.min(axis=0, initial=9) < 0.6, away.argmin(axis=0) if count else 0, -1)
    at = np.flatnonzero(owner >= 0)
    cells = Cells(at, xy_cells[:, at], owner[at], GRID, STRIDE)
    none = np.zeros(count, bool)
    return Observation(
        poses, centroids, np.full(count, 0.8), none, none, position, cells,
        unknown_descriptors(count),
    )  # fmt: skip


def tracks(poses: Observation, /, **columns: object) -> Tracks:
    """Confirmed tracks with ids 1, 2, … on all poses at time 0; ``columns`` replace some."""
    made = spawn(poses, np.arange(len(poses)), Phase.CONFIRMED, step(0.0, 0.0))
    made = replace(made, id=np.arange(1, len(poses) + 1))
    arrays = {name: np.broadcast_to(np.asarray(v), np.shape(getattr(made, name))).copy()
              for name, v in columns.items()}  # fmt: skip
    return replace(made, **arrays)


def pointing(seen, target=None, sigma=0.2) -> Fields:
    """Fields of an image in which the cells of each pose point exactly at its anchors.

    ``target`` (P, 18, 2) replaces the anchors.
    """
    h, w = GRID
    anchor = np.full((A, 2, h * w), 50.0, np.float32)  # points nowhere
    xy = seen.poses.xy if target is None else target
    for pose in range(len(seen)):
        at = seen.cells.at[seen.cells.owner == pose]
        where = seen.cells.xy[:, seen.cells.owner == pose]
        anchor[:, :, at] = (xy[pose, :, :, None] - where) / 16
    seg = np.zeros(h * w, np.float32)
    seg[seen.cells.at] = 1
    seg = np.kron(seg.reshape(h, w), np.ones((4, 4), np.float32))
    zeros = lambda *shape: np.zeros(shape, np.float32)  # noqa: E731
    return Fields(
        heat=zeros(A, h, w), short=zeros(A, 2, h, w), mid=zeros(len(DIRECTED), 2, h, w),
        anchor=anchor.reshape(A, 2, h, w), log_sigma=zeros(h, w), vis=zeros(K, h, w), seg=seg,
        stride=STRIDE, seg_stride=2, radius=16.0, letterbox=Letterbox.fit(SIZE, 320, 16),
    )  # fmt: skip

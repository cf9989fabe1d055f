"""Host side of kernels.cu: launch the kernels over buffers that are allocated once.

This code talks to the GPU through a ``Driver``. ``device.PycudaDriver`` is the real one; the tests
run the same code over an emulator.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from kdc_core.config import AssignConfig, CentroidConfig, CentroidMode, GroupConfig, HoughConfig
from kdc_core.cuda.driver import Driver
from kdc_core.decode import ONE, SHARP, FrameGrid
from kdc_core.errors import InputError
from kdc_core.letterbox import PAD_VALUE, Letterbox
from kdc_core.skeleton import CHANNELS, HEADS, MAX_DEGREE, A
from kdc_core.types import Centroids, Fields, InstanceMap, Peaks, Poses

#: limits of the kernels: people per frame, peaks per anchor type
MAX_PEOPLE, MAX_PEAKS = 64, 64
TILE = (32, 8)  # threads in x and y of a block that works on an image


@dataclass(frozen=True)
class Layout:
    """Sizes for which buffers are allocated: one frame size, one network, one vote grid."""

    letterbox: Letterbox
    stride: int  # input pixels per cell
    seg_stride: int
    radius: float  # R, input pixels
    hough: HoughConfig

    def __post_init__(self) -> None:
        if not 1 <= self.hough.max_peaks <= MAX_PEAKS:
            raise InputError(
                f"max_peaks: the GPU decoder supports 1 to {MAX_PEAKS}, "
                f"got {self.hough.max_peaks}; lower max_peaks or use the CPU decoder"
            )

    @classmethod
    def of(cls, fields: Fields, hough: HoughConfig) -> Layout:
        """Return the layout of a frame's fields."""
        return cls(fields.letterbox, fields.stride, fields.seg_stride, fields.radius, hough)

    def grid(self, stride: int) -> tuple[int, int]:
        """Return (rows, columns) of a grid of ``stride`` over the network's input."""
        width, height = self.letterbox.input_size
        return height // stride, width // stride


@dataclass(frozen=True)
class AnchorReadings:
    """Measurements of votes and fields at the anchors of P people."""

    anchor_score: np.ndarray  # (P, 18) float64: share of the disk that votes here, 0…1
    sigma: np.ndarray  # (P,) input pixels
    scale: np.ndarray  # (P,) s_j, input pixels
    confidence: np.ndarray  # (P, 18) c_k

    def __getitem__(self, index: np.ndarray) -> AnchorReadings:
        return AnchorReadings(*(getattr(self, name)[index] for name in self.__dataclass_fields__))


class Kernels:
    """The decoder's dense stages on the GPU.

    A method has the name of the NumPy function in ``kdc_core.decode`` that it implements.
    ``fields`` (188, h, w) and ``seg`` (H, W) are device buffers: an engine writes its outputs into
    them, or ``load`` copies them from the host.
    """

    def __init__(self, driver: Driver, layout: Layout) -> None:
        self.driver = driver
        self.layout = layout
        self._buffers: list[Any] = []
        self.h, self.w = layout.grid(layout.stride)
        self.seg_h, self.seg_w = layout.grid(layout.seg_stride)
        self.vote_h, self.vote_w = layout.grid(layout.hough.vote_stride)
        try:
            self._inputs()
            self._peak_buffers(layout.hough.max_peaks)
            self._people_buffers()
        except Exception:  # out of memory: release what was allocated so far
            self.close()
            raise

    def _inputs(self) -> None:
        make, (width, height) = self._make, self.layout.letterbox.frame_size
        in_width, in_height = self.layout.letterbox.input_size
        self.frame = make((height, width, 3), np.uint8)
        self.image = make((1, 3, in_height, in_width), np.float32)
        self.fields = make((CHANNELS, self.h, self.w), np.float32)
        self.seg = make((self.seg_h, self.seg_w), np.float32)
        self.taps = []
        for stride in (self.layout.stride, self.layout.seg_stride):
            grid = FrameGrid(self.layout.letterbox, stride)
            self.taps += [self._constant(grid.columns), self._constant(grid.rows)]

    def _peak_buffers(self, n: int) -> None:
        make, cells = self._make, self.vote_h * self.vote_w
        self.votes = make((A, self.vote_h, self.vote_w), np.int32)
        self.keys = make((A, cells), np.uint64)
        self.counts = make((A,), np.int32)
        self.peaks = {
            "xy": make((A, n, 2), np.float32),
            "score": make((A, n), np.float32),
            "vis": make((A, n), np.float32),
            "reach": make((A, n, MAX_DEGREE, 2), np.float32),
            "anchors": make((A, n, A, 2), np.float32),
        }

    def _people_buffers(self) -> None:
        make, cells = self._make, (self.h, self.w)
        width, height = self.layout.letterbox.frame_size
        self.share = make(cells, np.float32)
        self.phi = make((MAX_PEOPLE, *cells), np.float32)
        self.best = make(cells, np.float32)
        self.candidates = make(cells, np.uint64)
        self.xy = make((MAX_PEOPLE, A, 2), np.float32)
        self.weight = make((MAX_PEOPLE, A), np.float32)
        self.sigma, self.scale = make((MAX_PEOPLE,), np.float32), make((MAX_PEOPLE,), np.float32)
        self.vis, self.matched = (
            make((MAX_PEOPLE, A), np.float32),
            make((MAX_PEOPLE, A), np.float32),
        )
        self.anchor_score = make((MAX_PEOPLE, A), np.float64)
        self.confidence = make((MAX_PEOPLE, A), np.float32)
        self.ids = make((MAX_PEOPLE,), np.uint16)
        self.labels = make((height, width), np.uint16)
        self.pixels, self.sums = make((MAX_PEOPLE,), np.uint32), make((MAX_PEOPLE,), np.uint64)

    def _constant(self, array: np.ndarray) -> Any:
        array = np.ascontiguousarray(array)
        buffer = self._make(array.shape, array.dtype)
        self.driver.upload(buffer, array)
        return buffer

    def _make(self, shape: tuple[int, ...], dtype: Any) -> Any:
        self._buffers.append(self.driver.allocate(shape, dtype))
        return self._buffers[-1]

    def close(self) -> None:
        """Free the buffers. A second call does nothing."""
        for buffer in self._buffers:
            self.driver.release(buffer)
        self._buffers.clear()

    def load(self, fields: Fields) -> None:
        """Copy a frame's fields to the GPU."""
        flat = [getattr(fields, head.name).reshape(-1, self.h, self.w) for head in HEADS]
        self.driver.upload(self.fields, np.concatenate(flat))
        self.driver.upload(self.seg, np.ascontiguousarray(fields.seg))

    def load_frame(self, frame: np.ndarray) -> None:
        """Copy a (H, W, 3) uint8 BGR frame to the GPU.

        Raises:
            ValueError: the frame does not have the layout's size.
        """
        if frame.shape != self.frame.shape or frame.dtype != np.uint8:
            raise ValueError(
                f"frame: expected {self.frame.shape} uint8, got {frame.shape} {frame.dtype}"
            )
        self.driver.upload(self.frame, np.ascontiguousarray(frame))

    def preprocess(self) -> None:
        """Fill ``image`` with the letterboxed ``frame``."""
        height, width = self.frame.shape[:2]
        in_width, in_height = self.layout.letterbox.input_size
        grid = _blocks(in_width, TILE[0]), _blocks(in_height, TILE[1])
        self.driver.launch(
            "preprocess",
            grid,
            TILE,
            self.frame,
            width,
            height,
            3 * width,
            *self.layout.letterbox.inner_size,
            in_width,
            in_height,
            float(PAD_VALUE),
            self.image,
        )

    def vote(self) -> None:
        """Fill ``votes`` from the fields."""
        layout = self.layout
        share = np.float32(ONE * layout.stride**2 / (math.pi * layout.radius**2))
        self.driver.clear(self.votes)
        self.driver.launch(
            "hough_splat",
            (_blocks(self.h * self.w, 256), A),
            (256,),
            self.fields,
            self.w,
            self.h,
            layout.stride,
            float(layout.radius),
            float(share),
            float(layout.hough.min_heat),
            layout.hough.vote_stride,
            self.vote_w,
            self.vote_h,
            self.votes,
        )

    def find_peaks(self) -> None:
        """Fill ``peaks`` from ``votes``."""
        self.find_maxima()
        self.pick_peaks()
        self.read_peaks()

    def find_maxima(self) -> None:
        """Fill ``keys`` and ``counts`` from ``votes``."""
        self.driver.clear(self.counts)
        grid = _blocks(self.vote_w, TILE[0]), _blocks(self.vote_h, TILE[1]), A
        self.driver.launch(
            "find_maxima",
            grid,
            TILE,
            self.votes,
            self.vote_w,
            self.vote_h,
            float(self.layout.hough.peak_threshold * ONE),
            self.keys,
            self.counts,
        )

    def pick_peaks(self) -> None:
        """Fill the positions and scores of ``peaks`` from ``keys``."""
        hough = self.layout.hough
        self.driver.launch(
            "pick_peaks",
            (A,),
            (256,),
            self.votes,
            self.vote_w,
            self.vote_h,
            hough.vote_stride,
            self.keys,
            self.counts,
            hough.max_peaks,
            self.peaks["xy"],
            self.peaks["score"],
        )

    def read_peaks(self) -> None:
        """Fill the visibility, edge ends and anchors of ``peaks`` from the fields."""
        layout, n = self.layout, self.layout.hough.max_peaks
        self.driver.launch(
            "read_peaks",
            (_blocks(A * n, 8),),
            (256,),
            self.fields,
            self.w,
            self.h,
            layout.stride,
            float(layout.radius),
            self.peaks["xy"],
            self.peaks["score"],
            n,
            layout.hough.refine_steps,
            self.peaks["vis"],
            self.peaks["reach"],
            self.peaks["anchors"],
        )

    def download_peaks(self) -> Peaks:
        """Copy the peaks to the host."""
        parts = self.driver.download_all(list(self.peaks.values()))
        return Peaks(**dict(zip(self.peaks, parts, strict=True)))

    def measure(self, poses: Poses, config: CentroidConfig) -> AnchorReadings:
        """Measure votes and fields at all anchors, as ``person_size`` and ``anchor_confidence``.

        Args:
            poses: people; ``anchor_score`` is valid where they are ``matched``.
            config: bounds of σ.

        Raises:
            InputError: more than ``MAX_PEOPLE`` people.
        """
        people = self._checked_count(len(poses))
        if people:
            self.load_poses(poses)
            self.pool()
            self.read_poses(people, config)
        buffers = (self.anchor_score, self.sigma, self.scale, self.confidence)
        return AnchorReadings(*(part[:people] for part in self.driver.download_all(buffers)))

    def refine_unmatched(self, poses: Poses, config: GroupConfig) -> Poses:
        """Refine the unmatched anchors of all people.

        Raises:
            InputError: more than ``MAX_PEOPLE`` people.
        """
        people = self._checked_count(len(poses))
        if not people or not config.unmatched_steps:
            return poses
        self.load_poses(poses)
        self.pool()
        self.refine_anchors(people, config)
        return replace(poses, xy=self.driver.download(self.xy)[:people])

    def refine_anchors(self, people: int, config: GroupConfig) -> None:
        """Move the unmatched anchors in ``xy``."""
        layout = self.layout
        self.driver.launch(
            "refine_unmatched",
            (people,),
            (32 * A,),
            self.fields,
            self.share,
            self.w,
            self.h,
            layout.stride,
            float(layout.radius),
            config.unmatched_steps,
            self.matched,
            self.xy,
        )

    def load_poses(self, poses: Poses) -> None:
        """Copy people's poses to the GPU."""
        for name in ("xy", "vis", "matched", "anchor_score", "scale"):
            buffer = getattr(self, name)
            column = np.ascontiguousarray(getattr(poses, name), buffer.dtype)
            self.driver.upload(buffer, column)

    def read_poses(self, people: int, config: CentroidConfig) -> None:
        """Complete ``anchor_score`` and ``scale``; fill ``sigma`` and ``confidence``."""
        layout = self.layout
        self.driver.launch(
            "read_poses",
            (people,),
            (32 * A,),
            self.votes,
            self.vote_w,
            self.vote_h,
            layout.hough.vote_stride,
            self.fields,
            self.share,
            self.w,
            self.h,
            layout.stride,
            float(layout.radius),
            float(config.sigma_fallback),
            *map(float, config.sigma_range),
            self.xy,
            self.vis,
            self.matched,
            self.anchor_score,
            self.sigma,
            self.scale,
            self.confidence,
        )

    def assign(
        self, centroids: Centroids, ids: np.ndarray, config: AssignConfig, mode: CentroidMode
    ) -> InstanceMap:
        """Return the label image of all people.

        Raises:
            InputError: more than ``MAX_PEOPLE`` people, or a smoothing that the kernels lack.
        """
        self._checked_count(len(centroids))
        if config.igo_sigma > SHARP:
            raise InputError(
                f"igo_sigma: the GPU decoder does not smooth, got {config.igo_sigma}; "
                "set it to 0.1 or use the CPU decoder"
            )
        if not len(centroids):
            labels = np.zeros(self.labels.shape, np.uint16)
            return InstanceMap(labels, ids, np.zeros(0, np.float32))
        self.load_centroids(centroids, ids)
        self.pool()
        self.membership(len(ids), config, mode)
        for _ in range(config.mean_shift_steps):
            self.mean_shift(len(ids))
            self.membership(len(ids), config, mode)
        self.paint(config)
        return self.download_map(ids)

    def _checked_count(self, people: int) -> int:
        if people > MAX_PEOPLE:
            raise InputError(
                f"the GPU decoder supports at most {MAX_PEOPLE} people, got {people}; "
                "lower max_people or use the CPU decoder"
            )
        return people

    def load_centroids(self, centroids: Centroids, ids: np.ndarray) -> None:
        """Copy centroids and ids of all people to the GPU."""
        for name in ("xy", "weight", "sigma", "scale"):
            column = np.ascontiguousarray(getattr(centroids, name), np.float32)
            self.driver.upload(getattr(self, name), column)
        self.driver.upload(self.ids, np.ascontiguousarray(ids, np.uint16))

    def pool(self) -> None:
        """Fill ``share``, the person share of each cell, from ``seg``."""
        factor = self.layout.stride // self.layout.seg_stride
        self.driver.launch(
            "pool",
            (_blocks(self.h * self.w, 256),),
            (256,),
            self.seg,
            self.w,
            self.h,
            factor,
            1 / factor**2,
            self.share,
        )

    def membership(self, people: int, config: AssignConfig, mode: CentroidMode) -> None:
        """Fill ``phi``, ``best`` and ``candidates``."""
        self.driver.clear(self.best)
        self.driver.clear(self.candidates)
        self.driver.launch(
            "membership",
            (_blocks(self.h * self.w, 128), people),
            (128,),
            self.fields,
            self.share,
            self.w,
            self.h,
            self.layout.stride,
            float(self.layout.radius),
            0.25 * config.min_seg,
            self.xy,
            self.weight,
            self.sigma,
            self.scale,
            float(config.near),
            int(mode == CentroidMode.NEAREST),
            float(config.min_phi),
            self.phi,
            self.best,
            self.candidates,
        )

    def mean_shift(self, people: int) -> None:
        """Move ``xy`` by the step of eq. 4."""
        self.driver.launch(
            "mean_shift",
            (A, people),
            (256,),
            self.fields,
            self.w,
            self.h,
            self.layout.stride,
            float(self.layout.radius),
            self.phi,
            self.best,
            self.xy,
        )

    def paint(self, config: AssignConfig) -> None:
        """Fill ``labels``, ``pixels`` and ``sums``."""
        width, height = self.layout.letterbox.frame_size
        columns, rows, fine_columns, fine_rows = self.taps
        self.driver.clear(self.pixels)
        self.driver.clear(self.sums)
        self.driver.launch(
            "paint",
            (_blocks(width, TILE[0]), _blocks(height, TILE[1])),
            TILE,
            self.phi,
            self.candidates,
            self.w,
            self.h,
            columns,
            rows,
            self.seg,
            self.seg_w,
            self.seg_h,
            fine_columns,
            fine_rows,
            width,
            height,
            float(config.min_phi),
            float(config.min_seg),
            self.ids,
            self.labels,
            self.pixels,
            self.sums,
        )

    def download_map(self, ids: np.ndarray) -> InstanceMap:
        """Copy the label image and the mean of P_seg · φ of each person to the host."""
        labels, pixels, sums = self.driver.download_all((self.labels, self.pixels, self.sums))
        pixels, sums = pixels[: len(ids)], sums[: len(ids)]
        mean = sums.astype(np.float64) / (ONE * np.maximum(pixels, 1).astype(np.float64))
        return InstanceMap(labels, ids, mean.astype(np.float32))


def _blocks(size: int, per_block: int) -> int:
    return -(-size // per_block)

"""The types between the stages: frozen, columnar, validated at the door.

``Frame → Fields → Peaks → Poses → Centroids → InstanceMap → People``. Positions are (x, y) in
network-input pixels up to ``People``, which is in pixels of the original frame.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import IntEnum

import numpy as np

from kdc_core.errors import InputError
from kdc_core.letterbox import Letterbox
from kdc_core.skeleton import CENTRE, CHANNELS, DIRECTED, MAX_DEGREE, A, K, channel_slices


@dataclass(frozen=True)
class Frame:
    """One picture from a camera."""

    image: np.ndarray  # (H, W, 3) uint8, BGR
    stamp: float = 0.0  # seconds
    frame_id: str = ""

    def __post_init__(self) -> None:
        image = self.image
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
            raise InputError(
                f"frame: expected a (H, W, 3) uint8 BGR image, got {image.shape} {image.dtype}"
            )

    @property
    def size(self) -> tuple[int, int]:
        """(width, height), pixels."""
        return self.image.shape[1], self.image.shape[0]


@dataclass(frozen=True)
class Fields:
    """What the network says at every cell of its grids. Offsets are in units of ``radius``."""

    heat: np.ndarray  # (18, h, w) float32 in [0, 1]
    short: np.ndarray  # (18, 2, h, w)
    mid: np.ndarray  # (40, 2, h, w), directed edges
    anchor: np.ndarray  # (18, 2, h, w)
    log_sigma: np.ndarray  # (h, w)
    vis: np.ndarray  # (17, h, w) in [0, 1]
    seg: np.ndarray  # (H / seg_stride, W / seg_stride) in [0, 1]
    stride: int  # input pixels per cell of every field but ``seg``
    seg_stride: int  # input pixels per cell of ``seg``
    radius: float  # R, input pixels
    letterbox: Letterbox

    def __post_init__(self) -> None:
        h, w = self.heat.shape[1:]
        shapes = {
            "heat": (A, h, w), "short": (A, 2, h, w), "mid": (len(DIRECTED), 2, h, w),
            "anchor": (A, 2, h, w), "log_sigma": (h, w), "vis": (K, h, w),
            "seg": (h * self.stride // self.seg_stride, w * self.stride // self.seg_stride),
        }  # fmt: skip
        _check_shapes(self, shapes)

    @classmethod
    def from_tensors(
        cls, fields: np.ndarray, seg: np.ndarray, radius: float, letterbox: Letterbox
    ) -> Fields:
        """Views into the network's two outputs ``(1, 188, h, w)`` and ``(1, 1, h', w')``."""
        if fields.ndim != 4 or fields.shape[:2] != (1, CHANNELS) or seg.shape[:2] != (1, 1):
            raise InputError(
                f"network output: expected (1, {CHANNELS}, h, w) and (1, 1, h', w'), "
                f"got {fields.shape} and {seg.shape}"
            )
        # a sum is not finite where a summand is not: half the time of looking at each
        if not (np.isfinite(fields.sum()) and np.isfinite(seg.sum())):
            raise InputError("network output: expected finite numbers, got NaN or infinity")
        h, w = fields.shape[2:]
        parts = {name: fields[0, where] for name, where in channel_slices().items()}
        return cls(
            heat=parts["heat"],
            short=parts["short"].reshape(A, 2, h, w),
            mid=parts["mid"].reshape(len(DIRECTED), 2, h, w),
            anchor=parts["anchor"].reshape(A, 2, h, w),
            log_sigma=parts["log_sigma"][0],
            vis=parts["vis"],
            seg=seg[0, 0],
            stride=letterbox.input_size[0] // w,
            seg_stride=letterbox.input_size[0] // seg.shape[3],
            radius=radius,
            letterbox=letterbox,
        )


@dataclass(frozen=True)
class Peaks:
    """Keypoint candidates of every anchor type, best first; empty slots have score 0."""

    xy: np.ndarray  # (18, N, 2) input pixels
    score: np.ndarray  # (18, N), share of a disk that votes for this place, 0…1
    vis: np.ndarray  # (18, N) visibility; CENTRE has 0
    reach: np.ndarray  # (18, N, 4, 2) input pixels: other end of each edge of OUT_EDGES[a]
    anchors: np.ndarray  # (18, N, 18, 2) input pixels: the person's anchors as read at the peak

    def __post_init__(self) -> None:
        n = self.xy.shape[1]
        shapes = {
            "xy": (A, n, 2), "score": (A, n), "vis": (A, n), "reach": (A, n, MAX_DEGREE, 2),
            "anchors": (A, n, A, 2),
        }  # fmt: skip
        _check_shapes(self, shapes)


@dataclass(frozen=True)
class Poses:
    """P skeletons in one frame, best first."""

    xy: np.ndarray  # (P, 18, 2) input pixels, always placed
    anchor_score: np.ndarray  # (P, 18) share of the disk that votes here, 0…1
    vis: np.ndarray  # (P, 18) visibility, 0…1
    matched: np.ndarray  # (P, 18) bool: a peak was claimed; False: placed from the anchor field
    score: np.ndarray  # (P,) ranking score for keypoints, 0…1

    def __post_init__(self) -> None:
        p = len(self.score)
        shapes = {
            "xy": (p, A, 2),
            "anchor_score": (p, A),
            "vis": (p, A),
            "matched": (p, A),
            "score": (p,),
        }
        _check_shapes(self, shapes)

    def __len__(self) -> int:
        return len(self.score)

    def __getitem__(self, index: np.ndarray | slice) -> Poses:
        return Poses(**{f.name: getattr(self, f.name)[index] for f in fields(self)})

    @property
    def objectness(self) -> np.ndarray:
        """Evidence that there is a person at all (P,): its skeleton, or its CENTRE's disk."""
        return np.maximum(self.score, self.anchor_score[:, CENTRE])

    @property
    def scale(self) -> np.ndarray:
        """s_j = sqrt(area of the keypoints' bounding box), input pixels (P,), at least 4."""
        if not len(self):
            return np.zeros(0, np.float32)
        points = self.xy[:, :K]
        width, height = np.moveaxis(points.max(axis=1) - points.min(axis=1), -1, 0)
        return np.maximum(np.sqrt(width * height), 4.0).astype(np.float32)


@dataclass(frozen=True)
class Centroids:
    """What attracts the pixels of each of P people now: anchors with weights (eq. 3)."""

    xy: np.ndarray  # (P, 18, 2) input pixels
    weight: np.ndarray  # (P, 18) ≥ 0, at least one positive per person
    confidence: np.ndarray  # (P, 18) c_k, what the choice was made from
    sigma: np.ndarray  # (P,) input pixels
    scale: np.ndarray  # (P,) s_j, input pixels
    primary: np.ndarray  # (P,) int, the anchor that is reported as the centroid

    def __post_init__(self) -> None:
        p = len(self.sigma)
        shapes = {
            "xy": (p, A, 2), "weight": (p, A), "confidence": (p, A), "sigma": (p,), "scale": (p,),
            "primary": (p,),
        }  # fmt: skip
        _check_shapes(self, shapes)

    def __len__(self) -> int:
        return len(self.sigma)

    def __getitem__(self, index: np.ndarray | slice) -> Centroids:
        return Centroids(**{f.name: getattr(self, f.name)[index] for f in fields(self)})


@dataclass(frozen=True)
class InstanceMap:
    """Label image of a frame: pixel = ``ids[j]`` of person j, 0 = nobody."""

    labels: np.ndarray  # (H, W) uint16, original frame
    ids: np.ndarray  # (P,) int, 1…65535
    phi: np.ndarray  # (P,) mean of P_seg * phi over each person's pixels, 0 where it has none

    def __post_init__(self) -> None:
        if self.labels.dtype != np.uint16 or self.labels.ndim != 2:
            raise InputError(
                f"label image: expected (H, W) uint16, got {self.labels.shape} {self.labels.dtype}"
            )
        _check_shapes(self, {"ids": (len(self.ids),), "phi": (len(self.ids),)})


class Phase(IntEnum):
    """What is known of a person's identity; numbers as in ``kdc_msgs/Person``."""

    UNTRACKED = 0  # no tracker runs: the id counts the people of this frame
    TENTATIVE = 1  # a new track, not yet seen for long enough to be believed
    CONFIRMED = 2  # seen in this frame
    OCCLUDED = 3  # not seen in this frame: place predicted, no mask
    LOST = 4  # hidden for longer: remembered, not reported


@dataclass(frozen=True)
class People:
    """The answer for one frame, in pixels of the original frame."""

    ids: np.ndarray  # (P,) int: person index from 1, or track id
    score: np.ndarray  # (P,) ranking of the skeleton, 0…1
    mask_score: np.ndarray  # (P,) ranking of the mask, 0…1
    keypoints: np.ndarray  # (P, 17, 3) x, y, confidence
    visible: np.ndarray  # (P, 17) bool
    boxes: np.ndarray  # (P, 4) x1, y1, x2, y2 around mask, else around keypoints
    centroid: np.ndarray  # (P,) int, anchor in use, see skeleton.ANCHORS
    centroid_xy: np.ndarray  # (P, 2)
    labels: np.ndarray  # (H, W) uint16, pixel = id, 0 = nobody
    phase: np.ndarray  # (P,) uint8, see ``Phase``

    def __post_init__(self) -> None:
        p = len(self.ids)
        shapes = {
            "score": (p,), "mask_score": (p,), "keypoints": (p, K, 3), "visible": (p, K),
            "boxes": (p, 4), "centroid": (p,), "centroid_xy": (p, 2), "phase": (p,),
        }  # fmt: skip
        _check_shapes(self, shapes)

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: np.ndarray | slice) -> People:
        """Some of the people; the label image stays whole."""
        columns = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "labels"}
        return People(labels=self.labels, **{name: c[index] for name, c in columns.items()})

    def mask(self, index: int) -> np.ndarray:
        """Boolean mask (H, W) of person ``index`` (a row, not an id)."""
        return self.labels == self.ids[index]


def _check_shapes(owner: object, expected: dict[str, tuple[int, ...]]) -> None:
    for name, shape in expected.items():
        got = getattr(owner, name).shape
        if got != shape:
            raise InputError(f"{type(owner).__name__}.{name}: expected shape {shape}, got {got}")

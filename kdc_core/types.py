"""Data between the stages: frozen dataclasses with one array per attribute, checked when created.

``Frame → Fields → Peaks → Poses → Centroids → InstanceMap → People``. Positions are (x, y). They
are in pixels of the network's input up to ``InstanceMap``, and in pixels of the original frame in
``People``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields
from enum import IntEnum
from typing import Any, overload

import numpy as np

from kdc_core.errors import InputError
from kdc_core.labels import run_lengths
from kdc_core.letterbox import Letterbox
from kdc_core.skeleton import ANCHORS, CENTRE, CHANNELS, DIRECTED, MAX_DEGREE, A, K, channel_slices


@dataclass(frozen=True)
class Frame:
    """One image of a camera.

    Raises:
        InputError: the image is not (H, W, 3) uint8, or the time stamp is not finite.
    """

    image: np.ndarray  # (H, W, 3) uint8, BGR
    stamp: float | None = None  # seconds, when it was taken; None = unknown
    frame_id: str = ""  # name: file, number, or coordinate frame

    def __post_init__(self) -> None:
        image = self.image
        if not isinstance(image, np.ndarray):
            raise InputError(
                f"frame: expected a (H, W, 3) uint8 BGR array, got {type(image).__name__}"
            )
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
            raise InputError(
                f"frame: expected a (H, W, 3) uint8 BGR image, got {image.shape} {image.dtype}"
            )
        if self.stamp is not None and not math.isfinite(self.stamp):
            raise InputError(f"frame: expected a finite stamp in seconds, got {self.stamp}")

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, pixels."""
        return self.image.shape[1], self.image.shape[0]


@dataclass(frozen=True)
class Fields:
    """The network's output for one frame, one value per grid cell. Offsets are in ``radius``."""

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
        _check_shapes(
            self,
            heat=(A, h, w),
            short=(A, 2, h, w),
            mid=(len(DIRECTED), 2, h, w),
            anchor=(A, 2, h, w),
            log_sigma=(h, w),
            vis=(K, h, w),
            seg=(h * self.stride // self.seg_stride, w * self.stride // self.seg_stride),
        )

    @classmethod
    def from_tensors(
        cls, fields: np.ndarray, seg: np.ndarray, radius: float, letterbox: Letterbox
    ) -> Fields:
        """Return views into the network's output tensors.

        Args:
            fields: (1, 188, h, w), the heads of ``skeleton.HEADS``.
            seg: (1, 1, h', w'), the person mask.
            radius: R, input pixels.
            letterbox: placement of the frame in the input.

        Raises:
            InputError: the model has other outputs, or they hold NaN or infinity.
        """
        if fields.ndim != 4 or fields.shape[:2] != (1, CHANNELS) or seg.shape[:2] != (1, 1):
            raise InputError(
                f"network output: expected (1, {CHANNELS}, h, w) and (1, 1, h', w'), "
                f"got {fields.shape} and {seg.shape}"
            )
        # the sum is not finite if a summand is not; testing each value takes twice the time
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
    """Keypoint candidates of every anchor type, best first. Empty slots have score 0."""

    xy: np.ndarray  # (18, N, 2) input pixels
    score: np.ndarray  # (18, N), share of a disk that votes for this position, 0…1
    vis: np.ndarray  # (18, N) visibility; CENTRE has 0
    reach: np.ndarray  # (18, N, 4, 2) input pixels: other end of each edge of OUT_EDGES[a]
    anchors: np.ndarray  # (18, N, 18, 2) input pixels: the person's anchors, read at the peak

    def __post_init__(self) -> None:
        n = self.xy.shape[1]
        _check_shapes(
            self,
            xy=(A, n, 2),
            score=(A, n),
            vis=(A, n),
            reach=(A, n, MAX_DEGREE, 2),
            anchors=(A, n, A, 2),
        )


@dataclass(frozen=True)
class Poses:
    """P skeletons in one frame, best first."""

    xy: np.ndarray  # (P, 18, 2) input pixels, of all anchors
    anchor_score: np.ndarray  # (P, 18) share of the disk that votes here, 0…1
    vis: np.ndarray  # (P, 18) visibility, 0…1
    matched: np.ndarray  # (P, 18) bool: at a peak; False: position from the anchor field
    score: np.ndarray  # (P,) ranking score for keypoints, 0…1

    def __post_init__(self) -> None:
        p = len(self.score)
        _check_shapes(
            self, xy=(p, A, 2), anchor_score=(p, A), vis=(p, A), matched=(p, A), score=(p,)
        )

    def __len__(self) -> int:
        return len(self.score)

    def __getitem__(self, index: np.ndarray | slice) -> Poses:
        return Poses(**{f.name: getattr(self, f.name)[index] for f in fields(self)})

    @property
    def objectness(self) -> np.ndarray:
        """Evidence for a person (P,): the score of the skeleton or the disk of the CENTRE."""
        return np.maximum(self.score, self.anchor_score[:, CENTRE])

    @property
    def scale(self) -> np.ndarray:
        """Scale s_j (P,): sqrt(area of the keypoints' bounding box), input pixels, at least 4."""
        if not len(self):
            return np.zeros(0, np.float32)
        points = self.xy[:, :K]
        width, height = np.moveaxis(points.max(axis=1) - points.min(axis=1), -1, 0)
        return np.maximum(np.sqrt(width * height), 4.0).astype(np.float32)


@dataclass(frozen=True)
class Centroids:
    """The weighted anchors that attract the pixels of each of P people (eq. 3)."""

    xy: np.ndarray  # (P, 18, 2) input pixels
    weight: np.ndarray  # (P, 18) ≥ 0, at least one positive per person
    confidence: np.ndarray  # (P, 18) c_k, from which the weights were chosen
    sigma: np.ndarray  # (P,) input pixels
    scale: np.ndarray  # (P,) s_j, input pixels
    primary: np.ndarray  # (P,) int, the anchor that is reported as the centroid

    def __post_init__(self) -> None:
        p = len(self.sigma)
        _check_shapes(
            self,
            xy=(p, A, 2),
            weight=(p, A),
            confidence=(p, A),
            sigma=(p,),
            scale=(p,),
            primary=(p,),
        )

    def __len__(self) -> int:
        return len(self.sigma)

    def __getitem__(self, index: np.ndarray | slice) -> Centroids:
        return Centroids(**{f.name: getattr(self, f.name)[index] for f in fields(self)})


@dataclass(frozen=True)
class InstanceMap:
    """Label image of a frame: pixel = ``ids[j]`` of person j, 0 = background."""

    labels: np.ndarray  # (H, W) uint16, original frame
    ids: np.ndarray  # (P,) int, 1…65535
    phi: np.ndarray  # (P,) mean of P_seg * phi over each person's pixels; 0 = no pixels

    def __post_init__(self) -> None:
        _check_labels(self.labels)
        _check_shapes(self, ids=(len(self.ids),), phi=(len(self.ids),))


class Phase(IntEnum):
    """State of a person's track. The numbers are those of ``kdc_msgs/Person``."""

    UNTRACKED = 0  # no tracker runs: the id counts the people of this frame
    TENTATIVE = 1  # new, seen for too short a time to be confirmed
    CONFIRMED = 2  # seen in this frame
    OCCLUDED = 3  # not seen in this frame: the position is predicted, there is no mask
    LOST = 4  # occluded for longer: kept by the tracker, not reported


@dataclass(frozen=True, eq=False)
class People:
    """The people in one frame, in pixels of that frame.

    ``len(people)`` counts them, ``for person in people`` yields ``Person`` views, ``people[0]`` is
    the first of them, and ``people[rows]`` selects several by a boolean mask, indices or a slice.
    """

    ids: np.ndarray  # (P,) int: track id, or 1, 2, … without tracking
    score: np.ndarray  # (P,) of the skeleton, 0…1
    mask_score: np.ndarray  # (P,) of the mask, 0…1; 0 = no mask
    keypoints: np.ndarray  # (P, 17, 3) x, y, confidence; COCO order
    visible: np.ndarray  # (P, 17) bool
    boxes: np.ndarray  # (P, 4) x1, y1, x2, y2 around the mask, or the keypoints without a mask
    centroid: np.ndarray  # (P,) int, index of the anchor in use, see skeleton.ANCHORS
    centroid_xy: np.ndarray  # (P, 2)
    labels: np.ndarray  # (H, W) uint16, pixel = id, 0 = background
    phase: np.ndarray  # (P,) uint8, see ``Phase``

    def __post_init__(self) -> None:
        p = len(self.ids)
        _check_labels(self.labels)
        _check_shapes(
            self,
            score=(p,),
            mask_score=(p,),
            keypoints=(p, K, 3),
            visible=(p, K),
            boxes=(p, 4),
            centroid=(p,),
            centroid_xy=(p, 2),
            phase=(p,),
        )

    @classmethod
    def empty(cls, size: tuple[int, int]) -> People:
        """Return no people, for a frame of ``size`` (width, height) pixels."""
        return cls(
            ids=np.zeros(0, np.intp),
            score=np.zeros(0, np.float32),
            mask_score=np.zeros(0, np.float32),
            keypoints=np.zeros((0, K, 3), np.float32),
            visible=np.zeros((0, K), bool),
            boxes=np.zeros((0, 4), np.float32),
            centroid=np.zeros(0, np.intp),
            centroid_xy=np.zeros((0, 2), np.float32),
            labels=np.zeros((size[1], size[0]), np.uint16),
            phase=np.zeros(0, np.uint8),
        )

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the frame, pixels."""
        return self.labels.shape[1], self.labels.shape[0]

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[Person]:
        return (Person(self, row) for row in range(len(self)))

    @overload
    def __getitem__(self, index: int) -> Person: ...
    @overload
    def __getitem__(self, index: np.ndarray | slice) -> People: ...
    def __getitem__(self, index: int | np.ndarray | slice) -> Person | People:
        """Return one person, or several; the label image stays whole.

        Raises:
            IndexError: there is no such row.
        """
        if isinstance(index, (int, np.integer)):
            return Person(self, range(len(self))[index])
        columns = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "labels"}
        return People(labels=self.labels, **{name: c[index] for name, c in columns.items()})

    def __eq__(self, other: object) -> bool:
        """Return True if all arrays are equal."""
        if not isinstance(other, People):
            return NotImplemented
        return all(
            np.array_equal(getattr(self, f.name), getattr(other, f.name)) for f in fields(self)
        )

    __hash__ = None  # type: ignore[assignment]  # arrays cannot be hashed

    def __repr__(self) -> str:
        people = ", ".join(map(str, self))
        return f"People({len(self)} in {self.size[0]}x{self.size[1]}{people and ': '}{people})"

    def mask(self, index: int) -> np.ndarray:
        """Return the mask (H, W) bool of person ``index`` (a row, not an id)."""
        return np.asarray(self.labels == self.ids[index])

    def to_coco(self, image_id: int, category_id: int = 1) -> list[dict[str, Any]]:
        """Return one entry per person in COCO's result format, ready for ``json.dump``.

        ``score`` is that of the skeleton, and the third number of a keypoint is its confidence. The
        mask is a compressed run-length encoding. ``mask_score`` and ``track_id`` are not part of
        COCO's format, whose readers ignore them. To evaluate masks, put ``mask_score`` into
        ``score``.
        """
        entries = []
        for person in self:
            x1, y1, x2, y2 = person.box.tolist()
            entries.append(
                {
                    "image_id": image_id,
                    "category_id": category_id,
                    "score": person.score,
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "keypoints": person.keypoints.ravel().tolist(),
                    "segmentation": run_lengths(person.mask),
                    "mask_score": person.mask_score,
                    "track_id": person.id,
                }
            )
        return entries


@dataclass(frozen=True, eq=False)
class Person:
    """One person of a ``People`` object; coordinates are pixels of the frame."""

    people: People
    row: int

    @property
    def id(self) -> int:
        """Track id, or the number of the person in its frame without tracking; from 1."""
        return int(self.people.ids[self.row])

    @property
    def score(self) -> float:
        """Score of the skeleton, 0 to 1: the OKS to expect."""
        return float(self.people.score[self.row])

    @property
    def mask_score(self) -> float:
        """Score of the mask, 0 to 1: the IoU to expect; 0 = no mask."""
        return float(self.people.mask_score[self.row])

    @property
    def box(self) -> np.ndarray:
        """Box (4,) x1, y1, x2, y2 around the mask, or around the keypoints without a mask."""
        return np.asarray(self.people.boxes[self.row])

    @property
    def keypoints(self) -> np.ndarray:
        """Keypoints (17, 3) x, y, confidence; COCO order, see ``skeleton.KEYPOINTS``."""
        return np.asarray(self.people.keypoints[self.row])

    @property
    def visible(self) -> np.ndarray:
        """Visibility (17,) bool: False = occluded, outside the image, or a guess."""
        return np.asarray(self.people.visible[self.row])

    @property
    def centroid(self) -> np.ndarray:
        """Position (2,) x, y of the centroid that attracts the person's pixels."""
        return np.asarray(self.people.centroid_xy[self.row])

    @property
    def centroid_name(self) -> str:
        """Name of the anchor that is the centroid: a keypoint, or "centre"."""
        return ANCHORS[self.people.centroid[self.row]]

    @property
    def mask(self) -> np.ndarray:
        """Mask (H, W) bool; computed on every call."""
        return self.people.mask(self.row)

    @property
    def phase(self) -> Phase:
        """State of the track."""
        return Phase(int(self.people.phase[self.row]))

    def __str__(self) -> str:
        hidden = " occluded" if self.phase == Phase.OCCLUDED else ""
        return f"{self.id} ({self.score:.2f}{hidden})"

    def __repr__(self) -> str:
        box = " ".join(f"{side:.0f}" for side in self.box)
        return (
            f"Person(id {self.id}, score {self.score:.2f}, mask_score {self.mask_score:.2f}, "
            f"box {box}, {self.phase.name.lower()})"
        )


def _check_labels(labels: np.ndarray) -> None:
    if labels.dtype != np.uint16 or labels.ndim != 2:
        raise ValueError(f"label image: expected (H, W) uint16, got {labels.shape} {labels.dtype}")


def _check_shapes(owner: object, **expected: tuple[int, ...]) -> None:
    for name, shape in expected.items():
        got = getattr(owner, name).shape
        if got != shape:
            raise ValueError(f"{type(owner).__name__}.{name}: expected shape {shape}, got {got}")

"""Read annotation files in COCO's person format into a ``Pack``; count and skip broken parts.

Labels have the size of the stored image. The knowledge about a pixel follows from these rules:

* A person's mask owns its pixels. Where two masks overlap, the owner is ``OVERLAP``.
* Crowd regions may or may not show people, and their poses are unknown.
* ``segmentation: []``, or a pseudo mask below ``PSEUDO_FLOOR``, is no mask: pixels of the box may
  show a person, except on masks of other people.
* A pseudo mask of medium confidence (weight below 0.5) keeps its pixels, but the rest of its box is
  not background.
* A person without labelled keypoints has an unknown pose on its mask and in its box, except on
  masks of other people.
* ``masks_complete: false`` means that crowd regions were not recorded. COCO draws them in images
  with more than about a dozen people (84 of 109 complete images with 12 or 13 people have one,
  1 of 1,314 images with fewer people). So with ``CROWDED_FROM`` or more people everything outside
  the annotated boxes is unknown, and with fewer people it is background.
* ``persons_complete: false`` means that only some of the people are labelled, so everything outside
  the annotated boxes is unknown.
* ``keypoints_pseudo`` (x, y, confidence) come from a network. They are used for people without
  human keypoints, with a weight below 1, and elsewhere on these people the pose stays unknown.
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from kdc_core.errors import InputError
from kdc_core.io import (
    JPEG,
    TYPICAL_FILL,
    check_runs,
    corners,
    decode_image,
    is_image_file,
    person_category,
    read_annotations,
)
from kdc_core.skeleton import K
from kdc_lab.training.batch import MAX_PEOPLE, OVERLAP, POSE_UNKNOWN, SEG_UNKNOWN
from kdc_lab.training.data import AnnotatedImage, Pack, is_tuning_image

PSEUDO_FLOOR, PSEUDO_FULL = (
    0.70,
    0.95,
)  # mask_conf with weight 0 and 1; their measured IoU is 0.75 and 0.87
#: confidence of a pseudo keypoint (``keypoints_pseudo``) of weight 0 and of the largest weight;
#: a keypoint of a network counts at most half as much as a human one
POINT_FLOOR, POINT_FULL, POINT_MOST = 0.3, 0.8, 0.5
PSEUDO_MOST = 0.999  # weight; 1 is reserved for human masks, which the loss treats differently
CROWDED_FROM = 12  # people
SIDE = 480  # pixels, longest side of a stored image
QUALITY = 88  # of JPEGs that are encoded again

log = logging.getLogger(__name__)


@dataclass
class LoadReport:
    """Number of images and people that were read, and the problems that were found."""

    images: int = 0
    people: int = 0
    problems: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    def add(self, problem: str, example: object) -> None:
        """Count a problem; the beginning of the first case is kept as an example."""
        self.problems[problem] += 1
        self.examples.setdefault(problem, str(example)[:120])

    def join(self, other: LoadReport) -> None:
        """Add the counts of another report."""
        self.images += other.images
        self.people += other.people
        self.problems.update(other.problems)
        self.examples = other.examples | self.examples

    def listed(self) -> list[str]:
        """Return one line for each problem, the most frequent first."""
        return [
            f"{count} x {problem} (first: {self.examples[problem]})"
            for problem, count in self.problems.most_common()
        ]

    def __str__(self) -> str:
        return "\n  ".join([f"{self.images} images with {self.people} people", *self.listed()])


def read_coco(
    annotations: Path, report: LoadReport, *, holdout: bool = False, quality: int | None = None
) -> Pack:
    """Read one annotation file.

    Args:
        annotations: JSON file in COCO's format, beside the folder ``images`` of its images.
        report: Counts images, people and problems.
        holdout: Mark the tuning split (``is_tuning_image``), which training leaves out.
        quality: Encode every JPEG again with this quality. By default only images above ``SIDE``
            are encoded again.

    Raises:
        InputError: The file is no COCO annotation file, or nothing in it is usable.
    """
    folder, own = annotations.parent / "images", LoadReport()
    content = read_annotations(annotations)
    entries, people = _people_by_image(annotations, content, own)

    def one(entry: dict) -> AnnotatedImage | None:
        labels = people.get(entry["id"], [])
        return _read_image(
            folder, entry, labels, holdout and is_tuning_image(entry["id"]), quality, own
        )

    pack = _pack(entries, one, own)
    if not own.images:
        raise InputError(
            f"{annotations}: none of its {len(content['images'])} images is usable; they are "
            f"expected in {folder}: {'; '.join(own.listed())}"
        )
    # a file without people is a correct file of negatives
    if content["annotations"] and not own.people and own.problems:
        raise InputError(
            f"{annotations}: none of its {len(content['annotations'])} annotations is a usable "
            f"person: {'; '.join(own.listed())}"
        )
    report.join(own)
    return pack


def read_negatives(folder: Path, report: LoadReport, *, quality: int | None = None) -> Pack:
    """Read a folder of images without people.

    Raises:
        InputError: The folder contains no images.
    """
    paths = sorted(p for p in folder.rglob("*") if is_image_file(p))
    if not paths:
        raise InputError(f"{folder}: expected a folder with images, found none")
    entries = [{"id": -1 - i, "file_name": p.relative_to(folder)} for i, p in enumerate(paths)]
    return _pack(entries, lambda e: _read_image(folder, e, [], False, quality, report), report)


def _pack(
    entries: list[dict], one: Callable[[dict], AnnotatedImage | None], report: LoadReport
) -> Pack:
    with ThreadPoolExecutor() as threads:
        images = [p for p in threads.map(one, entries) if p is not None]
    report.images += len(images)
    report.people += sum(len(p.area) for p in images)
    return Pack.of(images)


def _people_by_image(
    path: Path, content: dict, report: LoadReport
) -> tuple[list[dict], dict[int, list[dict]]]:
    """Return the usable image entries of a file, and the annotations of people by image id."""
    try:
        category = person_category(content)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    others = [int(c["id"]) for c in content.get("categories") or []]
    entries = {}
    for entry in content["images"]:
        named = isinstance(entry, dict) and isinstance(entry.get("file_name"), str)
        if not named or not isinstance(entry.get("id"), int) or abs(entry["id"]) >= 2**63:
            report.add("image entry without id (a number) or file_name", entry)
        elif entry["id"] in entries:
            report.add("image id given twice", entry["id"])
        else:
            entries[entry["id"]] = entry
    people = defaultdict(list)
    for label in content["annotations"]:
        owner = label.get("image_id") if isinstance(label, dict) else None
        if not isinstance(owner, int) or owner not in entries:
            report.add("annotation of an unknown image", label)
        elif (given := label.get("category_id", category)) == category:
            people[owner].append(label)
        elif given not in others:
            report.add("category_id (a number) of no category of the file", repr(given))
    return list(entries.values()), people


def _read_image(
    folder: Path,
    entry: dict,
    labels: list[dict],
    tune: bool,
    quality: int | None,
    report: LoadReport,
) -> AnnotatedImage | None:
    loaded = _load(folder / entry["file_name"], entry, report)
    return make_annotated_image(*loaded, entry, labels, report, tune, quality) if loaded else None


def make_annotated_image(
    data: bytes,
    image: np.ndarray,
    entry: dict,
    labels: list[dict],
    report: LoadReport,
    tune: bool = False,
    quality: int | None = None,
) -> AnnotatedImage:
    """Return one image with its labels at the stored size.

    Args:
        data: JPEG or PNG file.
        image: (H, W, 3) decoded file.
        entry: COCO entry of the image.
        labels: COCO annotations of the image.
        report: Counts problems.
        tune: The image belongs to the tuning split.
        quality: See ``read_coco``.
    """
    height, width = image.shape[:2]
    scale = min(1.0, SIDE / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    if scale < 1:
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    if scale < 1 or quality is not None or not data.startswith(JPEG):
        options = [cv2.IMWRITE_JPEG_QUALITY, quality or QUALITY, cv2.IMWRITE_JPEG_OPTIMIZE, 1]
        data = cv2.imencode(".jpg", image, options)[1].tobytes()
    people = [p for p in (_person(a, (width, height), size, report) for a in labels) if p]
    crowds = [p for p in people if p.crowd]
    people = sorted((p for p in people if not p.crowd), key=lambda p: -p.area)
    complete = entry.get("masks_complete", True) or bool(crowds)
    if len(people) >= MAX_PEOPLE:  # one row stays free for a pasted person
        report.add(f"more than {MAX_PEOPLE - 1} people", entry["file_name"])
        crowds, people = crowds + people[MAX_PEOPLE - 1 :], people[: MAX_PEOPLE - 1]
    persons_complete = entry.get("persons_complete", True)
    owner, ignore = _maps(size, people, crowds, complete, persons_complete)
    return AnnotatedImage(
        int(entry["id"]),
        tune,
        data,
        owner,
        ignore,
        np.array([p.keypoints for p in people], np.float32).reshape(-1, K, 3),
        np.array([p.area for p in people], np.float32),
        np.array([p.box for p in people], np.float32).reshape(-1, 4),
        np.array([p.weight for p in people], np.float32),
    )


def _load(path: Path, entry: dict, report: LoadReport) -> tuple[bytes, np.ndarray] | None:
    try:
        data = path.read_bytes()
    except OSError:
        report.add("image missing", path.name)
        return None
    # labels refer to the stored pixels, not to the orientation of the camera
    image = decode_image(data, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    if image is None:
        report.add("image damaged or truncated", path.name)
        return None
    size = (entry.get("height", image.shape[0]), entry.get("width", image.shape[1]))
    if size != image.shape[:2]:
        report.add("image size differs from its entry", path.name)
        return None
    return data, image


@dataclass(frozen=True)
class _Label:
    box: tuple[float, float, float, float]  # x1, y1, x2, y2, stored pixels
    mask: np.ndarray | None  # (H, W) bool, stored size
    keypoints: np.ndarray  # (17, 3)
    area: float  # stored pixels²
    weight: float
    crowd: bool

    @property
    def has_human_keypoints(self) -> bool:
        """Return True if a human has set keypoints; the weight of pseudo keypoints is below 1."""
        return bool((self.keypoints[:, 2] >= 1).any())


def _person(
    label: dict, size: tuple[int, int], stored: tuple[int, int], report: LoadReport
) -> _Label | None:
    scale = np.array(stored, np.float32) / size
    try:
        x, y, w, h = (float(v) for v in label["bbox"])
        if not np.isfinite([x, y, w, h]).all():
            raise ValueError
    except (KeyError, TypeError, ValueError, OverflowError):
        report.add("annotation without bbox", label.get("id"))
        return None
    x1, y1 = max(0.0, x), max(0.0, y)
    x2, y2 = min(float(size[0]), x + w), min(float(size[1]), y + h)
    if not (x2 - x1 > 0 and y2 - y1 > 0):
        report.add("empty box", label.get("id"))
        return None
    mask = _mask(label, size, stored, report)
    weight = 0.0 if mask is None else 1.0
    if mask is not None and label.get("pseudo_mask"):
        confidence = _number(label, "mask_conf", 0.0, report)
        share = (confidence - PSEUDO_FLOOR) / (PSEUDO_FULL - PSEUDO_FLOOR)
        weight = float(np.clip(share, 0, PSEUDO_MOST))
        mask = mask if weight > 0 else None
    area = _number(label, "area", TYPICAL_FILL * (x2 - x1) * (y2 - y1), report)
    return _Label(
        box=(x1 * scale[0], y1 * scale[1], x2 * scale[0], y2 * scale[1]),
        mask=mask,
        keypoints=_all_keypoints(label, size, scale, report),
        area=area * float(scale.prod()),
        weight=weight,
        crowd=bool(label.get("iscrowd")),
    )


def _number(label: dict, name: str, otherwise: float, report: LoadReport) -> float:
    """Return a positive number of an annotation; ``otherwise`` if it is missing, 0 or invalid."""
    given = label.get(name) or otherwise
    try:
        value = float(given)
    except (TypeError, ValueError, OverflowError):
        value = np.nan
    if np.isfinite(value) and value >= 0:
        return value
    report.add(f"{name} is not a number of 0 or more", label.get("id"))
    return otherwise


def _all_keypoints(
    label: dict, size: tuple[int, int], scale: np.ndarray, report: LoadReport
) -> np.ndarray:
    """Return human keypoints (17, 3), or pseudo keypoints if there are none.

    The third column is 0 (unknown), 1 (hidden), 2 (visible), or the weight of a pseudo keypoint,
    which lies between 0 and 1.
    """
    points = _keypoints(label, size, scale, report)
    given = label.get("keypoints_pseudo")
    if not given or points.any():
        return points
    try:
        pseudo = np.array(given, np.float32).reshape(K, 3)
    except (TypeError, ValueError, OverflowError):
        report.add(f"keypoints_pseudo are not {K} x 3 numbers", label.get("id"))
        return points
    inside = (pseudo[:, :2] >= -0.5).all(axis=1) & (pseudo[:, :2] < np.array(size) - 0.5).all(
        axis=1
    )
    weight = (pseudo[:, 2] - POINT_FLOOR) / (POINT_FULL - POINT_FLOOR)
    weight = POINT_MOST * np.clip(np.nan_to_num(weight), 0, 1) * inside
    xy = (pseudo[:, :2] + 0.5) * scale - 0.5
    return np.where(weight[:, None] > 0, np.column_stack([xy, weight]), 0).astype(np.float32)


def _keypoints(
    label: dict, size: tuple[int, int], scale: np.ndarray, report: LoadReport
) -> np.ndarray:
    points = np.zeros((K, 3), np.float32)
    given = label.get("keypoints") or [0] * (3 * K)
    try:
        points[:] = np.array(given, np.float32).reshape(K, 3)
    except (TypeError, ValueError, OverflowError):
        report.add(f"keypoints are not {K} x 3 numbers", label.get("id"))
        return points
    outside = (points[:, :2] < -0.5).any(axis=1) | (points[:, :2] > np.array(size)).any(axis=1)
    wrong = (outside | ~np.isin(points[:, 2], (0, 1, 2))) & (points[:, 2] != 0)
    if wrong.any() or not np.isfinite(points).all():
        report.add("keypoint outside its image or v not 0, 1, 2", label.get("id"))
        points[wrong | ~np.isfinite(points).all(axis=1)] = 0
    points[:, :2] = (points[:, :2] + 0.5) * scale - 0.5
    points[points[:, 2] == 0] = 0
    return points


def _mask(
    label: dict, size: tuple[int, int], stored: tuple[int, int], report: LoadReport
) -> np.ndarray | None:
    """Return the mask (H, W) bool at the stored size, or None if there is none (unknown)."""
    from pycocotools import mask as coco

    shape = label.get("segmentation")
    if not shape:
        return None
    try:
        if isinstance(shape, list):
            factor = np.tile(np.array(stored) / size, 2)
            rings = [
                (np.array(corners(r)).reshape(-1, 2) * factor[:2]).ravel().tolist()
                for r in shape
                if len(r) >= 6
            ]
            code = coco.merge(coco.frPyObjects(rings, stored[1], stored[0]))
        else:
            check_runs(shape, shape["size"])
            whole = isinstance(shape["counts"], list)
            code = coco.frPyObjects(shape, *shape["size"]) if whole else shape
        mask = coco.decode(code)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError):
        report.add("segmentation unreadable", label.get("id"))
        return None
    wrong = mask.shape != (stored[1], stored[0])
    if wrong and mask.shape == (size[1], size[0]):
        mask = cv2.resize(mask, stored, interpolation=cv2.INTER_AREA)
    elif wrong:
        report.add("segmentation size differs from its image", label.get("id"))
        return None
    return mask > 0 if mask.any() else None


def _maps(
    size: tuple[int, int],
    people: list[_Label],
    crowds: Iterable[_Label],
    complete: bool,
    persons_complete: bool = True,
) -> tuple[np.ndarray, np.ndarray]:
    owner = np.zeros(size[::-1], np.uint8)
    for row, person in enumerate(people, start=1):
        if person.mask is not None:
            owner[person.mask] = np.where(owner[person.mask] > 0, OVERLAP, row)
    ignore = np.zeros_like(owner)
    if not persons_complete or (not complete and len(people) >= CROWDED_FROM):
        ignore[:] = SEG_UNKNOWN | POSE_UNKNOWN
        for person in people:
            ignore[_box_slices(person.box)] = 0
    for row, person in enumerate(people, start=1):
        box = _box_slices(person.box)
        others = (owner[box] > 0) & (owner[box] != row)
        mine = owner[box] == row
        if person.weight < 0.5:
            ignore[box] |= np.where(mine | others, 0, SEG_UNKNOWN).astype(np.uint8)
        if not person.has_human_keypoints:
            ignore[box] |= np.where(others, 0, POSE_UNKNOWN).astype(np.uint8)
            ignore[owner == row] |= POSE_UNKNOWN
    for crowd in crowds:
        if crowd.mask is not None:
            ignore[crowd.mask] |= SEG_UNKNOWN | POSE_UNKNOWN
        else:
            ignore[_box_slices(crowd.box)] |= SEG_UNKNOWN | POSE_UNKNOWN
    ignore[owner > 0] &= ~np.uint8(SEG_UNKNOWN)  # a mask is known
    return owner, ignore


def _box_slices(box: tuple[float, float, float, float]) -> tuple[slice, slice]:
    x1, y1, x2, y2 = box
    return slice(int(y1), int(np.ceil(y2))), slice(int(x1), int(np.ceil(x2)))

"""Load images with a COCO annotation file; check and complete it before anything is computed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kdc_core.errors import InputError
from kdc_core.io import check_runs, corners, person_category, read_annotations, read_image
from kdc_core.skeleton import K
from kdc_core.types import Frame


@dataclass(frozen=True)
class Dataset:
    """Images in the order of the file, and all annotations of people.

    Annotations have ``iscrowd``, ``keypoints``, ``num_keypoints`` and ``area`` filled in. A
    ``segmentation`` of ``[]`` means that the mask is unknown, not that it is empty. ``pseudo_mask``
    is True if a network made the mask.
    """

    folder: Path
    file: Path
    person: int  # category id
    images: list[dict[str, Any]]
    people: dict[int, list[dict[str, Any]]]  # by image id

    def __len__(self) -> int:
        return len(self.images)

    @property
    def reads(self) -> tuple[Path, ...]:
        """Return the annotation file and the images."""
        return (self.file, *(self.folder / entry["file_name"] for entry in self.images))

    def frames(self) -> Iterator[tuple[int, Frame]]:
        """Yield (image id, frame) of every image; ``frame_id`` of the frame is the file name.

        Raises:
            InputError: an image cannot be read, or its size differs from the annotation file's.
        """
        for index, entry in enumerate(self.images):
            path = self.folder / entry["file_name"]
            image = read_image(path, as_stored=True)
            if image.shape[:2] != (entry["height"], entry["width"]):
                raise InputError(
                    f"{path}: expected {entry['width']}x{entry['height']} pixels as in "
                    f"{self.file.name}, got {image.shape[1]}x{image.shape[0]}"
                )
            yield entry["id"], Frame(image, float(index), entry["file_name"])

    def first(self, count: int) -> Dataset:
        """Return a dataset of the first ``count`` images (all if ``count`` is 0)."""
        return self._with(self.images[:count] if count else self.images)

    def only(self, ids: Collection[int]) -> Dataset:
        """Return a dataset of the images with the given ids."""
        kept = set(ids)
        return self._with([entry for entry in self.images if entry["id"] in kept])

    def _with(self, images: list[dict[str, Any]]) -> Dataset:
        people = {entry["id"]: self.people[entry["id"]] for entry in images}
        return Dataset(self.folder, self.file, self.person, images, people)


def load(folder: Path, file: Path, allow_empty: bool = False) -> Dataset:
    """Read an annotation file and check that its images exist.

    Args:
        folder: of the images.
        file: annotations in COCO's format.
        allow_empty: accept a file without annotated people, which cannot be evaluated.

    Raises:
        InputError: a file or an entry is missing or malformed.
    """
    content = read_annotations(file)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder of images")
    try:
        images = [_image(entry) for entry in content["images"]]
        person = person_category(content)
        sizes = {entry["id"]: (entry["height"], entry["width"]) for entry in images}
        if len(sizes) < len(images):  # else its predictions would count twice, but its people once
            twice = next(i for i, count in Counter(e["id"] for e in images).items() if count > 1)
            raise InputError(f"image id {twice} is given twice")
        people: dict[int, list[dict[str, Any]]] = {number: [] for number in sizes}
        for entry in content["annotations"]:
            if int(entry["category_id"]) == person and (n := int(entry["image_id"])) in people:
                people[n].append(_annotation(entry, sizes[n]))
    except (KeyError, TypeError, AttributeError, IndexError, OverflowError) as error:
        raise InputError(
            f"{file}: an entry does not have COCO's format: {type(error).__name__} {error}"
        ) from None
    except ValueError as error:
        raise InputError(f"{file}: {error}") from None
    if not allow_empty and not any(people.values()):
        raise InputError(
            f"{file}: expected annotated people; none of its {len(content['annotations'])} "
            f"annotations has category_id {person} and the image_id of one of its images"
        )
    missing = [e["file_name"] for e in images if not (folder / e["file_name"]).is_file()]
    if missing:
        raise InputError(
            f"{folder}: {len(missing)} of {len(images)} images of {file.name} are missing, "
            f"e.g. {missing[0]}"
        )
    return Dataset(folder, file, person, images, people)


def _image(entry: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": int(entry["id"]),
        "file_name": str(entry["file_name"]),
        "width": int(entry["width"]),
        "height": int(entry["height"]),
    }


def _annotation(entry: dict[str, Any], size: tuple[int, int]) -> dict[str, Any]:
    keypoints = list(entry.get("keypoints") or [0] * (3 * K))
    if len(keypoints) != 3 * K:
        raise InputError(
            f"annotation {entry['id']}: expected {3 * K} keypoint numbers, got {len(keypoints)}"
        )
    keypoints = _finite(entry, "keypoints", keypoints)
    x, y, width, height = _finite(entry, "bbox", entry["bbox"])
    try:
        corners([x, y, x + width, y + height])
    except InputError as error:
        raise InputError(f"annotation {entry['id']}: bbox: {error}") from None
    (area,) = _finite(entry, "area", [entry.get("area") or width * height])
    if area < 0:  # it would belong to no size of people, and every match would be wrong
        raise InputError(f"annotation {entry['id']}: area: expected 0 or more, got {area}")
    labelled = int(np.count_nonzero(np.array(keypoints[2::3]) > 0))
    return {
        "id": int(entry["id"]),
        "image_id": int(entry["image_id"]),
        "category_id": int(entry["category_id"]),
        "bbox": [x, y, width, height],
        "area": area,
        "iscrowd": int(entry.get("iscrowd") or 0),
        "keypoints": keypoints,
        "num_keypoints": labelled,
        "segmentation": _segmentation(entry, size),
        "pseudo_mask": bool(entry.get("pseudo_mask")),
    }


def _finite(entry: dict[str, Any], name: str, values: Iterable[Any]) -> list[float]:
    numbers = [float(value) for value in values]
    if not np.isfinite(numbers).all():
        raise InputError(f"annotation {entry['id']}: {name}: expected finite numbers")
    return numbers


def _segmentation(entry: dict[str, Any], size: tuple[int, int]) -> Any:
    """Return an RLE unchanged, polygons with at least three corners, ``[]`` (unknown) otherwise."""
    value = entry.get("segmentation")
    try:
        if isinstance(value, dict) and "counts" in value and "size" in value:
            check_runs(value, size)
            return value
        if isinstance(value, list):
            polygons = [corners(p) for p in value if isinstance(p, list) and len(p) >= 6]
            odd = next((len(p) for p in polygons if len(p) % 2), None)
            if odd is not None:
                raise InputError(f"expected polygons of pairs x, y, got one of {odd} numbers")
            return polygons
    except (TypeError, ValueError) as error:
        raise InputError(f"annotation {entry['id']}: segmentation: {error}") from None
    return []

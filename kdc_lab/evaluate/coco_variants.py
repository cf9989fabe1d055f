"""Load annotation formats that are close to COCO's: OCHuman, CrowdPose, Pose2Seg's subsets."""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as rle

from kdc_core.errors import InputError
from kdc_core.io import corners, read_annotations
from kdc_core.skeleton import KEYPOINTS, K
from kdc_lab.evaluate import annotated_images
from kdc_lab.evaluate.annotated_images import Dataset

#: OCHuman's visibility → COCO's: self-occluded counts as visible, as in OCHuman's own conversion
OCHUMAN_SEEN = {0: 0, 1: 2, 2: 2, 3: 1}
SMALL = 32**2  # pixels², COCO's bound of small people


def load(folder: Path, file: Path) -> tuple[Dataset, str]:
    """Load a dataset in any of the formats, and return it with the format's name.

    COCO and Pose2Seg's subsets of it are read without conversion. OCHuman's own file and CrowdPose
    are converted: keypoints that COCO lacks are left out, and keypoints that only COCO has are
    unlabelled. CrowdPose has no masks.

    Raises:
        InputError: a file or an entry is missing or malformed.
    """
    content = _read(file)
    convert = {"OCHuman": _ochuman, "CrowdPose": _crowdpose}.get(kind := _kind(content))
    if convert is None:
        return annotated_images.load(folder, file), kind
    try:
        converted = convert(content)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError) as error:
        raise InputError(
            f"{file}: an entry does not have the format of {kind}: {type(error).__name__} {error}"
        ) from None
    with tempfile.TemporaryDirectory() as place:
        coco = Path(place) / file.name
        coco.write_text(json.dumps(converted), encoding="utf-8")
        return replace(annotated_images.load(folder, coco), file=file), kind


def without_small(people: Dataset) -> Dataset:
    """Return the dataset with only people that have keypoints and are not small, as COCOPersons.

    The others become regions where a prediction is neither right nor wrong.
    """
    chosen = {
        image: [_ignored_if_small(entry) for entry in entries]
        for image, entries in people.people.items()
    }
    return replace(people, people=chosen)


def _ignored_if_small(entry: dict[str, Any]) -> dict[str, Any]:
    small = entry["area"] < SMALL or not entry["num_keypoints"]
    return {**entry, "iscrowd": 1} if small else entry


def _read(file: Path) -> dict[str, Any]:
    """Read as ``read_annotations`` does, also files whose annotations are inside their images."""
    if file.is_file():
        try:
            content = json.loads(file.read_bytes())
        except (ValueError, RecursionError):
            content = None
        if isinstance(content, dict) and "keypoint_names" in content:
            if not isinstance(content.get("images"), list):
                raise InputError(f"{file}: expected an OCHuman file, got no list `images` in it")
            return content
    return read_annotations(file)


def _kind(content: dict[str, Any]) -> str:
    if "keypoint_names" in content:
        return "OCHuman"
    names = _names(content)
    return "CrowdPose" if names and len(names) == 14 and "neck" in names else "COCO"


def _names(content: dict[str, Any]) -> list[str]:
    categories = content.get("categories")
    first = categories[0] if isinstance(categories, list) and categories else {}
    first = first if isinstance(first, dict) else {}
    names = first.get("keypoints")
    return [str(name) for name in names] if isinstance(names, list) else []


def _crowdpose(content: dict[str, Any]) -> dict[str, Any]:
    names = _names(content)
    annotations = []
    for entry in content["annotations"]:
        x, y, width, height = entry["bbox"]
        annotations.append(
            {
                "id": entry["id"],
                "image_id": entry["image_id"],
                "category_id": 1,
                "bbox": [x, y, width, height],
                "iscrowd": entry.get("iscrowd", 0),
                "area": entry.get("area") or width * height,
                "segmentation": [],
                "keypoints": _by_name(entry["keypoints"], names, {0: 0, 1: 1, 2: 2}),
            }
        )
    return {"images": content["images"], "annotations": annotations, "categories": _PERSON}


def _ochuman(content: dict[str, Any]) -> dict[str, Any]:
    names = content["keypoint_names"]
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, image in enumerate(content["images"], 1):
        images.append({**{k: image[k] for k in ("file_name", "width", "height")}, "id": number})
        for entry in image["annotations"]:
            x1, y1, x2, y2 = entry["bbox"]
            points = [0.0] * (3 * K)
            if entry.get("keypoints"):
                points = _by_name(entry["keypoints"], names, OCHUMAN_SEEN)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": 1,
                    "iscrowd": 0,
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "area": (x2 - x1) * (y2 - y1),
                    "segmentation": _ochuman_mask(entry.get("segms")),
                    "keypoints": points,
                }
            )
    return {"images": images, "annotations": annotations, "categories": _PERSON}


def _ochuman_mask(shape: dict[str, Any] | None) -> Any:
    """Return outer minus inner polygons as an RLE that JSON can hold; [] for none."""
    if not shape or not shape["outer"]:
        return []
    size = (int(shape["height"]), int(shape["width"]))
    outer, inner = (list(map(corners, shape[which])) for which in ("outer", "inner"))
    mask = rle.decode(rle.merge(rle.frPyObjects(outer, *size)))
    if inner:
        mask[rle.decode(rle.merge(rle.frPyObjects(inner, *size))) > 0] = 0
    packed = rle.encode(np.asfortranarray(mask))
    return {"size": list(size), "counts": packed["counts"].decode()}


def _by_name(points: list[float], names: list[str], seen: dict[int, int]) -> list[float]:
    """Return COCO's keypoints from a list with other names; missing ones are 0, 0, 0."""
    found: list[float] = []
    for name in KEYPOINTS:
        at = 3 * names.index(name) if name in names else -1
        x, y, v = points[at : at + 3] if at >= 0 else (0, 0, 0)
        found += [x, y, seen[int(v)]] if seen[int(v)] else [0, 0, 0]
    return found


_PERSON = [{"id": 1, "name": "person", "keypoints": list(KEYPOINTS)}]

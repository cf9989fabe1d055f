"""Read the ground truth of a recording: from the recording itself, a COCO file, or MOTS text.

Every form becomes lists of COCO annotations with a ``track_id``; the id is None if unknown.
"""

from __future__ import annotations

from bisect import bisect_left
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as rle

from kdc_core.errors import InputError
from kdc_core.io import TYPICAL_FILL, check_runs, person_category, read_annotations
from kdc_core.skeleton import K
from kdc_core.topics import camera_namespaces
from kdc_core.types import People, Phase
from kdc_lab.evaluate import as_rle
from kdc_lab.replay import cdr_messages
from kdc_lab.replay.bag import Bag

Annotations = list[dict[str, Any]]
TOLERANCE = 500_000  # ns: stamps written as decimal seconds differ from the image's by this
IGNORED, PEDESTRIAN = 10, 2  # classes of MOTS text, whose ids are class * 1000 + number


class Truth:
    """Annotations by camera, and then by stamp (ns) or by index of the frame, from 0."""

    def __init__(self) -> None:
        """Create an empty ground truth."""
        self.by_stamp: dict[str, dict[int, Annotations | None]] = {}
        self.by_index: dict[str, dict[int, Annotations]] = {}
        self._sorted: dict[str, list[int]] = {}

    def __bool__(self) -> bool:
        """Return True if there is a ground truth for a camera."""
        return bool(self.by_stamp or self.by_index)

    def add(self, topic: str, stamp: int, entries: Annotations) -> None:
        """Add the annotations of one stamp.

        A clock that was set back can give one stamp to two images. If their annotations differ,
        both are unknown.
        """
        known = self.by_stamp.setdefault(topic, {})
        known[stamp] = entries if known.get(stamp, entries) == entries else None

    def find(self, topic: str, stamp: int, index: int) -> Annotations | None:
        """Return the annotations of one image; None if it has none, or if they are ambiguous."""
        if topic in self.by_index:
            return self.by_index[topic].get(index, [])
        known = self.by_stamp.get(topic, {})
        if stamp in known:
            return known[stamp]
        stamps = self._sorted.setdefault(topic, sorted(known))
        at = bisect_left(stamps, stamp)
        near = [s for s in stamps[max(0, at - 1) : at + 1] if abs(s - stamp) <= TOLERANCE]
        return known[min(near, key=lambda s: abs(s - stamp))] if near else None


def load(bag: Bag, prefixes: dict[str, str], file: Path | None, topic: str) -> Truth:
    """Load the ground truth.

    Args:
        bag: the recording.
        prefixes: cameras: image topic → namespace of its outputs.
        file: COCO file whose images have ``stamp`` (seconds) or ``stamp_ns``, or MOTS text; None:
            read it from the recording.
        topic: of PersonArrays in the recording, with their label images beside them on ``…/mask``;
            empty: ``…/truth/persons`` of each camera.

    Raises:
        InputError: the file is neither, or does not say to which of several cameras it belongs.
    """
    truth = Truth()
    if file is not None and file.suffix == ".json":
        _coco(truth, file, list(prefixes))
    elif file is not None:
        _mots(truth, file, list(prefixes))
    else:
        if topic:
            _refuse_several(topic, "PersonArrays of one topic are", list(prefixes))
        if topic and topic not in bag.topics:
            bag.skipped.add(topic, "not in the recording")
        names = list(prefixes)
        for camera, namespace in zip(names, camera_namespaces(names), strict=True):
            persons = topic or f"{namespace}/truth/persons"
            _recorded(truth, bag, camera, persons)
    for camera, known in truth.by_stamp.items():
        for stamp in (stamp for stamp, entries in known.items() if entries is None):
            bag.skipped.add(camera, "two ground truths have the same stamp", stamp)
    return truth


def _refuse_several(truth: Path | str, what: str, cameras: list[str]) -> None:
    """Refuse the ground truth of one camera for several ones, even if the stamps agree."""
    if len(cameras) != 1:
        raise InputError(
            f"{truth}: {what} for one camera, got {', '.join(cameras)}; choose one with --topic"
        )


def _recorded(truth: Truth, bag: Bag, camera: str, persons: str) -> None:
    """Read the topics of the ground truth, if the recording has them."""
    if bag.topics.get(persons) != cdr_messages.PERSONS:
        if persons in bag.topics:
            bag.skipped.add(persons, f"not a PersonArray: {bag.topics[persons]}")
        return
    mask = f"{persons.rpartition('/')[0]}/mask"
    arrays: dict[int, Any] = {}
    truth.by_stamp.setdefault(camera, {})
    labels: dict[int, np.ndarray] = {}
    for message in bag.messages({persons, mask}):
        try:
            content = cdr_messages.decode(message.data, message.kind)
            stamp = cdr_messages.stamp_of(content.header)
            if message.topic == persons:
                arrays[stamp] = content
            else:
                labels[stamp] = cdr_messages.labels_of(content)
            if stamp in arrays and (stamp in labels or mask not in bag.topics):
                people = cdr_messages.people_of(arrays.pop(stamp), labels.pop(stamp, None))
                truth.add(camera, stamp, of_people(people))
        except (InputError, AttributeError) as error:  # AttributeError: a message of another type
            bag.skipped.add(message.topic, "ground truth does not decode", error)
    for stamp, content in arrays.items():  # without a label image
        try:
            truth.add(camera, stamp, of_people(cdr_messages.people_of(content, None)))
        except InputError as error:
            bag.skipped.add(persons, "ground truth does not decode", error)


def of_people(people: People) -> Annotations:
    """Return people as annotations; people that are not visible are left out."""
    known = bool(people.labels.any())
    found = []
    for row, number in enumerate(people.ids.tolist()):
        own = people.mask(row)
        if people.phase[row] >= Phase.OCCLUDED or (known and not own.any()):
            continue
        points = people.keypoints[row].astype(float)
        v = np.where(people.visible[row], 2, (points[:, 2] > 0).astype(int))
        shape = rle.encode(np.asfortranarray(own, np.uint8)) if known else []
        keypoints = np.concatenate([points[:, :2], v[:, None]], axis=1)
        found.append(_annotation(number, people.boxes[row].tolist(), shape, keypoints))
    return found


def _annotation(
    number: int | None, box: list[float], shape: Any, keypoints: np.ndarray, crowd: bool = False
) -> dict[str, Any]:
    """Return one annotation; ``box`` is x1, y1, x2, y2, ``keypoints`` (17, 3)."""
    x1, y1, x2, y2 = box
    area = float(rle.area(shape)) if shape else TYPICAL_FILL * (x2 - x1) * (y2 - y1)
    points = np.where(keypoints[:, 2:] > 0, keypoints, 0.0)
    return {
        "id": 0,
        "image_id": 0,
        "category_id": 1,
        "track_id": number,
        "iscrowd": int(crowd),
        "bbox": [x1, y1, x2 - x1, y2 - y1],
        "area": area,
        "segmentation": shape,
        "keypoints": points.ravel().tolist(),
        "num_keypoints": int(np.count_nonzero(points[:, 2])),
    }


def _coco(truth: Truth, file: Path, cameras: list[str]) -> None:
    content = read_annotations(file)
    try:
        person = person_category(content)
        images = {int(entry["id"]): entry for entry in content["images"]}
        lists: dict[int, Annotations] = {number: [] for number in images}
        for entry in content["annotations"]:
            if entry["category_id"] == person and entry["image_id"] in images:
                image = images[entry["image_id"]]
                lists[entry["image_id"]].append(_of_coco(entry, image))
        for number, image in images.items():
            for camera in [image["topic"]] if "topic" in image else cameras:
                truth.add(camera, _stamp(image), lists[number])
    except InputError as error:
        raise InputError(f"{file}: {error}") from None
    except (
        KeyError,
        TypeError,
        ValueError,
        AttributeError,
        IndexError,
        OverflowError,
        InvalidOperation,
    ) as error:
        raise InputError(
            f"{file}: expected COCO annotations whose images have `stamp` (seconds) or `stamp_ns`: "
            f"{type(error).__name__} {error}"
        ) from None
    if any("topic" not in image for image in images.values()):
        _refuse_several(file, "images without `topic` are", cameras)


def _stamp(image: dict[str, Any]) -> int:
    if "stamp_ns" in image:
        return int(image["stamp_ns"])
    return int(Decimal(str(image["stamp"])) * cdr_messages.NS)


def _of_coco(entry: dict[str, Any], image: dict[str, Any]) -> dict[str, Any]:
    x, y, width, height = (float(value) for value in entry["bbox"])
    shape = entry.get("segmentation") or []
    if shape:
        size = int(image["height"]), int(image["width"])
        if isinstance(shape, dict):
            check_runs(shape, size)
        shape = as_rle(shape, size)
    points = np.array(entry.get("keypoints") or [0] * (3 * K), float).reshape(K, 3)
    number = entry.get("track_id", entry.get("instance_id"))
    crowd = bool(entry.get("iscrowd"))
    made = _annotation(number, [x, y, x + width, y + height], shape, points, crowd)
    return {**made, "area": float(entry.get("area") or made["area"])}


def _mots(truth: Truth, file: Path, cameras: list[str]) -> None:
    """Read MOTS text: lines of ``frame id class height width rle``; frames start at 0 or 1."""
    _refuse_several(file, "MOTS text is", cameras)
    if not file.is_file():
        raise InputError(f"{file}: no such file with the ground truth")
    try:
        lines = file.read_text("utf-8").splitlines()
    except UnicodeDecodeError:
        raise InputError(f"{file}: expected COCO annotations (.json) or MOTS text") from None
    frames: dict[int, Annotations] = {}
    for number, line in enumerate(lines, 1):
        try:
            frame, identity, kind, height, width = map(int, line.split(" ", 5)[:5])
            shape = {"size": [height, width], "counts": line.split(" ", 5)[5].encode()}
            check_runs(shape, (height, width))
            x, y, w, h = rle.toBbox(shape).tolist()
        except (ValueError, IndexError, OverflowError) as error:
            raise InputError(
                f"{file}:{number}: expected `frame id class height width rle`, got {line[:60]!r}: "
                f"{error}"
            ) from None
        if kind in (PEDESTRIAN, IGNORED):
            frames.setdefault(frame, []).append(
                _annotation(
                    identity, [x, y, x + w, y + h], shape, np.zeros((K, 3)), kind == IGNORED
                )
            )
    first = 0 if 0 in frames else 1
    truth.by_index[cameras[0]] = {frame - first: entries for frame, entries in frames.items()}

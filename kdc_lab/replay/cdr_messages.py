"""Encode and decode ROS messages without ROS: people, images and their types."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from rosbags.interfaces import Nodetype
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from kdc_core.errors import InputError
from kdc_core.io import ros_image
from kdc_core.person_rows import PersonRow, person_rows
from kdc_core.skeleton import K
from kdc_core.types import People

IMAGE, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
PERSON, PERSONS = "kdc_msgs/msg/Person", "kdc_msgs/msg/PersonArray"
SWITCH = "kdc_msgs/msg/CentroidSwitch"
NS = 1_000_000_000


@lru_cache(maxsize=1)
def store() -> Typestore:
    """Return the message types of ROS 2 and of kdc_msgs."""
    types = get_typestore(Stores.ROS2_JAZZY)
    for file in sorted((Path(__file__).parent / "msg").glob("*.msg")):
        types.register(get_types_from_msg(file.read_text("utf-8"), f"kdc_msgs/msg/{file.stem}"))
    return types


def decode(data: bytes, kind: str) -> Any:
    """Decode a message of type ``kind`` from CDR data.

    Raises:
        InputError: there are no data, or they are not of this type.
    """
    if not data:
        raise InputError("zero-length message")
    try:
        return store().deserialize_cdr(data, kind)
    except Exception as error:  # rosbags raises many kinds on broken data
        raise InputError(f"message does not decode: {type(error).__name__} {error}") from None


def encode(message: Any) -> bytes:
    """Encode a message as CDR data."""
    return bytes(store().serialize_cdr(message, message.__msgtype__))


def image_of(message: Any) -> np.ndarray:
    """Return the image (H, W, 3) uint8 BGR of an Image or CompressedImage.

    Raises:
        InputError: the encoding is unknown, or the data are broken.
    """
    if message.__msgtype__ == COMPRESSED:
        return ros_image.compressed_to_bgr(message)
    return ros_image.to_bgr(message)


def stamp_of(header: Any) -> int:
    """Return a header's stamp in nanoseconds; 0 means that there is none."""
    return int(header.stamp.sec) * NS + int(header.stamp.nanosec)


def header(stamp: int, frame_id: str) -> Any:
    """Return a std_msgs/Header with a stamp in ns."""
    time = _type("builtin_interfaces/msg/Time")(stamp // NS, stamp % NS)
    return _type("std_msgs/msg/Header")(time, frame_id)


def person_array(people: People, head: Any) -> Any:
    """Return a kdc_msgs/PersonArray of the people in a frame, best score first."""
    height, width = people.labels.shape
    persons = [_person(row) for row in person_rows(people)]
    return _type(PERSONS)(head, height, width, persons)


def label_image(labels: np.ndarray, head: Any) -> Any:
    """Return a sensor_msgs/Image, mono16: pixel = id, 0 = background."""
    height, width = labels.shape
    data = np.ascontiguousarray(labels, "<u2").view(np.uint8).ravel()
    return _type(IMAGE)(head, height, width, "mono16", 0, 2 * width, data)


def image_message(image: np.ndarray, head: Any) -> Any:
    """Return a sensor_msgs/Image, bgr8."""
    height, width = image.shape[:2]
    return _type(IMAGE)(head, height, width, "bgr8", 0, 3 * width, image.ravel())


def compressed_message(data: np.ndarray, form: str, head: Any) -> Any:
    """Return a sensor_msgs/CompressedImage of data (N,) uint8; ``form`` is jpeg or png."""
    return _type(COMPRESSED)(head, form, data)


def switch_message(identity: int, before: int, after: int, reason: str, head: Any) -> Any:
    """Return a kdc_msgs/CentroidSwitch."""
    return _type(SWITCH)(head, identity, before, after, reason)


def labels_of(message: Any) -> np.ndarray:
    """Return a label image (H, W) uint16 from a message, mono8 or mono16.

    Raises:
        InputError: the encoding is another one, or size and data do not fit together.
    """
    kinds = {"mono8": "u1", "8UC1": "u1", "mono16": "u2", "16UC1": "u2"}
    if message.encoding not in kinds:
        raise InputError(f"label image: expected mono8 or mono16, got {message.encoding!r}")
    return ros_image.pixels(message, ros_image.LAYOUTS[message.encoding]).astype(np.uint16)


def people_of(message: Any, labels: np.ndarray | None) -> People:
    """Return the people of a PersonArray: the inverse of ``person_array``.

    Args:
        message: the PersonArray.
        labels: (H, W) uint16 label image; None = unknown: no person has pixels.

    Raises:
        InputError: sizes or numbers cannot be those of people in an image.
    """
    shape = (int(message.height), int(message.width))
    if labels is None:
        if max(shape) > ros_image.MAX_SIDE or shape[0] * shape[1] > ros_image.MAX_PIXELS:
            raise InputError(f"PersonArray: {shape[1]}x{shape[0]} pixels are too many")
        labels = np.zeros(shape, np.uint16)
    elif labels.shape != shape:
        raise InputError(
            f"PersonArray: expected a label image of {shape[1]}x{shape[0]} pixels, got "
            f"{labels.shape[1]}x{labels.shape[0]}"
        )
    try:
        return _people(message.people, labels)
    except (ValueError, TypeError, OverflowError) as error:
        raise InputError(f"PersonArray: {error}") from None


def _people(people: list[Any], labels: np.ndarray) -> People:
    count = len(people)
    points = [[(k.x, k.y, k.confidence) for k in person.keypoints] for person in people]
    boxes = [
        (b.x_offset, b.y_offset, b.x_offset + b.width, b.y_offset + b.height)
        for b in (person.box for person in people)
    ]
    visible = [[k.visible for k in person.keypoints] for person in people]
    centroids = [(person.centroid_x, person.centroid_y) for person in people]
    return People(
        ids=np.array([person.id for person in people], int),
        score=np.array([person.score for person in people], np.float32),
        mask_score=np.array([person.mask_score for person in people], np.float32),
        keypoints=np.array(points, np.float32).reshape(count, K, 3),
        visible=np.array(visible, bool).reshape(count, K),
        boxes=np.array(boxes, np.float32).reshape(count, 4),
        centroid=np.array([person.centroid for person in people], int),
        centroid_xy=np.array(centroids, np.float32).reshape(count, 2),
        labels=labels,
        phase=np.array([person.phase for person in people], np.uint8),
    )


def _person(row: PersonRow) -> Any:
    keypoint = _type("kdc_msgs/msg/Keypoint")
    x, y, width, height = row.box
    points = zip(row.keypoints, row.visible, strict=True)
    fields = {
        "id": row.id,
        "phase": row.phase,
        "score": row.score,
        "mask_score": row.mask_score,
        "box": _type("sensor_msgs/msg/RegionOfInterest")(x, y, height, width, False),
        "keypoints": [keypoint(*point, visible) for point, visible in points],
        "centroid": row.centroid,
        "centroid_name": row.centroid_name,
        "centroid_x": row.centroid_xy[0],
        "centroid_y": row.centroid_xy[1],
    }
    return _type(PERSON)(**{**_blank(PERSON), **fields})


def _type(name: str) -> Any:
    return store().types[name]


def _blank(name: str) -> dict[str, Any]:
    """Return a message's fields with empty values, for fields that only some nodes set."""
    empty: dict[str, Any] = {}
    kind: Any
    for field, (node, kind) in store().fielddefs[name][1]:
        if node == Nodetype.NAME:
            empty[field] = _type(kind)(**_blank(kind))
        elif node == Nodetype.BASE:
            empty[field] = "" if kind[0] == "string" else 0
        else:
            empty[field] = np.zeros(0, np.uint8) if kind[0][0] == Nodetype.BASE else []
    return empty

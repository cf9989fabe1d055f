"""ROS messages without ROS: the types, people and pictures as they lie in recordings."""

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
    """ROS 2's own types and kdc_msgs."""
    types = get_typestore(Stores.ROS2_JAZZY)
    for file in sorted((Path(__file__).parent / "msg").glob("*.msg")):
        types.register(get_types_from_msg(file.read_text("utf-8"), f"kdc_msgs/msg/{file.stem}"))
    return types


def decode(data: bytes, kind: str) -> Any:
    """A message from its CDR data.

    Raises:
        ValueError: no data, or they are not of this type.
    """
    if not data:
        raise InputError("zero-length message")
    try:
        return store().deserialize_cdr(data, kind)
    except Exception as error:  # broken data make it raise all kinds
        raise InputError(f"message does not decode: {type(error).__name__} {error}") from None


def encode(message: Any) -> bytes:
    """CDR data of a message."""
    return bytes(store().serialize_cdr(message, message.__msgtype__))


def picture(message: Any) -> np.ndarray:
    """(H, W, 3) uint8 BGR of an Image or CompressedImage; ValueError if it has none."""
    if message.__msgtype__ == COMPRESSED:
        return ros_image.compressed_to_bgr(message)
    return ros_image.to_bgr(message)


def stamp_of(header: Any) -> int:
    """Nanoseconds of a header's stamp."""
    return int(header.stamp.sec) * NS + int(header.stamp.nanosec)


def header(stamp: int, frame_id: str) -> Any:
    """std_msgs/Header of a stamp in ns."""
    time = _type("builtin_interfaces/msg/Time")(stamp // NS, stamp % NS)
    return _type("std_msgs/msg/Header")(time, frame_id)


def person_array(people: People, head: Any) -> Any:
    """kdc_msgs/PersonArray of everybody in one frame, best score first."""
    height, width = people.labels.shape
    persons = [_person(row) for row in person_rows(people)]
    return _type(PERSONS)(head, height, width, persons)


def label_image(labels: np.ndarray, head: Any) -> Any:
    """sensor_msgs/Image, mono16: pixel = id, 0 = nobody."""
    height, width = labels.shape
    data = np.ascontiguousarray(labels, "<u2").view(np.uint8).ravel()
    return _type(IMAGE)(head, height, width, "mono16", 0, 2 * width, data)


def image_message(image: np.ndarray, head: Any) -> Any:
    """sensor_msgs/Image, bgr8."""
    height, width = image.shape[:2]
    return _type(IMAGE)(head, height, width, "bgr8", 0, 3 * width, image.ravel())


def compressed_message(data: np.ndarray, form: str, head: Any) -> Any:
    """sensor_msgs/CompressedImage of encoded data (N,) uint8; ``form`` is jpeg or png."""
    return _type(COMPRESSED)(head, form, data)


def switch_message(identity: int, before: int, after: int, reason: str, head: Any) -> Any:
    """kdc_msgs/CentroidSwitch."""
    return _type(SWITCH)(head, identity, before, after, reason)


def labels_of(message: Any) -> np.ndarray:
    """(H, W) uint16 of a label image, mono8 or mono16.

    Raises:
        ValueError: another encoding, or size and data do not fit together.
    """
    kinds = {"mono8": "u1", "8UC1": "u1", "mono16": "u2", "16UC1": "u2"}
    if message.encoding not in kinds:
        raise InputError(f"label image: expected mono8 or mono16, got {message.encoding!r}")
    return ros_image.pixels(message, ros_image.LAYOUTS[message.encoding]).astype(np.uint16)


def people_of(message: Any, labels: np.ndarray | None) -> People:
    """The inverse of ``person_array``; without a label image, nobody has pixels."""
    people = message.people
    count = len(people)
    shape = (int(message.height), int(message.width))
    points = [[(k.x, k.y, k.confidence) for k in one.keypoints] for one in people]
    boxes = [
        (b.x_offset, b.y_offset, b.x_offset + b.width, b.y_offset + b.height)
        for b in (one.box for one in people)
    ]
    places = [(one.centroid_x, one.centroid_y) for one in people]
    return People(
        ids=np.array([one.id for one in people], int),
        score=np.array([one.score for one in people], np.float32),
        mask_score=np.array([one.mask_score for one in people], np.float32),
        keypoints=np.array(points, np.float32).reshape(count, K, 3),
        visible=np.array([[k.visible for k in one.keypoints] for one in people], bool).reshape(
            count, K
        ),
        boxes=np.array(boxes, np.float32).reshape(count, 4),
        centroid=np.array([one.centroid for one in people], int),
        centroid_xy=np.array(places, np.float32).reshape(count, 2),
        labels=np.zeros(shape, np.uint16) if labels is None else labels,
        phase=np.array([one.phase for one in people], np.uint8),
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
    """Every field of a message, empty: for those that only some nodes fill in."""
    empty: dict[str, Any] = {}
    for field, (node, kind) in store().fielddefs[name][1]:
        if node == Nodetype.NAME:
            empty[field] = _type(kind)(**_blank(kind))
        elif node == Nodetype.BASE:
            empty[field] = "" if kind[0] == "string" else 0
        else:
            empty[field] = np.zeros(0, np.uint8) if kind[0][0] == Nodetype.BASE else []
    return empty

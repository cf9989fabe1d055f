"""Convert ROS images to arrays and back; cv_bridge adds the encodings that we do not read."""

from __future__ import annotations

import sys
from array import array

import cv2
import numpy as np
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from kdc_core.errors import InputError
from kdc_core.io import ENCODINGS, LAYOUTS, compressed_to_bgr, pixels, ros_image

__all__ = ["ENCODINGS", "compressed_to_bgr", "to_bgr", "to_jpeg", "to_message", "to_metres",
           "to_serialized"]  # fmt: skip


def to_bgr(message: Image) -> np.ndarray:
    """Picture of a message as (H, W, 3) uint8 BGR; a view into the message where it is BGR already.

    Raises:
        ValueError: unknown encoding, or sizes, step and data do not fit together.
    """
    return ros_image.to_bgr(message) if message.encoding in LAYOUTS else _by_cv_bridge(message)


def to_metres(message: Image) -> np.ndarray:
    """Depth (H, W) float32 in metres, NaN where it is unknown, of 16UC1 in mm or 32FC1 in m.

    Raises:
        ValueError: another encoding, or sizes, step and data do not fit together.
    """
    unit = {"16UC1": 1e-3, "mono16": 1e-3, "32FC1": 1.0}.get(message.encoding)
    if unit is None:
        raise InputError(
            f"depth: expected 16UC1 (millimetres) or 32FC1 (metres), got {message.encoding!r}"
        )
    metres = pixels(message, LAYOUTS[message.encoding]).astype(np.float32) * np.float32(unit)
    return np.where(np.isfinite(metres) & (metres > 0), metres, np.nan)


def to_jpeg(image: np.ndarray, header: Header, quality: int = 80) -> CompressedImage:
    """JPEG message of a (H, W, 3) BGR picture."""
    message = CompressedImage(header=header, format="bgr8; jpeg compressed bgr8")
    data = array("B")
    data.frombytes(cv2.imencode(".jpg", image, (cv2.IMWRITE_JPEG_QUALITY, quality))[1])
    message.data = data
    return message


def to_serialized(image: np.ndarray, encoding: str, header: Header) -> bytes:
    """As ``to_message``, but serialized: the pixels are copied once instead of four times.

    Raises:
        ValueError: the array's shape or type is not the encoding's.
    """
    head = serialize_message(_described(image, encoding, header))
    # the data are the last field, so an empty picture ends with their length: zero
    little = head[1] & 1
    length = image.nbytes.to_bytes(4, "little" if little else "big")
    return b"".join((head[:-4], length, memoryview(np.ascontiguousarray(image)).cast("B")))


def to_message(image: np.ndarray, encoding: str, header: Header) -> Image:
    """Image message of an array: bgr8 (H, W, 3) uint8, mono8 (H, W) uint8, mono16 (H, W) uint16.

    Raises:
        ValueError: the array's shape or type is not the encoding's.
    """
    message = _described(image, encoding, header)
    # the one portable way that copies twice instead of looping in Python over every byte
    data = array("B")
    data.frombytes(memoryview(np.ascontiguousarray(image)).cast("B"))
    message.data = data
    return message


def _described(image: np.ndarray, encoding: str, header: Header) -> Image:
    """Everything but the pixels."""
    layout = LAYOUTS[encoding]
    channels = 1 if image.ndim == 2 else image.shape[2]
    if image.dtype != np.dtype(layout.kind) or channels != layout.channels:
        raise InputError(f"{encoding} message: got an array of {image.shape} {image.dtype}")
    message = Image(header=header, encoding=encoding)
    message.height, message.width = image.shape[:2]
    # not its strides: those of a single row are the whole picture's that it was cut from
    message.step = message.width * channels * image.itemsize
    message.is_bigendian = int(sys.byteorder == "big")
    return message


def _by_cv_bridge(message: Image) -> np.ndarray:
    """What else a ROS installation knows: cv_bridge where it is there."""
    known = ", ".join(sorted(ENCODINGS))
    refusal = f"image: expected an encoding of {known}; got {message.encoding!r}"
    try:
        from cv_bridge import CvBridge
    except ImportError:
        raise InputError(refusal) from None
    try:
        return np.ascontiguousarray(CvBridge().imgmsg_to_cv2(message, "bgr8"))
    except Exception as error:  # its own, OpenCV's, KeyError, TypeError, ...
        raise InputError(f"{refusal}; cv_bridge: {' '.join(str(error).split())}") from None

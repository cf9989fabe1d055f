"""Convert ROS images to arrays and back; cv_bridge adds encodings that KDC does not read itself."""

from __future__ import annotations

import sys
from array import array

import cv2
import numpy as np
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from kdc_core.errors import InputError, one_line
from kdc_core.io import ENCODINGS, LAYOUTS, compressed_to_bgr, pixels, ros_image

__all__ = [
    "ENCODINGS",
    "compressed_to_bgr",
    "to_bgr",
    "to_jpeg",
    "to_message",
    "to_metres",
    "to_serialized",
]
DEPTH_UNITS = {"16UC1": 1e-3, "mono16": 1e-3, "32FC1": 1.0}  # metres; REP 118


def to_bgr(message: Image) -> np.ndarray:
    """Return the image of a message, (H, W, 3) uint8 BGR.

    It is a view into the message if the encoding is BGR already.

    Raises:
        InputError: the encoding is unknown, or sizes, step and data do not fit together.
    """
    return ros_image.to_bgr(message) if message.encoding in LAYOUTS else _by_cv_bridge(message)


def to_metres(message: Image) -> np.ndarray:
    """Return depth (H, W) float32 in metres, NaN where it is unknown.

    Args:
        message: 16UC1 in millimetres or 32FC1 in metres (REP 118).

    Raises:
        InputError: it has another encoding, or sizes, step and data do not fit together.
    """
    unit = DEPTH_UNITS.get(message.encoding)
    if unit is None:
        raise InputError(
            f"depth: expected 16UC1 (millimetres) or 32FC1 (metres), got {message.encoding!r}"
        )
    metres = pixels(message, LAYOUTS[message.encoding]).astype(np.float32) * np.float32(unit)
    return np.where(np.isfinite(metres) & (metres > 0), metres, np.nan)


def to_jpeg(image: np.ndarray, header: Header, quality: int = 80) -> CompressedImage:
    """Return the JPEG message of an image (H, W, 3) BGR.

    Args:
        image: uint8.
        header: of the message.
        quality: of JPEG, 0 to 100.
    """
    message = CompressedImage(header=header, format="bgr8; jpeg compressed bgr8")
    data = array("B")
    data.frombytes(cv2.imencode(".jpg", image, (cv2.IMWRITE_JPEG_QUALITY, quality))[1].data)
    message.data = data
    return message


def to_serialized(image: np.ndarray, encoding: str, header: Header) -> bytes:
    """Return ``to_message`` in serialized form: the pixels are copied once instead of four times.

    Raises:
        ValueError: shape or type of the array do not fit the encoding.
    """
    head = serialize_message(_without_data(image, encoding, header))
    # the data are the last field, so a message without data ends with their length: zero
    little = head[1] & 1
    length = image.nbytes.to_bytes(4, "little" if little else "big")
    return b"".join((head[:-4], length, np.ascontiguousarray(image).data.cast("B")))


def to_message(image: np.ndarray, encoding: str, header: Header) -> Image:
    """Return the message of an array.

    Args:
        image: (H, W, 3) uint8 for bgr8, (H, W) uint8 for mono8, (H, W) uint16 for mono16.
        encoding: of the message.
        header: of the message.

    Raises:
        ValueError: shape or type of the array do not fit the encoding.
    """
    message = _without_data(image, encoding, header)
    # the one portable way that copies twice instead of looping in Python over every byte
    data = array("B")
    data.frombytes(np.ascontiguousarray(image).data.cast("B"))
    message.data = data
    return message


def _without_data(image: np.ndarray, encoding: str, header: Header) -> Image:
    layout = LAYOUTS[encoding]
    channels = 1 if image.ndim == 2 else image.shape[2]
    if image.dtype != np.dtype(layout.kind) or channels != layout.channels:
        raise ValueError(
            f"{encoding} message: expected {layout.channels} channels of {np.dtype(layout.kind)}, "
            f"got an array of shape {image.shape} and type {image.dtype}"
        )
    message = Image(header=header, encoding=encoding)
    message.height, message.width = image.shape[:2]
    # not the array's strides: a single row that was cut out keeps those of the whole image
    message.step = message.width * channels * image.itemsize
    message.is_bigendian = int(sys.byteorder == "big")
    return message


def _by_cv_bridge(message: Image) -> np.ndarray:
    """Return an image in an encoding that only cv_bridge knows, where it is installed."""
    known = ", ".join(sorted(ENCODINGS))
    refusal = f"image: expected an encoding of {known}; got {message.encoding!r}"
    try:
        from cv_bridge import CvBridge
    except ImportError:
        raise InputError(refusal) from None
    try:
        return np.ascontiguousarray(CvBridge().imgmsg_to_cv2(message, "bgr8"))
    except Exception as error:  # its own, OpenCV's, KeyError, TypeError, ...
        raise InputError(f"{refusal}; cv_bridge: {one_line(error)}") from None

"""ROS pictures to arrays, without cv_bridge: honours ``step``, byte order and every encoding.

The messages may come from rclpy or from a bag: only their fields are read.

Grey and depth pictures become three equal channels, because the network wants colour:
``mono16`` has a known white (65535) and is scaled by it; ``16UC1`` and ``32FC1`` have none, so
they are stretched between the smallest and largest finite value of the picture.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import cv2
import numpy as np

from kdc_core.errors import InputError
from kdc_core.io.source import JPEG, PNG, decode_image, jpeg_segments

Buffer = Any  # array.array, bytes or a numpy array of bytes
MAX_SIDE = 16384  # pixels; more is a broken message, not a camera
MAX_PIXELS = 1 << 26  # of a compressed picture: a few broken bytes must not take gigabytes
_NO_SIZE = (0xC4, 0xC8, 0xCC)  # JPEG markers among the frame headers that are none


class Image(Protocol):
    """sensor_msgs/Image, as far as it is read here."""

    height: int
    width: int
    encoding: str
    is_bigendian: int
    step: int
    data: Buffer


class CompressedImage(Protocol):
    """sensor_msgs/CompressedImage, as far as it is read here."""

    format: str
    data: Buffer


class Layout(NamedTuple):
    """How an encoding lies in memory and becomes BGR."""

    kind: str  # numpy type character of one value
    channels: int  # values per pixel in a row
    to_bgr: Callable[[np.ndarray], np.ndarray]  # (rows, W, channels) or (rows, W) → (H, W, 3) uint8
    rows: float = 1.0  # rows of data per row of the picture: 1.5 for planar chroma
    even: str = ""  # "w": width must be even, "wh": height too


def to_bgr(message: Image) -> np.ndarray:
    """Picture of a message as (H, W, 3) uint8 BGR; a view into the message where it is BGR already.

    Raises:
        ValueError: unknown encoding, or sizes, step and data do not fit together.
    """
    layout = LAYOUTS.get(message.encoding)
    if layout is None:
        known = ", ".join(sorted(LAYOUTS))
        raise InputError(f"image: expected an encoding of {known}; got {message.encoding!r}")
    try:
        return np.ascontiguousarray(layout.to_bgr(pixels(message, layout)))
    except cv2.error as error:
        what = f"{message.width}x{message.height} {message.encoding}"
        raise InputError(f"image: {what} does not convert: {error.err}") from None


def compressed_to_bgr(message: CompressedImage) -> np.ndarray:
    """Picture of a JPEG or PNG message as (H, W, 3) uint8 BGR.

    As it lies, whatever EXIF says: its CameraInfo and depth are of the pixels as they are stored.
    A picture of a Bayer pattern is one grey picture, its format begins with the encoding of the
    raw one.

    Raises:
        ValueError: the data are of another kind, broken off, or a compressed depth picture.
    """
    if "compresseddepth" in message.format.lower():
        raise InputError("compressed image: expected a camera picture, got compressedDepth")
    data = bytes(message.data)
    if not data:
        raise InputError("compressed image: expected jpeg or png data, got none")
    width, height = _claimed_size(data)
    if max(width, height) > MAX_SIDE or width * height > MAX_PIXELS:
        raise InputError(f"compressed image: {width}x{height} pixels are no camera's picture")
    # other kinds, of which nobody has looked how much memory they ask for, are not even tried
    mosaic = _mosaic(message.format)
    how = cv2.IMREAD_GRAYSCALE if mosaic else cv2.IMREAD_COLOR
    image = decode_image(data, how | cv2.IMREAD_IGNORE_ORIENTATION) if width else None
    if image is None:
        raise InputError(
            f"compressed image: expected jpeg or png data, got {len(data)} bytes that are broken "
            f"off or of another kind (format {message.format!r})"
        )
    return to_bgr(_Grey(*image.shape, mosaic, 0, width, image)) if mosaic else image


def pixels(message: Image, layout: Layout) -> np.ndarray:
    """The data as (rows, W, channels), or (rows, W) for one channel, without the padding."""
    width, height, step = message.width, message.height, message.step
    if not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE):
        raise InputError(f"image: expected sides of 1 to {MAX_SIDE} pixels, got {width}x{height}")
    if ("w" in layout.even and width % 2) or ("h" in layout.even and height % 2):
        raise InputError(f"image: {message.encoding} needs even sides, got {width}x{height}")
    kind = np.dtype(layout.kind).newbyteorder(">" if message.is_bigendian else "<")
    row = width * layout.channels * kind.itemsize
    rows = int(height * layout.rows)
    if step < row or step % kind.itemsize:
        raise InputError(
            f"image: expected a step of at least {row} bytes for {width} pixels of "
            f"{message.encoding}, got {step}"
        )
    data = np.frombuffer(message.data, np.uint8)
    least, most = step * (rows - 1) + row, step * rows  # the last row's padding may be left out
    if not least <= data.size <= most:
        raise InputError(
            f"image: expected {most} bytes for {width}x{height} {message.encoding} with step "
            f"{step}, got {data.size}"
        )
    shape = (rows, width, layout.channels)[: 2 if layout.channels == 1 else 3]
    strides = (step, layout.channels * kind.itemsize, kind.itemsize)[: len(shape)]
    return np.ndarray(shape, kind, data, 0, strides)


class _Grey(NamedTuple):
    """A decoded Bayer pattern as the Image that it was."""

    height: int
    width: int
    encoding: str
    is_bigendian: int
    step: int
    data: np.ndarray


def _mosaic(form: str) -> str:
    """Encoding of the Bayer pattern that a compressed picture is of; empty: of none.

    image_transport writes "bayer_rggb8; jpeg compressed ", and where the pattern has become colours
    before, "bayer_rggb8; jpeg compressed bgr8".
    """
    encoding, _, how = form.partition(";")
    encoding = encoding.strip()
    known = encoding.startswith("bayer_") and encoding in LAYOUTS
    return encoding if known and not how.strip().endswith(("bgr8", "rgb8")) else ""


def _claimed_size(data: bytes) -> tuple[int, int]:
    """Width and height that the header of a PNG or JPEG speaks of; 0, 0 if there is none."""
    if data.startswith(PNG):
        return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    if not data.startswith(JPEG):
        return 0, 0
    for kind, at in jpeg_segments(data):
        if 0xC0 <= kind <= 0xCF and kind not in _NO_SIZE and at + 9 <= len(data):
            return data[at + 7] << 8 | data[at + 8], data[at + 5] << 8 | data[at + 6]
    return 0, 0


def _convert(code: int) -> Callable[[np.ndarray], np.ndarray]:
    return lambda image: cv2.cvtColor(np.ascontiguousarray(image), code)


def _shifted(order: tuple[int, int, int]) -> Callable[[np.ndarray], np.ndarray]:
    """16-bit colour: the high bytes, in BGR order."""
    return lambda image: (image[..., list(order)] >> 8).astype(np.uint8)


def _grey(image: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_GRAY2BGR)


def _scaled(image: np.ndarray) -> np.ndarray:
    """Full range of 16 bits to 8."""
    return _grey((image >> 8).astype(np.uint8))


def _stretched(image: np.ndarray) -> np.ndarray:
    """Smallest to largest finite value to 0…255; NaN and infinities become 0."""
    values = image.astype(np.float32)
    finite = np.isfinite(values)
    low, high = (values[finite].min(), values[finite].max()) if finite.any() else (0.0, 0.0)
    values[~finite] = low
    # halved, so that the span of two huge values does not overflow
    span = max(high / 2 - low / 2, np.finfo(np.float32).tiny)
    share = (values / 2 - low / 2) / span
    return _grey((share * 255).astype(np.uint8))


LAYOUTS = {
    "bgr8": Layout("u1", 3, lambda image: image),
    "8UC3": Layout("u1", 3, lambda image: image),
    "rgb8": Layout("u1", 3, _convert(cv2.COLOR_RGB2BGR)),
    "bgra8": Layout("u1", 4, _convert(cv2.COLOR_BGRA2BGR)),
    "8UC4": Layout("u1", 4, _convert(cv2.COLOR_BGRA2BGR)),
    "rgba8": Layout("u1", 4, _convert(cv2.COLOR_RGBA2BGR)),
    "bgr16": Layout("u2", 3, _shifted((0, 1, 2))),
    "rgb16": Layout("u2", 3, _shifted((2, 1, 0))),
    "mono8": Layout("u1", 1, _grey),
    "8UC1": Layout("u1", 1, _grey),
    "mono16": Layout("u2", 1, _scaled),
    "16UC1": Layout("u2", 1, _stretched),
    "32FC1": Layout("f4", 1, _stretched),
    # OpenCV names a pattern by the second row's second and third pixel
    "bayer_rggb8": Layout("u1", 1, _convert(cv2.COLOR_BayerBG2BGR), even="wh"),
    "bayer_bggr8": Layout("u1", 1, _convert(cv2.COLOR_BayerRG2BGR), even="wh"),
    "bayer_gbrg8": Layout("u1", 1, _convert(cv2.COLOR_BayerGR2BGR), even="wh"),
    "bayer_grbg8": Layout("u1", 1, _convert(cv2.COLOR_BayerGB2BGR), even="wh"),
    "yuv422": Layout("u1", 2, _convert(cv2.COLOR_YUV2BGR_UYVY), even="w"),
    "uyvy": Layout("u1", 2, _convert(cv2.COLOR_YUV2BGR_UYVY), even="w"),
    "yuv422_yuy2": Layout("u1", 2, _convert(cv2.COLOR_YUV2BGR_YUYV), even="w"),
    "yuyv": Layout("u1", 2, _convert(cv2.COLOR_YUV2BGR_YUYV), even="w"),
    "nv12": Layout("u1", 1, _convert(cv2.COLOR_YUV2BGR_NV12), rows=1.5, even="wh"),
    "nv21": Layout("u1", 1, _convert(cv2.COLOR_YUV2BGR_NV21), rows=1.5, even="wh"),
}
#: encodings that ``to_bgr`` understands
ENCODINGS = tuple(LAYOUTS)

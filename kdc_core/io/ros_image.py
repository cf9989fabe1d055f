"""Convert ROS images to arrays without cv_bridge: any ``step``, byte order and encoding.

Only the fields of a message are read, so it may come from rclpy or from a bag.

Grey and depth images become three equal channels, because the network needs colour. ``mono16`` is
scaled by its known white (65535). ``16UC1`` and ``32FC1`` have no white, so they are stretched from
the smallest to the largest finite value of the image.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import cv2
import numpy as np

from kdc_core.errors import InputError
from kdc_core.io.source import JPEG, PNG, decode_image, jpeg_segments

Buffer = Any  # array.array, bytes or a numpy array of bytes
MAX_SIDE = 16384  # pixels; a larger image is a corrupt message
MAX_PIXELS = 1 << 26  # of a compressed image: a few corrupt bytes must not allocate gigabytes
_NO_SIZE = (0xC4, 0xC8, 0xCC)  # JPEG markers in the range of frame headers that are none


class Image(Protocol):
    """The fields of sensor_msgs/Image."""

    @property
    def height(self) -> int: ...  # noqa: D102
    @property
    def width(self) -> int: ...  # noqa: D102
    @property
    def encoding(self) -> str: ...  # noqa: D102
    @property
    def is_bigendian(self) -> int: ...  # noqa: D102
    @property
    def step(self) -> int: ...  # noqa: D102
    @property
    def data(self) -> Buffer: ...  # noqa: D102


class CompressedImage(Protocol):
    """The fields of sensor_msgs/CompressedImage that are read here."""

    format: str
    data: Buffer


class Layout(NamedTuple):
    """Memory layout of an encoding, and its conversion to BGR."""

    kind: str  # numpy type character of one value
    channels: int  # values per pixel in a row
    to_bgr: Callable[[np.ndarray], np.ndarray]  # (rows, W, channels) or (rows, W) → (H, W, 3) uint8
    rows: float = 1.0  # rows of data per row of the image: 1.5 for planar chroma
    even: str = ""  # "w": width must be even, "wh": height too


def to_bgr(message: Image) -> np.ndarray:
    """Return the image of a message as (H, W, 3) uint8 BGR; of bgr8 it is a view.

    Raises:
        InputError: the encoding is unknown, or size, step and data contradict each other.
    """
    layout = LAYOUTS.get(message.encoding)
    if layout is None:
        known = ", ".join(sorted(LAYOUTS))
        raise InputError(f"image: expected an encoding of {known}; got {message.encoding!r}")
    try:
        return np.ascontiguousarray(layout.to_bgr(pixels(message, layout)))
    except cv2.error as error:
        what = f"{message.width}x{message.height} {message.encoding}"
        raise InputError(f"image: {what} cannot be converted: {error.err}") from None


def compressed_to_bgr(message: CompressedImage) -> np.ndarray:
    """Return the image of a JPEG or PNG message as (H, W, 3) uint8 BGR.

    EXIF orientation is ignored, because CameraInfo and depth refer to the pixels as stored. A Bayer
    pattern is compressed as a grey image, and ``format`` begins with the raw encoding.

    Raises:
        InputError: the data are truncated, neither JPEG nor PNG, or a compressed depth image.
    """
    if "compresseddepth" in message.format.lower():
        raise InputError("compressed image: expected a colour image, got compressedDepth")
    data = bytes(message.data)
    if not data:
        raise InputError("compressed image: expected jpeg or png data, got none")
    width, height = _claimed_size(data)
    if max(width, height) > MAX_SIDE or width * height > MAX_PIXELS:
        raise InputError(f"compressed image: {width}x{height} pixels are too large for a camera")
    # other formats are not decoded: a corrupt header could make them allocate any memory
    bayer = _bayer_encoding(message.format)
    how = cv2.IMREAD_GRAYSCALE if bayer else cv2.IMREAD_COLOR
    image = decode_image(data, how | cv2.IMREAD_IGNORE_ORIENTATION) if width else None
    if image is None:
        raise InputError(
            f"compressed image: expected jpeg or png data, got {len(data)} bytes that are "
            f"truncated or of another format (format {message.format!r})"
        )
    if not bayer:
        return image
    height, width = image.shape
    return to_bgr(_BayerImage(height, width, bayer, 0, width, image))


def pixels(message: Image, layout: Layout) -> np.ndarray:
    """Return the data without padding: (rows, W, channels), or (rows, W) for one channel.

    Raises:
        InputError: size, step and data contradict each other.
    """
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
    least, most = step * (rows - 1) + row, step * rows  # the padding of the last row may be missing
    if not least <= data.size <= most:
        raise InputError(
            f"image: expected {most} bytes for {width}x{height} {message.encoding} with step "
            f"{step}, got {data.size}"
        )
    shape = (rows, width, layout.channels)[: 2 if layout.channels == 1 else 3]
    strides = (step, layout.channels * kind.itemsize, kind.itemsize)[: len(shape)]
    return np.ndarray(shape, kind, data, 0, strides)


@dataclass(frozen=True)
class _BayerImage:
    """A decoded Bayer pattern with the fields of its raw image."""

    height: int
    width: int
    encoding: str
    is_bigendian: int
    step: int
    data: np.ndarray


def _bayer_encoding(form: str) -> str:
    """Return the encoding of the Bayer pattern in a compressed image; empty = it is no pattern.

    image_transport writes "bayer_rggb8; jpeg compressed ". If it converted the pattern to colour
    before, it writes "bayer_rggb8; jpeg compressed bgr8".
    """
    encoding, _, how = form.partition(";")
    encoding = encoding.strip()
    known = encoding.startswith("bayer_") and encoding in LAYOUTS
    return encoding if known and not how.strip().endswith(("bgr8", "rgb8")) else ""


def _claimed_size(data: bytes) -> tuple[int, int]:
    """Return width and height in the header of a PNG or JPEG; 0, 0 if there is none."""
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
    """Return a function that converts 16-bit colour to BGR, keeping the high bytes."""
    return lambda image: (image[..., list(order)] >> 8).astype(np.uint8)


def _grey(image: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_GRAY2BGR)


def _scaled(image: np.ndarray) -> np.ndarray:
    """Scale the full range of 16 bits to 8."""
    return _grey((image >> 8).astype(np.uint8))


def _stretched(image: np.ndarray) -> np.ndarray:
    """Stretch the smallest to largest finite value to 0 to 255; others become 0."""
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
    # OpenCV names a pattern by the second and third pixel of the second row
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

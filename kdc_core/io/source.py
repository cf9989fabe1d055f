"""Read frames from a camera, a video, a stream, an image, or a folder of images.

``open_source("0" | "/dev/video0" | "walk.mp4" | "rtsp://…" | "person.jpg" | "folder/")`` returns an
iterable of ``Frame``. If it cannot be read, an ``InputError`` says why in one line.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from kdc_core.errors import InputError
from kdc_core.types import Frame

#: suffixes of images that are read and written; READ_SUFFIXES adds those that are only read
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
READ_SUFFIXES = (*IMAGE_SUFFIXES, ".jfif")
JPEG, PNG = b"\xff\xd8", b"\x89PNG\r\n\x1a\n"  # first bytes of such files
_ALONE = (
    0x00,
    0x01,
    *range(0xD0, 0xDA),
    0xFF,
)  # second bytes of JPEG markers without a length, or of no marker
FILE_URL = "file://"  # the rest of such an address is a path
MAX_CAMERA_INDEX = 9999  # larger numbers are no index of a camera
#: share of the frames that may be missing at the end, at least 2 frames: the count in files of
#: variable rate is an estimate
COUNT_TOLERANCE = 0.01

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Source:
    """An iterable of frames with its properties."""

    name: str
    kind: str  # "camera", "stream", "video", "image" or "folder"
    frames: Callable[[], Iterator[Frame]]
    fps: float | None = None  # frames per second, None = unknown
    count: int | None = None  # frames, None = unknown
    reads: tuple[Path, ...] = ()  # the files; of a folder the folder as well

    def __iter__(self) -> Iterator[Frame]:
        return self.frames()

    @property
    def live(self) -> bool:
        """True for cameras and streams, whose frames are lost if they are not read in time."""
        return self.kind in ("camera", "stream")

    @property
    def moving(self) -> bool:
        """True if consecutive frames show the same people, so that they can be tracked."""
        return self.live or self.kind == "video"


def open_source(text: str) -> Source:
    """Open the source that ``text`` names and check that it can be read.

    Args:
        text: index or device of a camera, address of a stream, or path of a video, image or folder.

    Raises:
        InputError: no such file, an empty folder, not a video, or a camera that does not respond.
    """
    quieten_opencv()
    if not text:
        raise InputError("expected a file, folder or camera, got an empty text")
    path = Path(text.removeprefix(FILE_URL))
    if text.isdecimal() and int(text) <= MAX_CAMERA_INDEX and not path.exists():
        return _capture(f"camera {text}", "camera", int(text))
    if "://" in text and not text.startswith(FILE_URL):
        return _capture(text, "stream", text)
    if not path.exists():
        raise InputError(f"{text}: no such file, folder or camera")
    if path.is_char_device():
        return _capture(f"camera {text}", "camera", text)
    if path.is_dir():
        return _folder(path)
    if path.suffix.lower() in READ_SUFFIXES:
        image = read_image(path)
        _log_unread_pages(text, [path])
        frame = Frame(image, 0.0, path.name)
        return Source(text, "image", lambda: iter([frame]), count=1, reads=(path,))
    # absolute: FFmpeg takes 12:30.mp4 for an address
    return replace(_capture(text, "video", os.path.abspath(path)), reads=(path,))


def read_image(path: Path, as_stored: bool = False) -> np.ndarray:
    """Read an image file as (H, W, 3) uint8 BGR. Grey becomes three equal channels.

    16-bit values are divided by 257 regardless of their range, because a scale that depends on the
    content makes the brightness of a sequence flicker.

    Args:
        path: the file.
        as_stored: ignore the camera's orientation (EXIF). Annotation files count pixels as stored.

    Raises:
        InputError: the file is missing, truncated, no image, or not 8 or 16 bits deep.
    """
    quieten_opencv()
    if not path.is_file():
        raise InputError(f"{path}: no such image")
    how = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH
    if as_stored:
        how |= cv2.IMREAD_IGNORE_ORIENTATION
    image = decode_image(path.read_bytes(), how)
    if image is None:
        raise InputError(f"{path}: not a readable image (wrong format or truncated)")
    if image.dtype == np.uint16:
        image = (image / 257.0 + 0.5).astype(np.uint8)
    if image.dtype != np.uint8:
        raise InputError(f"{path}: expected 8 or 16 bits per channel, got {image.dtype}")
    return image


def decode_image(data: bytes, how: int) -> np.ndarray | None:
    """Decode an image file as ``cv2.imdecode`` does; return None if it is broken or truncated."""
    if not data or (data.startswith(JPEG) and not _jpeg_ends(data)):
        return None  # truncated: OpenCV 4 would fill the rest with grey
    if data.startswith(PNG) and not _chunks_fit(data):
        return None  # OpenCV 5 would allocate the size that a chunk states, up to 4 GB
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), how)
    except cv2.error:  # e.g. the header states more pixels than OpenCV allows
        return None


def jpeg_segments(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield the second byte and the offset of the marker of every segment of a JPEG."""
    at = len(JPEG)
    while 0 <= (at := data.find(0xFF, at)) < len(data) - 3:  # bytes before a marker are skipped
        kind = data[at + 1]
        if kind in _ALONE:
            at += 1
            continue
        yield kind, at
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")


def _jpeg_ends(data: bytes) -> bool:
    """Return True if the end marker of a JPEG follows the start of its pixels.

    Segments before the pixels are skipped by their lengths, because a thumbnail in them has an end
    marker of its own. Anything may follow the end, such as the video of a motion photo.
    """
    scan = next((at for kind, at in jpeg_segments(data) if kind == 0xDA), None)
    return scan is None or data.find(b"\xff\xd9", scan) >= 0  # no pixels: the decoder reports it


def _chunks_fit(data: bytes) -> bool:
    """Return True if the chunks of a PNG (length, name, data, CRC) continue up to its end."""
    at = len(PNG)
    while at + 12 <= len(data):
        if data[at + 4 : at + 8] == b"IEND":
            return True
        at += 12 + int.from_bytes(data[at : at + 4], "big")
    return False


def is_image_file(path: Path) -> bool:
    """Return True if a file has the suffix of an image and is not hidden.

    macOS adds a hidden file to every file on foreign disks.
    """
    named = path.suffix.lower() in READ_SUFFIXES and not path.name.startswith(".")
    return named and path.is_file()


def list_images(folder: Path) -> list[Path]:
    """Return the images of a folder in the order of their names, and log the other files.

    Raises:
        InputError: there is no image.
    """
    seen = sorted(p for p in folder.iterdir() if not p.name.startswith("."))
    found = [p for p in seen if is_image_file(p)]
    if not found:
        raise InputError(f"{folder}: no images in this folder ({' '.join(READ_SUFFIXES)})")
    if others := sorted(set(seen) - set(found)):
        log.info("%s: ignoring %d other files, such as %s", folder, len(others), others[0].name)
    return found


def _log_unread_pages(name: str, paths: list[Path]) -> None:
    if count := sum(map(_has_more_pages, paths)):
        log.info(
            "%s: %d of %d files have several pages or frames, only the first is read",
            name,
            count,
            len(paths),
        )


def _has_more_pages(path: Path) -> bool:
    """Return True if an image file has more pages or frames than the first."""
    suffix = path.suffix.lower()
    if suffix in (".tif", ".tiff"):
        return cv2.imcount(opencv_name(str(path))) > 1
    if suffix != ".webp":
        return False
    with path.open("rb") as file:  # imcount returns 1 for every WebP: read the header
        head = file.read(21)
    return head[12:16] == b"VP8X" and bool(head[20] & 2)


def opencv_name(name: str) -> str:
    """Return the name of a video as OpenCV needs it in any locale; it crashes on other bytes.

    Raises:
        InputError: the name is not UTF-8.
    """
    try:
        return os.fsencode(name).decode()
    except UnicodeError:
        raise InputError(f"{name}: expected a name in UTF-8, rename the file") from None


def quieten_opencv() -> None:
    """Silence the messages of OpenCV and FFmpeg; an ``InputError`` reports the failure instead."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    # OpenCV 4 has the first name only, OpenCV 5 the second
    (getattr(cv2, "setLogLevel", None) or cv2.utils.logging.setLogLevel)(0)


def _folder(folder: Path) -> Source:
    paths = list_images(folder)
    _log_unread_pages(str(folder), paths)

    def frames() -> Iterator[Frame]:
        for index, path in enumerate(paths):
            yield Frame(read_image(path), float(index), path.name)

    return Source(str(folder), "folder", frames, count=len(paths), reads=(folder, *paths))


def _capture(name: str, kind: str, target: int | str) -> Source:
    first = _opened(name, kind, target)
    reported = first.get(cv2.CAP_PROP_FPS)
    fps = reported if 0 < reported < 1000 else None
    count = max(0, int(first.get(cv2.CAP_PROP_FRAME_COUNT))) if kind != "camera" else 0
    if kind == "stream" and count:
        kind = "video"  # a file at an address: it has an end
    unused = [first]  # opening a camera takes a second: the first pass uses the open one

    def frames() -> Iterator[Frame]:
        capture = unused.pop() if unused else _opened(name, kind, target)
        try:
            yield from _read(capture, name, kind, reported, count)
        finally:
            capture.release()

    return Source(name, kind, frames, fps=fps, count=count or None)


def _opened(name: str, kind: str, target: int | str) -> cv2.VideoCapture:
    capture = cv2.VideoCapture(opencv_name(target) if isinstance(target, str) else target)
    if not capture.isOpened():
        hint = {
            "camera": "check that it is connected, not in use, and readable (group video)",
            "stream": "no response, or it has no video",
            "video": "not a readable video (wrong format, or truncated before its index)",
        }[kind]
        if kind == "video" and not os.access(target, os.R_OK):
            hint = "no permission to read this file"
        raise InputError(f"{name}: cannot be opened: {hint}")
    return capture


def _read(
    capture: cv2.VideoCapture, name: str, kind: str, fps: float, count: int
) -> Iterator[Frame]:
    """Yield frames until the end, and check that a file has as many as it states.

    OpenCV computes the count of containers without one from ``fps`` and the duration, which is
    wrong if the rate varies. So a video is truncated only if both its frames and its time end
    early.

    Args:
        capture: the open device or file.
        name: of the source, for errors.
        kind: "camera", "stream" or "video".
        fps: frames per second that the file states, 0 = unknown.
        count: frames that the file states, 0 = unknown.

    Raises:
        InputError: a camera or stream ended, or a file is truncated.
    """
    index, stamp, before = 0, 0.0, 0.0
    while True:
        good, image = capture.read()
        if not good:
            break
        before = stamp
        stamp = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000 if kind == "video" else time.time()
        if kind == "video" and index and stamp <= 0:  # the container has no time stamps
            stamp = index / (fps if 0 < fps < 1000 else 25.0)
        yield Frame(_bgr(image), stamp, f"{index:06d}")
        index += 1
    if kind != "video":
        raise InputError(f"{name}: no more frames after {index}: disconnected?")
    few = count - index > max(2, COUNT_TOLERANCE * count)
    short = fps <= 0 or 2 * stamp - before < (1 - COUNT_TOLERANCE) * count / fps
    if index == 0 or (few and short):
        raise InputError(f"{name}: truncated: read {index} of {count} frames, and processed them")


def _bgr(image: np.ndarray) -> np.ndarray:
    return image if image.ndim == 3 else cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)

"""Where frames come from: a camera, a video, a stream, one picture, or a folder of pictures.

``open_source("0" | "/dev/video0" | "walk.mp4" | "rtsp://…" | "person.jpg" | "folder/")`` gives an
iterable of ``Frame``. Everything that is wrong with it is a ``ValueError`` of one line.
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

#: of pictures that are read and written, and what is read only
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
READ_SUFFIXES = (*IMAGE_SUFFIXES, ".jfif")
JPEG, PNG = b"\xff\xd8", b"\x89PNG\r\n\x1a\n"  # how every such file begins
_ALONE = (0x00, 0x01, *range(0xD0, 0xDA), 0xFF)  # JPEG markers without a length, and no markers
FILE_URL = "file://"  # what is behind it is a file like any other
MOST_CAMERAS = 9999  # larger numbers are no index of a camera
#: frames that may be missing at the end, at least 2: counts of variable-rate files are estimates
COUNT_TOLERANCE = 0.01

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Source:
    """An iterable of frames and what is known of it beforehand."""

    name: str
    kind: str  # "camera", "stream", "video", "image" or "folder"
    frames: Callable[[], Iterator[Frame]]
    fps: float | None = None  # frames per second, None where unknown
    count: int | None = None  # frames, None where unknown
    reads: tuple[Path, ...] = ()  # the files, and of pictures in a folder the folder

    def __iter__(self) -> Iterator[Frame]:
        return self.frames()

    @property
    def live(self) -> bool:
        """True for cameras and streams: frames come at their own pace and are lost when late."""
        return self.kind in ("camera", "stream")

    @property
    def moving(self) -> bool:
        """True where a frame shows the same people as the frame before it."""
        return self.live or self.kind == "video"


def open_source(text: str) -> Source:
    """Find out what ``text`` names and check that it can be read.

    Raises:
        ValueError: no such file, an empty folder, not a video, a camera that does not answer.
    """
    quieten_opencv()
    if not text:
        raise InputError("expected a file, folder or camera, got an empty text")
    path = Path(text.removeprefix(FILE_URL))
    if text.isdecimal() and int(text) <= MOST_CAMERAS and not path.exists():
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
        _say_what_is_not_read(text, [path])
        frame = Frame(image, 0.0, path.name)
        return Source(text, "image", lambda: iter([frame]), count=1, reads=(path,))
    # absolute: FFmpeg takes 12:30.mp4 for an address
    return replace(_capture(text, "video", os.path.abspath(path)), reads=(path,))


def read_image(path: Path, as_stored: bool = False) -> np.ndarray:
    """A picture as ``(H, W, 3)`` uint8 BGR; grey is tripled, 16 bits are scaled to 8.

    16-bit values are divided by 257 whatever their range: a scale that followed the content would
    make the brightness of a sequence flicker. The camera's orientation (EXIF) is honoured unless
    ``as_stored``: annotation files count pixels as they are stored.

    Raises:
        ValueError: missing, not a picture, broken off, or neither 8 nor 16 bits deep.
    """
    quieten_opencv()
    if not path.is_file():
        raise InputError(f"{path}: no such picture")
    how = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH
    if as_stored:
        how |= cv2.IMREAD_IGNORE_ORIENTATION
    image = decode_image(path.read_bytes(), how)
    if image is None:
        raise InputError(f"{path}: not a readable picture (wrong format or broken off)")
    if image.dtype == np.uint16:
        image = (image / 257.0 + 0.5).astype(np.uint8)
    if image.dtype != np.uint8:
        raise InputError(f"{path}: expected 8 or 16 bits per channel, got {image.dtype}")
    return image


def decode_image(data: bytes, how: int) -> np.ndarray | None:
    """The pixels of a picture file as ``cv2.imdecode`` gives them; None if it is broken (off)."""
    if not data or (data.startswith(JPEG) and not _jpeg_ends(data)):
        return None  # pixels begin and the end is missing: OpenCV 4 fills the rest with grey
    if data.startswith(PNG) and not _chunks_fit(data):
        return None  # OpenCV 5 takes the memory that a chunk speaks of, up to 4 GB, before it reads
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), how)
    except cv2.error:  # e.g. a header that announces more pixels than OpenCV allows
        return None


def jpeg_segments(data: bytes) -> Iterator[tuple[int, int]]:
    """Second byte and place of the markers of a JPEG's segments, in order."""
    at = len(JPEG)
    while 0 <= (at := data.find(0xFF, at)) < len(data) - 3:  # rubbish before a marker is skipped
        kind = data[at + 1]
        if kind in _ALONE:
            at += 1
            continue
        yield kind, at
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")


def _jpeg_ends(data: bytes) -> bool:
    """Whether a JPEG's end comes behind the beginning of its pixels.

    Segments before it are gone through by their lengths: a thumbnail has an end of its own. Behind
    it anything may follow, such as the video of a motion photo.
    """
    scan = next((at for kind, at in jpeg_segments(data) if kind == 0xDA), None)
    return scan is None or data.find(b"\xff\xd9", scan) >= 0  # no pixels: the decoder says so


def _chunks_fit(data: bytes) -> bool:
    """Whether the chunks of a PNG, each a length, a name, data and a CRC, follow up to the end."""
    at = len(PNG)
    while at + 12 <= len(data):
        if data[at + 4 : at + 8] == b"IEND":
            return True
        at += 12 + int.from_bytes(data[at : at + 4], "big")
    return False


def is_image_file(path: Path) -> bool:
    """Whether a file is named as a picture; hidden ones, as macOS adds to every file, are not."""
    named = path.suffix.lower() in READ_SUFFIXES and not path.name.startswith(".")
    return named and path.is_file()


def list_images(folder: Path) -> list[Path]:
    """The pictures of a folder in the order of their names; other files are counted in the log.

    Raises:
        ValueError: there is none.
    """
    seen = sorted(p for p in folder.iterdir() if not p.name.startswith("."))
    found = [p for p in seen if is_image_file(p)]
    if not found:
        raise InputError(f"{folder}: no pictures in this folder ({' '.join(READ_SUFFIXES)})")
    if others := sorted(set(seen) - set(found)):
        log.info("%s: %d other files left out, such as %s", folder, len(others), others[0].name)
    return found


def _say_what_is_not_read(name: str, paths: list[Path]) -> None:
    if count := sum(map(_goes_on, paths)):
        log.info(
            "%s: several pages or frames in %d of %d files: only the first is read",
            name,
            count,
            len(paths),
        )


def _goes_on(path: Path) -> bool:
    """Whether a picture's file has more pages or frames than the one that is read."""
    suffix = path.suffix.lower()
    if suffix in (".tif", ".tiff"):
        return cv2.imcount(opencv_name(str(path))) > 1
    if suffix != ".webp":
        return False
    with path.open("rb") as file:  # imcount says 1 of every WebP: a bit of its header is set
        head = file.read(21)
    return head[12:16] == b"VP8X" and bool(head[20] & 2)


def opencv_name(name: str) -> str:
    """The name of a video as OpenCV takes it, whatever the locale; it crashes on other bytes.

    Raises:
        ValueError: the name is not UTF-8.
    """
    try:
        return os.fsencode(name).decode()
    except UnicodeError:
        raise InputError(f"{name}: expected a name in UTF-8: rename it") from None


def quieten_opencv() -> None:
    """Keep OpenCV's and FFmpeg's own complaints off the terminal: ours are one line each."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    # OpenCV 4 has it under the first name alone, OpenCV 5 under the second
    (getattr(cv2, "setLogLevel", None) or cv2.utils.logging.setLogLevel)(0)


def _folder(folder: Path) -> Source:
    paths = list_images(folder)
    _say_what_is_not_read(str(folder), paths)

    def frames() -> Iterator[Frame]:
        for index, path in enumerate(paths):
            yield Frame(read_image(path), float(index), path.name)

    return Source(str(folder), "folder", frames, count=len(paths), reads=(folder, *paths))


def _capture(name: str, kind: str, target: int | str) -> Source:
    first = _opened(name, kind, target)
    told = first.get(cv2.CAP_PROP_FPS)
    fps = told if 0 < told < 1000 else None
    count = max(0, int(first.get(cv2.CAP_PROP_FRAME_COUNT))) if kind != "camera" else 0
    if kind == "stream" and count:
        kind = "video"  # a file behind an address: it has an end
    waiting = [first]  # a camera takes a second to open: the first pass uses the one that is open

    def frames() -> Iterator[Frame]:
        capture = waiting.pop() if waiting else _opened(name, kind, target)
        try:
            yield from _read(capture, name, kind, told, count)
        finally:
            capture.release()

    return Source(name, kind, frames, fps=fps, count=count or None)


def _opened(name: str, kind: str, target: int | str) -> cv2.VideoCapture:
    capture = cv2.VideoCapture(opencv_name(target) if isinstance(target, str) else target)
    if not capture.isOpened():
        hint = {
            "camera": "is it plugged in, free, and may you read it (group video)?",
            "stream": "no answer or no video in it",
            "video": "not a readable video (wrong format or broken off before its index)",
        }[kind]
        if kind == "video" and not os.access(target, os.R_OK):
            hint = "you may not read this file"
        raise InputError(f"{name}: cannot be opened: {hint}")
    return capture


def _read(
    capture: cv2.VideoCapture, name: str, kind: str, fps: float, count: int
) -> Iterator[Frame]:
    """Frames until the end; a ``ValueError`` afterwards if the file announced more of them.

    ``fps`` is as the file tells it, 0 where it does not: of containers that have no count OpenCV
    makes one of it and the duration, which says nothing if the rate varies. So a video is broken
    off where both its frames and its time end early.
    """
    index, stamp, before = 0, 0.0, 0.0
    while True:
        good, image = capture.read()
        if not good:
            break
        before = stamp
        stamp = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000 if kind == "video" else time.time()
        if kind == "video" and index and stamp <= 0:  # containers without time stamps
            stamp = index / (fps if 0 < fps < 1000 else 25.0)
        yield Frame(_bgr(image), stamp, f"{index:06d}")
        index += 1
    if kind != "video":
        raise InputError(f"{name}: no more frames after {index}: unplugged or connection lost")
    few = count - index > max(2, COUNT_TOLERANCE * count)
    short = fps <= 0 or 2 * stamp - before < (1 - COUNT_TOLERANCE) * count / fps
    if index == 0 or (few and short):
        raise InputError(
            f"{name}: broken off: read {index} of {count} frames; everything up to there is done"
        )


def _bgr(image: np.ndarray) -> np.ndarray:
    return image if image.ndim == 3 else cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)

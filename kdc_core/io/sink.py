"""Write drawn frames to a video, an image, or a folder of images."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from kdc_core.errors import InputError
from kdc_core.io.source import IMAGE_SUFFIXES, Source, opencv_name, quieten_opencv

CODECS = {".mp4": "mp4v", ".m4v": "mp4v", ".mov": "mp4v", ".mkv": "mp4v", ".avi": "MJPG"}
DEFAULT_FPS = 10.0  # of a video made from images
GAP = 10.0  # seconds; a longer gap between frames of a live source is cut from the video


class Sink(Protocol):
    """Writes drawn frames."""

    def write(self, image: np.ndarray, stamp: float | None, name: str) -> None:
        """Write one frame (H, W, 3) BGR; ``name`` is its ``frame_id``."""
        ...

    def close(self) -> None:
        """Finish the file."""
        ...


def keep_apart(written: Iterable[Path], read: Iterable[Path]) -> None:
    """Check that no file is written that is also read, even by another name or link.

    Raises:
        InputError: a file is in both.
    """
    there = {_identity(path): path for path in written}
    there.pop(None, None)  # files that do not exist yet
    for path in read if there else ():
        if (same := there.get(_identity(path))) is not None:
            raise InputError(f"{same}: would overwrite the input, choose another file or folder")


def check_apart(path: Path, source: Source, suffix: str = ".jpg") -> None:
    """Check that an output does not overwrite the source.

    Args:
        path: a file or a folder.
        source: what is read.
        suffix: of the images that are written to a folder, with the names of those that are read.

    Raises:
        InputError: a file would be overwritten.
    """
    keep_apart((path, *images_in(path, source, suffix)), source.reads)


def images_in(folder: Path, source: Source, suffix: str) -> list[Path]:
    """Return the images that a ``FolderSink`` may write for the images of a source."""
    return [folder / f"{name}{suffix}" for read in source.reads for name in (read.stem, read.name)]


def open_sink(path: Path, source: Source) -> Sink:
    """Open a video or an image, depending on the suffix, or a folder of images.

    Raises:
        InputError: the suffix is unknown, the source does not fit into one image, or the output
            would overwrite the source.
    """
    check_apart(path, source)
    suffix = path.suffix.lower()
    if suffix in (*CODECS, *IMAGE_SUFFIXES) and path.is_dir():
        raise InputError(f"{path}: expected a file, this is a folder")
    if suffix in CODECS:
        path.parent.mkdir(parents=True, exist_ok=True)
        return VideoSink(path, source.fps or DEFAULT_FPS, source.live)
    if suffix in IMAGE_SUFFIXES:
        if source.count != 1:
            raise InputError(f"{path}: one image cannot hold a {source.kind}, name a folder")
        path.parent.mkdir(parents=True, exist_ok=True)
        return ImageSink(path)
    if suffix and not path.is_dir():
        raise InputError(f"{path}: expected a folder or one of {' '.join((*CODECS, '.jpg .png'))}")
    path.mkdir(parents=True, exist_ok=True)
    return FolderSink(path, ".jpg")


class VideoSink:
    """Writes a video. Frames of a live source are repeated so that it plays at real speed."""

    def __init__(self, path: Path, fps: float, live: bool = False) -> None:
        quieten_opencv()
        self.path, self.fps, self.live = path, fps, live
        # absolute, because FFmpeg takes 12:30.mp4 for an address
        self._name = opencv_name(os.path.abspath(path))
        self._writer: cv2.VideoWriter | None = None
        self._size = (0, 0)
        self._start = 0.0
        self.written = 0

    def write(self, image: np.ndarray, stamp: float | None, name: str = "") -> None:
        """Append a frame.

        Raises:
            InputError: it has another size than the first frame, or the file cannot be written.
        """
        size = (image.shape[1], image.shape[0])
        writer = self._writer or self._open(size, stamp)
        if size != self._size:
            raise InputError(
                f"{self.path}: a video has frames of one size, but {name or 'a frame'} has "
                f"{size[0]}x{size[1]} after {self._size[0]}x{self._size[1]}: name a folder instead"
            )
        due = 1
        if self.live and stamp is not None:
            if not -GAP < stamp - self._start - self.written / self.fps < GAP:
                self._start = stamp - self.written / self.fps  # the clock was set
            due = round((stamp - self._start) * self.fps) + 1 - self.written
        width, height = _padded(size)
        image = cv2.copyMakeBorder(
            image, 0, height - size[1], 0, width - size[0], cv2.BORDER_REPLICATE
        )
        for _ in range(due):
            writer.write(image)
            self.written += 1

    def close(self) -> None:
        """Finish the file; without any frame there is none.

        Raises:
            InputError: frames are missing in the file. OpenCV does not report a full disk.
        """
        if self._writer is None:
            return
        self._writer.release()
        self._writer = None
        video = cv2.VideoCapture(self._name)
        count = video.get(cv2.CAP_PROP_FRAME_COUNT) if video.isOpened() else 0
        video.release()
        if count < 0.9 * self.written - 2:
            raise InputError(
                f"{self.path}: {self.written} frames were written, but the file has "
                f"{max(0, int(count))}: disk full?"
            )

    def _open(self, size: tuple[int, int], stamp: float | None) -> cv2.VideoWriter:
        codec = cv2.VideoWriter.fourcc(*CODECS[self.path.suffix.lower()])
        # MPEG-4 divides a second into at most 65,535 parts, and OpenCV needs 1,000 per frame
        fps = self.fps if self.fps <= 65 else round(self.fps, 2)
        writer = cv2.VideoWriter(self._name, codec, fps, _padded(size))
        if not writer.isOpened():
            raise InputError(f"{self.path}: cannot be written: check permissions and free space")
        self._writer, self._size, self._start = writer, size, stamp or 0.0
        return writer


def _padded(size: tuple[int, int]) -> tuple[int, int]:
    """Return a size that codecs support: they silently drop the last row or column of odd sides.

    Below 8 pixels, OpenCV's own AVI encoder writes beyond its memory.
    """
    width, height = (max(16, side + side % 2) for side in size)
    return width, height


class ImageSink:
    """Writes one image file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, image: np.ndarray, stamp: float | None, name: str = "") -> None:
        """Write the image."""
        write_image(self.path, image)

    def close(self) -> None:
        """Do nothing: the file is complete."""


class FolderSink:
    """Writes a folder with one image per frame, named after the frame."""

    def __init__(self, folder: Path, suffix: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.suffix = folder, suffix
        self._taken: set[str] = set()

    def write(self, image: np.ndarray, stamp: float | None, name: str) -> None:
        """Write ``name`` with the suffix of the folder; a.jpg and a.png become a and a.png."""
        stem = Path(name).stem
        if stem in self._taken:
            stem = name
        self._taken.add(stem)
        write_image(self.folder / f"{stem}{self.suffix}", image)

    def close(self) -> None:
        """Do nothing: the files are complete."""


def _identity(path: Path) -> tuple[int, int] | None:
    """Return device and inode, equal for all links to a file; None if there is no such file."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def write_image(path: Path, image: np.ndarray) -> None:
    """Write an image in the format of its suffix.

    ``cv2.imwrite`` is not used: it crashes on names that are not UTF-8 and does not say what
    failed.

    Raises:
        InputError: the format is unknown, or cannot hold the image.
        OSError: the file cannot be written.
    """
    try:
        done, content = cv2.imencode(path.suffix, image)
    except cv2.error as error:
        raise InputError(f"{path}: cannot be written: {error.err}") from None
    if not done:
        height, width = image.shape[:2]
        raise InputError(
            f"{path}: this format cannot hold {width}x{height} pixels; use .png or a smaller image"
        )
    try:
        path.write_bytes(content.data)
    except OSError as error:  # the error of a full disk does not name the file
        raise OSError(error.errno, error.strerror, str(path)) from None

"""Where drawn frames go: a video, one picture, or a folder of pictures."""

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
DEFAULT_FPS = 10.0  # of a video made from pictures
GAP = 10.0  # seconds between frames of a live source that are left out of its video


class Sink(Protocol):
    """Takes drawn frames."""

    def write(self, image: np.ndarray, stamp: float | None, name: str) -> None:
        """Take one frame (H, W, 3) BGR; ``name`` is the frame's ``frame_id``."""
        ...

    def close(self) -> None:
        """Finish the file."""
        ...


def keep_apart(written: Iterable[Path], read: Iterable[Path]) -> None:
    """ValueError if one of the files to be written is one of those read, by whatever name."""
    there = {_identity(path): path for path in written}
    there.pop(None, None)  # new ones
    for path in read if there else ():
        if (same := there.get(_identity(path))) is not None:
            raise InputError(f"{same}: would replace what is read, name another file or folder")


def check_apart(path: Path, source: Source, suffix: str = ".jpg") -> None:
    """ValueError for an output that would replace what the source reads.

    ``suffix`` is that of the pictures which a folder gets, with the names of those that are read.
    """
    keep_apart((path, *images_in(path, source, suffix)), source.reads)


def images_in(folder: Path, source: Source, suffix: str) -> list[Path]:
    """Pictures that a ``FolderSink`` may make of those that the source reads."""
    return [folder / f"{name}{suffix}" for read in source.reads for name in (read.stem, read.name)]


def open_sink(path: Path, source: Source) -> Sink:
    """A video for video suffixes, one picture for picture suffixes, else a folder of pictures.

    Raises:
        ValueError: an unknown suffix, one picture for a source of many, or the source itself.
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
            raise InputError(f"{path}: one picture cannot hold a {source.kind}: give a folder")
        path.parent.mkdir(parents=True, exist_ok=True)
        return ImageSink(path)
    if suffix and not path.is_dir():
        raise InputError(f"{path}: expected a folder or one of {' '.join((*CODECS, '.jpg .png'))}")
    path.mkdir(parents=True, exist_ok=True)
    return FolderSink(path, ".jpg")


class VideoSink:
    """A video file. From a live source, frames are repeated so that it plays at real speed."""

    def __init__(self, path: Path, fps: float, live: bool = False) -> None:
        quieten_opencv()
        self.path, self.fps, self.live = path, fps, live
        # absolute: FFmpeg takes 12:30.mp4 for an address
        self._name = opencv_name(os.path.abspath(path))
        self._writer: cv2.VideoWriter | None = None
        self._size = (0, 0)
        self._start = 0.0
        self.written = 0

    def write(self, image: np.ndarray, stamp: float | None, name: str = "") -> None:
        """Append a frame; all must have the size of the first (ValueError)."""
        size = (image.shape[1], image.shape[0])
        writer = self._writer or self._open(size, stamp)
        if size != self._size:
            raise InputError(
                f"{self.path}: a video has one size, {self._size[0]}x{self._size[1]}, but "
                f"{name or 'a frame'} has {size[0]}x{size[1]}: give a folder instead"
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
        """Write the index; a video without any frame leaves no file.

        Raises:
            ValueError: what was written cannot be read: OpenCV says nothing of a full disk.
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
                f"{self.path}: {self.written} frames were written and {max(0, int(count))} are "
                "there: disk full?"
            )

    def _open(self, size: tuple[int, int], stamp: float | None) -> cv2.VideoWriter:
        codec = cv2.VideoWriter.fourcc(*CODECS[self.path.suffix.lower()])
        # MPEG-4 counts time in up to 65,535 parts, and OpenCV asks for a thousand a frame
        fps = self.fps if self.fps <= 65 else round(self.fps, 2)
        writer = cv2.VideoWriter(self._name, codec, fps, _padded(size))
        if not writer.isOpened():
            raise InputError(f"{self.path}: cannot be written: folder writable? disk full?")
        self._writer, self._size, self._start = writer, size, stamp or 0.0
        return writer


def _padded(size: tuple[int, int]) -> tuple[int, int]:
    """Sides that codecs take: of odd ones they leave the last row or column out without a word.

    OpenCV's own AVI writes beyond its memory below 8 pixels.
    """
    width, height = (max(16, side + side % 2) for side in size)
    return width, height


class ImageSink:
    """One picture file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, image: np.ndarray, stamp: float | None, name: str = "") -> None:
        """Write the picture."""
        write_image(self.path, image)

    def close(self) -> None:
        """The file is complete already."""


class FolderSink:
    """A folder with one picture per frame, named after the frame."""

    def __init__(self, folder: Path, suffix: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.suffix = folder, suffix
        self._taken: set[str] = set()

    def write(self, image: np.ndarray, stamp: float | None, name: str) -> None:
        """Write ``name`` with the folder's suffix; a.jpg and a.png become a and a.png."""
        stem = Path(name).stem
        if stem in self._taken:
            stem = name
        self._taken.add(stem)
        write_image(self.folder / f"{stem}{self.suffix}", image)

    def close(self) -> None:
        """The files are complete already."""


def _identity(path: Path) -> tuple[int, int] | None:
    """What all links to a file have in common; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def write_image(path: Path, image: np.ndarray) -> None:
    """Write a picture in the format that its name says.

    Not by ``cv2.imwrite``, which crashes on names that are not UTF-8 and cannot say what failed.

    Raises:
        ValueError: the format is unknown, or does not take the picture.
        OSError: the file cannot be written.
    """
    try:
        done, content = cv2.imencode(path.suffix, image)
    except cv2.error as error:
        raise InputError(f"{path}: cannot be written: {error.err}") from None
    if not done:
        height, width = image.shape[:2]
        raise InputError(f"{path}: {width}x{height} pixels do not fit into this format")
    try:
        path.write_bytes(content.data)
    except OSError as error:  # a full disk does not say of which file it speaks
        raise OSError(error.errno, error.strerror, str(path)) from None

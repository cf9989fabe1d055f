"""The Python API: load a model, find the people in images and videos, draw them.

::

    model = kdc_core.load()
    people = model("street.jpg")
    for frame, people in model.track("video.mp4"):
        view = kdc_core.draw(frame.image, people)

With the same settings it reports the same people as ``kdc run`` and the ROS 2 node.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from os import PathLike, fspath
from pathlib import Path
from types import TracebackType

import numpy as np

from kdc_core.config import DecodeConfig
from kdc_core.engines import open_engine
from kdc_core.errors import InputError
from kdc_core.io import Source, open_source, overlay, read_image
from kdc_core.pipeline import Pipeline, open_pipeline
from kdc_core.session import DEFAULT_MIN_SCORE, Session, Skip
from kdc_core.types import Frame, People

ImageLike = np.ndarray | Frame | str | PathLike[str]
"""A BGR array (H, W, 3) uint8, a ``Frame``, or the path of an image file."""


def load(
    model: str | PathLike[str] | None = None,
    engine: str = "auto",
    long_side: int | None = None,
    min_score: float = DEFAULT_MIN_SCORE,
    *,
    threads: int = 0,
    flip: bool = False,
    config: DecodeConfig | None = None,
) -> Model:
    """Load a network and return the model.

    Args:
        model: an ONNX file, or a checkpoint of ``kdc train``; the weights in the package by
            default.
        engine: "auto" (the fastest that is installed), "cpu" (the fastest on the CPU), "tensorrt",
            "openvino", "onnxruntime" or "torch".
        long_side: longest side of the network's input in pixels, 64 to 4096; as trained by default.
            Larger finds smaller people and takes more time.
        min_score: report people whose ``score`` or ``mask_score`` reaches this value, 0 to 1.
        threads: CPU threads; 0 = all cores.
        flip: average the network's output over the image and its mirror image, in twice the time.
        config: parameters of the decoder.

    Raises:
        InputError: an argument is wrong, the file is no KDC model, or the engine is not installed.
    """
    path = None if model is None else Path(model)
    pipeline = open_pipeline(open_engine(engine, path, threads, long_side, flip), config)
    try:
        return Model(pipeline, min_score)
    except InputError:
        pipeline.close()
        raise


class Model:
    """Finds the people in images, and follows them through videos.

    ``model(image)`` treats every image by itself. ``model.track(source)`` keeps the id of a person
    from frame to frame. Leave a ``with`` block, or call ``close``, to release memory and devices.
    """

    def __init__(self, pipeline: Pipeline, min_score: float = DEFAULT_MIN_SCORE) -> None:
        """Wrap a pipeline; ``kdc_core.load`` makes one.

        Raises:
            InputError: ``min_score`` is not between 0 and 1.
        """
        self.pipeline = pipeline
        self._stills = Session(pipeline, min_score, tracking=False)
        self._closed = False

    @property
    def min_score(self) -> float:
        """Score from which people are reported, 0 to 1. A new value acts on the next frame."""
        return self._stills.min_score

    @min_score.setter
    def min_score(self, value: float) -> None:
        self._stills.min_score = value

    def __call__(self, image: ImageLike) -> People:
        """Return the people in one image. Ids count them from 1.

        Args:
            image: a BGR array (H, W, 3) uint8, a ``Frame``, or the path of an image file.

        Raises:
            InputError: the array has another shape or type, or the file is not an image.
        """
        self._check_open()
        frame = _frame(image)
        timing = self._stills.check(frame.stamp)
        assert not isinstance(timing, Skip)  # a session without tracking drops no frame
        return self._stills.process(frame, timing).people

    def track(
        self,
        source: str | int | PathLike[str] | Source | Iterable[np.ndarray | Frame],
        *,
        fps: float | None = None,
    ) -> Iterator[tuple[Frame, People]]:
        """Yield every frame of a source with its people, whose ids last from frame to frame.

        Ids start at 1 in every call. Frames that come late, or twice, are left out. The images of a
        folder are processed one by one, without tracking, unless ``fps`` is given.

        Args:
            source: path of a video, an image or a folder of images; index of a camera; address of a
                stream; or an iterable of BGR arrays (H, W, 3) uint8 or ``Frame`` objects.
            fps: frames per second of a folder or an iterable, whose frames have no stamps: frame i
                is taken at ``i / fps`` seconds. By default an array is taken when it arrives, which
                suits a camera, but not a file that is read as fast as possible.

        Raises:
            InputError: the source cannot be read, an array has another shape or type, or ``fps``
                is given for a source that has stamps.
        """
        self._check_open()
        if fps is not None and not 0 < fps < np.inf:
            raise InputError(f"fps: expected a number above 0, got {fps}")
        if isinstance(source, (int, str, PathLike)):
            source = open_source(str(fspath(source) if isinstance(source, PathLike) else source))
        if isinstance(source, Frame) or (isinstance(source, np.ndarray) and source.ndim < 4):
            raise InputError("track: expected a source of several frames, got one image")
        moving = True
        if isinstance(source, Source):
            kind = source.kind
            if fps is not None and kind != "folder":
                raise InputError(f"{source.name}: fps is for folders and arrays, not for a {kind}")
            moving = source.moving or fps is not None
        frames: Iterator[Frame] = map(_frame, source)
        if fps is not None:
            frames = (replace(frame, stamp=i / fps) for i, frame in enumerate(frames))
        return self._tracked(frames, Session(self.pipeline, self.min_score, moving))

    def session(self, tracking: bool = True) -> Session:
        """Return a new session, for a program that receives the frames of one camera itself."""
        self._check_open()
        return Session(self.pipeline, self.min_score, tracking)

    def close(self) -> None:
        """Release memory and devices. A second call does nothing."""
        if not self._closed:
            self._closed = True
            self.pipeline.close()

    def __enter__(self) -> Model:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        engine = "closed" if self._closed else self.pipeline.engine.name
        return f"Model({engine}, min_score {self.min_score:g})"

    def _tracked(self, frames: Iterator[Frame], session: Session) -> Iterator[tuple[Frame, People]]:
        for frame in frames:
            self._check_open()
            session.min_score = self.min_score
            timing = session.check(frame.stamp)
            if isinstance(timing, Skip):
                continue
            if frame.stamp is None:
                frame = replace(frame, stamp=timing.time)
            yield frame, session.process(frame, timing).people

    def _check_open(self) -> None:
        if self._closed:
            raise InputError("the model is closed: load it again")


def draw(image: np.ndarray | Frame, people: People) -> np.ndarray:
    """Return a copy of a BGR image (H, W, 3) with masks, skeletons, ids and centroids drawn.

    Filled keypoints and thick limbs are visible and certain; hollow keypoints and thin limbs are
    occluded or uncertain. The ring with a cross is the centroid that attracts the person's pixels.

    Raises:
        InputError: the people are of an image of another size.
    """
    return overlay(_frame(image).image, people)


def _frame(image: ImageLike) -> Frame:
    if isinstance(image, Frame):
        return image
    if isinstance(image, (str, PathLike)):
        path = Path(image)
        return Frame(read_image(path), frame_id=path.name)
    return Frame(image)

"""Run an engine and the decoder on a frame, and measure the time of each stage."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter

from kdc_core.config import DecodeConfig
from kdc_core.decode import decode
from kdc_core.engines import Engine
from kdc_core.errors import InputError
from kdc_core.track import VideoDecoder
from kdc_core.types import Frame, People


class Pipeline:
    """``pipeline(frame)`` returns the people in the frame; calls are independent of one another.

    ``pipeline(frame, video)`` tracks them from frame to frame. The state is in ``video``, of which
    there is one per camera, so several cameras can share a pipeline.
    """

    def __init__(self, engine: Engine, config: DecodeConfig | None = None) -> None:
        self.engine = engine
        self.config = config or DecodeConfig()
        self.timings: dict[str, float] = {}  # ms per stage of the last frame

    def __call__(
        self, frame: Frame, video: VideoDecoder | None = None, time: float | None = None
    ) -> People:
        """Return all people in a frame, whatever their score; ``timings`` has the times then.

        Args:
            frame: the image.
            video: tracker and memory of the camera; None treats the frame as a still image.
            time: seconds, when the frame was taken, for the tracker; ``frame.stamp`` by default.
        """
        timings, lap = stopwatch()
        fields = self.engine(frame)
        lap("network")
        time = frame.stamp if time is None else time
        if video is None:
            people = decode(fields, self.config, lap)
        elif time is None:
            raise InputError("frame: expected a stamp, which the tracker needs")
        else:
            people = video(fields, time, frame.image, lap, self.config)
        self.timings = timings
        return people

    def close(self) -> None:
        """Close the engine."""
        self.engine.close()


def stopwatch() -> tuple[dict[str, float], Callable[[str], None]]:
    """Return a dict of milliseconds per stage and a function that ends the current stage."""
    timings: dict[str, float] = {}
    last = perf_counter()

    def lap(stage: str) -> None:
        nonlocal last
        now = perf_counter()
        timings[stage] = timings.get(stage, 0.0) + (now - last) * 1e3
        last = now

    return timings, lap

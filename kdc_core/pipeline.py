"""Frame to people with any engine, and how long each stage took."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from kdc_core.config import DecodeConfig, ModelInfo
from kdc_core.decode import decode
from kdc_core.track.video import VideoDecoder
from kdc_core.types import Fields, Frame, People

#: stages in the order of the flow; "network" includes letterboxing the frame, and for a video
#: there is "track" before "assign"
STAGES = ("network", "hough", "group", "select", "assign", "score")


class Engine(Protocol):
    """What turns a frame into fields: ONNX Runtime, OpenVINO, torch, TensorRT."""

    info: ModelInfo
    name: str
    model: Path | None  # the file of its weights, if it has any

    def __call__(self, frame: Frame) -> Fields:
        """Run the network on one frame."""
        ...

    def close(self) -> None:
        """Give back what the engine holds."""
        ...


class Pipeline:
    """``pipeline(frame)`` is the people of that frame; every call is independent of the last.

    ``pipeline(frame, video)`` follows them from frame to frame: what is remembered is in ``video``,
    of which there is one per camera.
    """

    def __init__(self, engine: Engine, config: DecodeConfig | None = None) -> None:
        self.engine = engine
        self.config = config or DecodeConfig()
        self.timings: dict[str, float] = {}  # ms per stage of the last frame

    def __call__(self, frame: Frame, video: VideoDecoder | None = None) -> People:
        """Network and decoder; ``timings`` tells afterwards what each stage took."""
        timings, lap = _stopwatch()
        fields = self.engine(frame)
        lap("network")
        if video is None:
            people = decode(fields, self.config, lap)
        else:
            video.config = self.config
            people = video(fields, frame.stamp, frame.image, lap)
        self.timings = timings
        return people

    def close(self) -> None:
        """Close the engine."""
        self.engine.close()


def open_pipeline(engine: Engine, config: DecodeConfig | None = None) -> Pipeline:
    """The engine's own pipeline where it has one: TensorRT's leaves the fields on the GPU."""
    own = getattr(engine, "pipeline", None)
    return own(config) if own else Pipeline(engine, config)


def _stopwatch() -> tuple[dict[str, float], Callable[[str], None]]:
    """A dict of ms per stage and the function that ends a stage."""
    timings: dict[str, float] = {}
    last = time.perf_counter()

    def lap(stage: str) -> None:
        nonlocal last
        now = time.perf_counter()
        timings[stage] = timings.get(stage, 0.0) + (now - last) * 1e3
        last = now

    return timings, lap

"""Run network and decoder on the GPU; only candidates and the label image are downloaded."""

from __future__ import annotations

import logging

import numpy as np

from kdc_core.config import DecodeConfig
from kdc_core.cuda import MAX_PEAKS, MAX_PEOPLE, find_poses
from kdc_core.decode import SHARP, build_people
from kdc_core.engines import TensorrtEngine
from kdc_core.pipeline.pipeline import Pipeline, stopwatch
from kdc_core.track import VideoDecoder
from kdc_core.types import Frame, People

log = logging.getLogger(__name__)


class GpuPipeline(Pipeline):
    """``Pipeline`` for ``TensorrtEngine`` in which no dense field is copied to the host.

    Calls from several threads wait for one another. With a ``video`` the tracker reads the fields
    again, so they are downloaded and decoded as in ``Pipeline``. The same applies to settings that
    the kernels do not support, see ``not_on_gpu``.
    """

    engine: TensorrtEngine

    def __init__(self, engine: TensorrtEngine, config: DecodeConfig | None = None) -> None:
        super().__init__(engine, config)
        if reason := not_on_gpu(self.config):
            log.warning("%s: decoding on the CPU", reason)

    def __call__(
        self, frame: Frame, video: VideoDecoder | None = None, time: float | None = None
    ) -> People:
        """Return all people of a frame, as ``Pipeline``; ``timings["network"]`` is GPU time.

        Raises:
            InputError: the GPU failed, or has too little memory. After a failure every later call
                raises the same error at once.
        """
        config = self.config
        if video is not None or not_on_gpu(config):
            return super().__call__(frame, video, time)
        timings, lap = stopwatch()
        with self.engine.driver as driver:
            kernels = self.engine.prepare(frame.size, config.hough)
            start = driver.mark()
            self.engine.submit(frame)
            after = driver.mark()
            poses, centroids = find_poses(kernels, config, lap)
            timings["network"] = min(driver.milliseconds(start, after), timings["hough"])
            timings["hough"] -= timings["network"]
            del start, after  # events must be freed inside the context
            ids = np.arange(1, len(poses) + 1)
            instances = kernels.assign(centroids, ids, config.assign, config.centroid.mode)
            lap("assign")
        found = build_people(poses, centroids, instances, kernels.layout.letterbox, config.score)
        lap("score")
        self.timings = timings
        return found


def not_on_gpu(config: DecodeConfig) -> str:
    """Return the setting that the kernels do not support; empty if they support all."""
    if config.hough.max_peaks > MAX_PEAKS:
        return f"max_peaks {config.hough.max_peaks} is above the GPU's {MAX_PEAKS}"
    if config.group.max_people > MAX_PEOPLE:
        return f"max_people {config.group.max_people} is above the GPU's {MAX_PEOPLE}"
    if config.assign.igo_sigma > SHARP:
        return f"igo_sigma {config.assign.igo_sigma} smooths, which the GPU does not"
    return ""

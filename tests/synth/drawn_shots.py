"""Shots of drawn people, made in a millisecond: for what does not depend on how people look."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np

from kdc_lab.evaluate.composed_clips import Clip, Drawn, line
from kdc_lab.synth import RenderedFrame, SynthConfig


class Threads(ThreadPoolExecutor):
    """As ``kdc_core.system.worker_pool.Processes``; threads see what a test has put in place."""

    def close(self) -> None:
        self.shutdown()


def still(seed: int, config: SynthConfig, background: np.ndarray | None = None) -> RenderedFrame:
    """As ``kdc_lab.synth.still``: the fewest people, and one more if it may be, side by side."""
    return next(clip(seed, config, background=background))


def clip(
    seed: int, config: SynthConfig, seconds: float = 0.2, fps: float = 10.0,
    background: np.ndarray | None = None,
) -> Iterator[RenderedFrame]:  # fmt: skip
    """As ``kdc_lab.synth.clip``: they walk to the right, in colours that depend on the seed."""
    rng = np.random.default_rng(seed)
    width, height = config.size
    count = min(config.people[0] + 1, config.people[1])
    figures = [
        Drawn(line((i + 0.7) * width / (count + 1), 0.9 * height, 30), 0.7 * height, 1.0,
              tuple(rng.integers(60, 255, 3).tolist()))
        for i in range(count)
    ]  # fmt: skip
    behind = None if background is None else cv2.resize(background, config.size)
    film = Clip(tuple(figures), config.size, background=behind)
    for frame in range(round(seconds * fps)):
        shot = film.at(frame / fps)
        whole = [Clip((figure,), config.size).at(frame / fps).owner > 0 for figure in figures]
        boxes = [cv2.boundingRect(mask.astype(np.uint8)) for mask in whole]
        yield RenderedFrame(
            image=shot.image, labels=shot.owner, keypoints=shot.keypoints.astype(np.float32),
            box=np.array([(x, y, x + w, y + h) for x, y, w, h in boxes], np.float32),
            hidden=(1 - shot.share).astype(np.float32), ids=np.arange(1, count + 1),
            stamp=frame / fps,
        )  # fmt: skip

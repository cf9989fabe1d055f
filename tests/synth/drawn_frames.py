"""Frames of drawn people, made in a millisecond, for tests that do not need rendered people."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np

from kdc_lab.evaluate.composed_clips import Clip, Drawn, line
from kdc_lab.synth import RenderedFrame, SynthConfig


class Threads(ThreadPoolExecutor):
    """Stand-in for ``kdc_core.system.Processes``: threads see what a test has patched."""

    def close(self) -> None:
        self.shutdown()


def still(seed: int, config: SynthConfig, background: np.ndarray | None = None) -> RenderedFrame:
    """Stand-in for ``kdc_lab.synth.still``: the minimum number of people, plus one if allowed."""
    return next(clip(seed, config, background=background))


def clip(
    seed: int,
    config: SynthConfig,
    seconds: float = 0.2,
    fps: float = 10.0,
    background: np.ndarray | None = None,
) -> Iterator[RenderedFrame]:
    """Stand-in for ``kdc_lab.synth.clip``: people walk to the right in colours of the seed."""
    rng = np.random.default_rng(seed)
    width, height = config.size
    count = min(config.people[0] + 1, config.people[1])
    figures = [
        Drawn(
            line((i + 0.7) * width / (count + 1), 0.9 * height, 30),
            0.7 * height,
            1.0,
            tuple(rng.integers(60, 255, 3).tolist()),
        )
        for i in range(count)
    ]
    behind = None if background is None else cv2.resize(background, config.size)
    film = Clip(tuple(figures), config.size, background=behind)
    for frame in range(round(seconds * fps)):
        shot = film.at(frame / fps)
        alone = [Clip((figure,), config.size).at(frame / fps).owner > 0 for figure in figures]
        boxes = [cv2.boundingRect(mask.astype(np.uint8)) for mask in alone]
        yield RenderedFrame(
            image=shot.image,
            labels=shot.owner,
            keypoints=shot.keypoints.astype(np.float32),
            box=np.array([(x, y, x + w, y + h) for x, y, w, h in boxes], np.float32),
            hidden=(1 - shot.share).astype(np.float32),
            ids=np.arange(1, count + 1),
            stamp=frame / fps,
        )

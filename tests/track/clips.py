"""Clips played to a video decoder with perfect fields, or perfect fields with noise."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from kdc_core.track import VideoDecoder
from kdc_core.types import Fields, People
from kdc_lab.evaluate.composed_clips import Clip, ComposedFrame
from kdc_lab.evaluate.field_noise import noisy
from tests.scenes import Scene


def fields_of(shot: ComposedFrame, rng: np.random.Generator | None = None) -> Fields:
    """Return the output of a perfect network for a frame, or with ``rng`` of a good one."""
    seen = shot.seen()
    fields = Scene(seen.owner, seen.keypoints).fields()
    return fields if rng is None else noisy(fields, rng)


def play(
    clip: Clip, stamps: np.ndarray, decoder: VideoDecoder,
    rng: np.random.Generator | None = None,
) -> Iterator[tuple[float, ComposedFrame, People]]:  # fmt: skip
    """Yield stamp, truth and result of every frame."""
    for t in stamps.tolist():
        shot = clip.at(t)
        yield t, shot, decoder(fields_of(shot, rng), t)


def id_of(shot: ComposedFrame, people: People, figure: int) -> int:
    """Return the id of most of a figure's visible pixels, 0 = none."""
    own = people.labels[shot.owner == figure + 1]
    return int(np.bincount(own).argmax()) if len(own) else 0


def iou_of(shot: ComposedFrame, people: People, figure: int, identity: int) -> float:
    """Return the IoU of a figure's visible part and the pixels of an id."""
    mine, theirs = shot.owner == figure + 1, people.labels == identity
    return float((mine & theirs).sum() / max(1, (mine | theirs).sum()))


def stamps(seconds: float, rate: float = 30.0) -> np.ndarray:
    return np.arange(round(seconds * rate)) / rate

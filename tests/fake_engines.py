"""Engines without a network: one that finds nothing, and one that knows a composed clip."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import pytest

from kdc_core.config import ModelInfo
from kdc_core.letterbox import Letterbox
from kdc_core.skeleton import CHANNELS
from kdc_core.types import Fields, Frame

if TYPE_CHECKING:
    from kdc_lab.evaluate.composed_clips import Clip


class EmptyEngine:
    """Finds no people."""

    name = "empty"
    model = None

    def __init__(self, info: ModelInfo | None = None) -> None:
        self.info = info or ModelInfo(longest=64)
        self.closed = False

    def __call__(self, frame: Frame) -> Fields:
        info = self.info
        letterbox = Letterbox.fit(frame.size, info.longest, info.multiple)
        width, height = letterbox.input_size
        fields = np.zeros((1, CHANNELS, height // info.stride, width // info.stride), np.float32)
        seg = np.zeros((1, 1, height // info.seg_stride, width // info.seg_stride), np.float32)
        return Fields.from_tensors(fields, seg, info.radius, letterbox)

    def close(self) -> None:
        self.closed = True


@lru_cache(maxsize=1)
def two_walkers() -> Clip:
    """Return a clip of two people who pass each other, 320x240 pixels."""
    from kdc_lab.evaluate.composed_clips import Clip, Drawn, line

    return Clip((Drawn(line(60, 230, 60), 190), Drawn(line(260, 210, -60), 160)))


@lru_cache(maxsize=64)
def exact_fields(time: float) -> Fields:
    """Return what a perfect network finds in the clip at ``time`` seconds."""
    from tests.track.clips import fields_of

    return fields_of(two_walkers().at(time))


class ClipEngine(EmptyEngine):
    """Returns exact fields of ``two_walkers``.

    ``time_of`` returns the seconds of a frame in the clip; its stamp by default.
    """

    name = "clip"

    def __init__(self, time_of: Callable[[Frame], float] | None = None) -> None:
        pytest.importorskip("torch", reason="targets need torch: extra `train`")
        super().__init__(ModelInfo())
        self._time_of = time_of or (lambda frame: float(frame.stamp))

    def frame(self, time: float, stamp: float | None, name: str = "") -> Frame:
        """Return the frame of the clip at ``time`` seconds, stamped as given."""
        return Frame(two_walkers().at(time).image, stamp, name)

    def __call__(self, frame: Frame) -> Fields:
        return exact_fields(round(self._time_of(frame), 6))

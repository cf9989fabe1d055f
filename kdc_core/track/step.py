"""What one update of the tracker depends on besides the tracks and the measurements."""

from __future__ import annotations

from dataclasses import dataclass

from kdc_core.config import CentroidMode
from kdc_core.track.track_config import TrackConfig


@dataclass(frozen=True)
class Step:
    """One update of the tracker, from the last frame to this one."""

    stamp: float  # seconds, when this frame was taken
    dt: float  # seconds since the last frame
    config: TrackConfig
    mode: CentroidMode  # how the weights of the anchors are chosen
    radius: float  # R, input pixels
    size: tuple[int, int]  # width and height of the image in the input, pixels

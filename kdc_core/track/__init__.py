"""Track people over time: the same person keeps the same id and mask through occlusion."""

from kdc_core.track import kalman
from kdc_core.track.publish import TrackedFrame
from kdc_core.track.score_gate import ScoreGate, drop_below
from kdc_core.track.track_config import (
    AssociationConfig,
    LifecycleConfig,
    MotionConfig,
    PixelConfig,
    SmoothingConfig,
    TrackConfig,
    VisibilityConfig,
)
from kdc_core.track.tracker import Tracker
from kdc_core.track.video_decoder import VideoDecoder, keep_duplicates
from kdc_core.track.visibility import CentroidSwitch

__all__ = [
    "AssociationConfig",
    "CentroidSwitch",
    "LifecycleConfig",
    "MotionConfig",
    "PixelConfig",
    "ScoreGate",
    "SmoothingConfig",
    "TrackConfig",
    "TrackedFrame",
    "Tracker",
    "VideoDecoder",
    "VisibilityConfig",
    "drop_below",
    "kalman",
    "keep_duplicates",
]

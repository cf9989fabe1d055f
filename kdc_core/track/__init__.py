"""People over time: the same person, the same id, the same mask through occlusion."""

from kdc_core.track import kalman
from kdc_core.track.publish import TrackedFrame
from kdc_core.track.score_gate import ScoreGate, drop_below
from kdc_core.track.track_config import TrackConfig
from kdc_core.track.tracker import Tracker
from kdc_core.track.video_decoder import VideoDecoder, keep_duplicates
from kdc_core.track.visibility import CentroidSwitch

__all__ = [
    "CentroidSwitch",
    "ScoreGate",
    "TrackConfig",
    "TrackedFrame",
    "Tracker",
    "VideoDecoder",
    "drop_below",
    "kalman",
    "keep_duplicates",
]

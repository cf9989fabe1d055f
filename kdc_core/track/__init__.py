"""People over time: the same person, the same id, the same mask through occlusion."""

from kdc_core.track.config import TrackConfig
from kdc_core.track.tracker import TrackedFrame, Tracker
from kdc_core.track.video import VideoDecoder
from kdc_core.track.visibility import CentroidSwitch

__all__ = ["CentroidSwitch", "TrackConfig", "TrackedFrame", "Tracker", "VideoDecoder"]

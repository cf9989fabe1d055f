"""People over time: the same person, the same id, the same mask through occlusion."""

from kdc_core.track.config import TrackConfig
from kdc_core.track.publish import TrackedFrame
from kdc_core.track.tracker import LATE, Tracker
from kdc_core.track.video import VideoDecoder
from kdc_core.track.visibility import CentroidSwitch

__all__ = ["LATE", "CentroidSwitch", "TrackConfig", "TrackedFrame", "Tracker", "VideoDecoder"]

"""Replay recordings (rosbag2) without ROS: people, figures and reports."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kdc_core.lazy import lazy_exports

if TYPE_CHECKING:
    from kdc_lab.replay import baseline, parallel_replay
    from kdc_lab.replay.bag import bags_in, printable
    from kdc_lab.replay.camera_stats import describe_stamps
    from kdc_lab.replay.clip_files import Recording
    from kdc_lab.replay.comparison import compare
    from kdc_lab.replay.play import Replay, Settings
    from kdc_lab.replay.synthetic_clips import write_clips

__getattr__, __all__ = lazy_exports(
    __name__,
    {
        "baseline": (),
        "parallel_replay": (),
        "bag": ("bags_in", "printable"),
        "camera_stats": ("describe_stamps",),
        "clip_files": ("Recording",),
        "comparison": ("compare",),
        "play": (
            "Replay",
            "Settings",
        ),
        "synthetic_clips": ("write_clips",),
    },
)

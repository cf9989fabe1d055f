"""Statistics of one camera for the report: people over time, latency, and the worst frames."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from kdc_core.io import overlay
from kdc_core.track import CentroidSwitch
from kdc_core.types import Frame, People, Phase

WORST = 8  # frames that are shown
MIN_DISTANCE = 1.0  # seconds between two of them
WIDTH = 400  # pixels of a thumbnail


@dataclass
class Stay:
    """Time during which a person is in one phase."""

    id: int
    phase: int
    first: float  # seconds since the beginning of the recording
    last: float


@dataclass(frozen=True)
class WorstFrame:
    """A frame with a large error, or with many changes where there is no ground truth."""

    badness: float
    time: float  # seconds since the beginning of the recording
    topic: str
    stamp: int  # ns
    why: str
    jpeg: bytes


class CameraStats:
    """Collects the frames of one camera."""

    def __init__(self, topic: str) -> None:
        """Create empty statistics of the camera that publishes on ``topic``."""
        self.topic = topic
        self.times: list[float] = []  # seconds since the beginning of the recording
        self.people: list[int] = []  # people that are not occluded, of each frame
        self.stays: list[Stay] = []
        self.switches: list[tuple[float, int, str]] = []  # time, id, reason
        self.latency: list[float] = []  # ms; in real time only
        self.received = self.dropped = 0
        self.worst: list[WorstFrame] = []
        self._present: dict[int, Stay] = {}

    def add(
        self,
        time: float,
        frame: Frame,
        stamp: int,
        people: People,
        switches: tuple[CentroidSwitch, ...],
        error: float | None,
    ) -> None:
        """Add a frame.

        Args:
            time: seconds since the beginning of the recording.
            frame: the image.
            stamp: ns.
            people: people that are reported.
            switches: centroids that changed.
            error: what ``Evaluator.add`` returns; None without ground truth.
        """
        changes = self._update_stays(time, people)
        self.times.append(time)
        self.people.append(int((people.phase != Phase.OCCLUDED).sum()))
        self.switches += [(time, switch.id, switch.reason) for switch in switches]
        if error is not None:
            self._keep_if_worst(error, f"error {error:.2f}", time, frame, stamp, people)
        else:
            doubt = float((1 - people.score).mean() if len(people) else 0)
            why = f"{changes} people appeared or disappeared, {len(switches)} centroids switched"
            badness = changes + len(switches) + doubt
            self._keep_if_worst(badness, why, time, frame, stamp, people)

    def figures(self) -> dict[str, Any]:
        """Return the counts for ``summary.json``."""
        span = self.times[-1] - self.times[0] if self.times else 0.0
        figures: dict[str, Any] = {
            "frames": len(self.times),
            "seconds": round(span, 3),
            "people_per_frame": round(float(np.mean(self.people)) if self.people else 0.0, 4),
            "most_people": max(self.people, default=0),
            "ids": len({stay.id for stay in self.stays}),
            "centroid_switches": len(self.switches),
        }
        if self.latency:
            p50, p95 = np.percentile(self.latency, (50, 95))
            figures |= {
                "received": self.received,
                "dropped": self.dropped,
                "latency_p50_ms": round(float(p50), 1),
                "latency_p95_ms": round(float(p95), 1),
                "latency_max_ms": round(max(self.latency), 1),
            }
        return figures

    def _update_stays(self, time: float, people: People) -> int:
        """Extend the stays, and return how many people appeared or disappeared."""
        now = dict(zip(people.ids.tolist(), people.phase.tolist(), strict=True))
        changes = len(now.keys() ^ self._present.keys()) if self.times else 0
        for identity in self._present.keys() - now.keys():
            del self._present[identity]
        for identity, phase in sorted(now.items()):
            stay = self._present.get(identity)
            if stay is None or stay.phase != phase:
                if stay is not None:
                    stay.last = time
                self._present[identity] = stay = Stay(identity, phase, time, time)
                self.stays.append(stay)
            stay.last = time
        return changes

    def _keep_if_worst(
        self, badness: float, why: str, time: float, frame: Frame, stamp: int, people: People
    ) -> None:
        """Keep the frame if it is one of the worst; at most one a second."""
        rival = next((w for w in self.worst if abs(w.time - time) < MIN_DISTANCE), None)
        if rival is None and len(self.worst) == WORST:
            rival = self.worst[-1]
        if badness <= (rival.badness if rival else 0):
            return
        jpeg = thumbnail(overlay(frame.image, people))
        kept = [worst for worst in self.worst if worst is not rival]
        kept.append(WorstFrame(badness, time, self.topic, stamp, why, jpeg))
        self.worst = sorted(kept, key=lambda worst: -worst.badness)


def describe_stamps(counts: dict[str, int]) -> str:
    """Describe stamps that could not be used.

    Args:
        counts: a camera's entry under ``stamps`` in ``summary.json``; see ``FrameCounts``.

    Returns:
        One line; empty if all stamps could be used. Frames that were dropped because of their
        stamps are not part of it: the summary lists them under ``skipped``.
    """
    parts = []
    if counts["unstamped"]:
        parts.append(f"{counts['unstamped']} frames have no stamp (timed by arrival)")
    if counts["standing"]:
        parts.append(f"{counts['standing']} frames repeat the last stamp (timed by arrival)")
    if counts["resets"]:
        parts.append(f"the clock was set back {counts['resets']} x (ids start anew)")
    return "; ".join(parts)


def thumbnail(image: np.ndarray, images: int = 1) -> bytes:
    """Return a JPEG that is ``WIDTH`` pixels wide for each of the ``images`` side by side."""
    width = WIDTH * images
    height = max(1, round(image.shape[0] * width / image.shape[1]))
    small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    return cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 80])[1].tobytes()

"""What the report needs of every frame: who was there, how long it took, what was worst."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from kdc_core.io import overlay
from kdc_core.track import CentroidSwitch
from kdc_core.types import Frame, People, Phase

WORST = 8  # frames that are shown
APART = 1.0  # seconds between two of them
WIDTH = 400  # pixels of a thumbnail


@dataclass
class Stay:
    """One person from appearing to disappearing, in one phase."""

    id: int
    phase: int
    first: float  # seconds since the beginning of the recording
    last: float


@dataclass(frozen=True)
class WorstFrame:
    """A frame that went badly."""

    badness: float
    time: float  # seconds since the beginning
    topic: str
    stamp: int  # ns
    why: str
    picture: bytes  # JPEG


class CameraStats:
    """One camera's frames, as they are worked on."""

    def __init__(self, topic: str) -> None:
        self.topic = topic
        self.times: list[float] = []  # seconds since the beginning
        self.people: list[int] = []  # of each frame
        self.stays: list[Stay] = []
        self.switches: list[tuple[float, int, str]] = []  # time, id, what happened
        self.latency: list[float] = []  # ms; real time only
        self.received = self.dropped = 0
        self.worst: list[WorstFrame] = []
        self._open: dict[int, Stay] = {}

    def add(
        self, time: float, frame: Frame, stamp: int, people: People,
        moved: tuple[CentroidSwitch, ...], wrong: float | None,
    ) -> None:  # fmt: skip
        """Write one frame down; ``wrong`` is the judge's figure, None without a truth."""
        changes = self._people(time, people)
        self.times.append(time)
        self.people.append(int((people.phase != Phase.OCCLUDED).sum()))
        self.switches += [(time, one.id, one.reason) for one in moved]
        doubt = changes + len(moved) + float((1 - people.score).mean() if len(people) else 0)
        if wrong is not None:
            self._remember(wrong, f"error {wrong:.2f}", time, frame, stamp, people)
        else:
            why = f"{changes} came or went, {len(moved)} centroids moved"
            self._remember(doubt, why, time, frame, stamp, people)

    def figures(self) -> dict[str, Any]:
        """Counts for ``summary.json``."""
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
                "received": self.received, "dropped": self.dropped,
                "latency_p50_ms": round(float(p50), 1), "latency_p95_ms": round(float(p95), 1),
                "latency_max_ms": round(max(self.latency), 1),
            }  # fmt: skip
        return figures

    def _people(self, time: float, people: People) -> int:
        """Extend everybody's stay; how many came or went."""
        now = dict(zip(people.ids.tolist(), people.phase.tolist(), strict=True))
        changes = len(now.keys() ^ self._open.keys()) if self.times else 0
        for number in self._open.keys() - now.keys():
            del self._open[number]
        for number, phase in sorted(now.items()):
            stay = self._open.get(number)
            if stay is None or stay.phase != phase:
                if stay is not None:
                    stay.last = time
                self._open[number] = stay = Stay(number, phase, time, time)
                self.stays.append(stay)
            stay.last = time
        return changes

    def _remember(
        self, badness: float, why: str, time: float, frame: Frame, stamp: int, people: People
    ) -> None:
        """Keep the frame if it is among the worst, one a second."""
        rival = next((w for w in self.worst if abs(w.time - time) < APART), None)
        if rival is None and len(self.worst) == WORST:
            rival = self.worst[-1]
        if badness <= (rival.badness if rival else 0):
            return
        picture = thumbnail(overlay(frame.image, people))
        kept = [one for one in self.worst if one is not rival]
        kept.append(WorstFrame(badness, time, self.topic, stamp, why, picture))
        self.worst = sorted(kept, key=lambda one: -one.badness)


def thumbnail(image: np.ndarray, pictures: int = 1) -> bytes:
    """A JPEG of ``WIDTH`` pixels in width for each of the pictures side by side."""
    width = WIDTH * pictures
    height = max(1, round(image.shape[0] * width / image.shape[1]))
    small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    return cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 80])[1].tobytes()

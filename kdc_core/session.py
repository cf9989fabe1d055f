"""Process the frames of one camera: check stamps, track people, decide who is reported.

The node, ``kdc run``, ``kdc bench``, ``kdc replay`` and the Python API all use ``Session``, so a
replay reports what the robot reports.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from kdc_core.pipeline import Pipeline
from kdc_core.track import CentroidSwitch, ScoreGate, TrackConfig, VideoDecoder, drop_below
from kdc_core.types import Frame, People

DEFAULT_MIN_SCORE = 0.25
#: seconds; a frame up to this much older than the newest one came late and is dropped, an older
#: one means that the clock was set back
LATE = 1.0
#: duplicates in a row that are dropped; if more follow, the stamps stand still
STANDING = 3

_log = logging.getLogger(__name__)


class Skip(Enum):
    """Reason why a frame is not processed."""

    LATE = "late"  # it is older than a frame that was processed
    REPEATED = "repeated"  # it has the stamp of the last frame


@dataclass
class FrameCounts:
    """Frames of a camera whose stamps were not in order."""

    late: int = 0  # dropped: older than the newest frame by at most ``LATE`` seconds
    repeated: int = 0  # dropped: the stamp of the last frame came again
    unstamped: int = 0  # processed by arrival time: no stamp
    standing: int = 0  # processed by arrival time: the stamps stand still
    resets: int = 0  # the clock went back, all tracks were deleted


@dataclass(frozen=True)
class Timing:
    """When a frame was taken, on the time line of its camera."""

    time: float  # seconds, for the tracker; never decreases while ``reset`` is False
    stamp: float | None  # seconds, as it came; None = the frame has no stamp
    arrived: float  # seconds, on any clock that moves forward
    reset: bool = False  # the clock went back: forget all tracks first


class FrameClock:
    """Turns stamps as cameras send them into a time line that the tracker can use.

    * A stamp that is up to ``LATE`` older than the newest one: the frame is dropped.
    * A stamp that is older than that: the clock was set back, all tracks are deleted.
    * No stamp: the time moves on by the time that passed between the arrivals.
    * The stamp of the last frame: the frame is a duplicate and is dropped. After ``STANDING``
      duplicates in a row the stamps stand still, and the times of arrival are used.
    """

    def __init__(self, warn: Callable[[str], None]) -> None:
        self.counts = FrameCounts()
        self._warn = warn
        self._last: Timing | None = None  # of the last frame that was processed
        self._newest = -math.inf  # last stamp that was processed, seconds
        self._offset = 0.0  # time line minus stamp, seconds
        self._duplicates = 0  # in a row
        self._warned: set[str] = set()

    def check(self, stamp: float | None, arrived: float) -> Timing | Skip:
        """Return when the frame was taken, or why it has to be dropped.

        Args:
            stamp: seconds; None if the camera does not stamp its frames.
            arrived: seconds, when the frame was received, on any clock that moves forward.
        """
        if stamp is None:
            self.counts.unstamped += 1
            self._warn_once("unstamped", "frames have no stamp: using the time of arrival")
            return Timing(self._by_arrival(arrived), None, arrived)
        back = self._newest - stamp
        if back > LATE:
            self._duplicates = 0
            self.counts.resets += 1
            self._warned.discard("standing")
            self._warn(f"stamps went back by {back:.3f} s: ids start anew")
            return Timing(stamp, stamp, arrived, reset=True)
        if back > 0:
            self.counts.late += 1
            return Skip.LATE
        if back < 0:
            if self._duplicates > STANDING:
                self._warned.discard("standing")
            self._duplicates = 0
            return Timing(self._on_the_line(stamp, arrived), stamp, arrived)
        self._duplicates += 1
        if self._duplicates <= STANDING:
            self.counts.repeated += 1
            return Skip.REPEATED
        self.counts.standing += 1
        self._warn_once(
            "standing", f"stamps stand still at {stamp:.3f} s: using the time of arrival"
        )
        return Timing(self._by_arrival(arrived), stamp, arrived)

    def commit(self, timing: Timing) -> None:
        """Note that the frame of ``timing`` is processed."""
        self._last = timing
        if timing.stamp is not None:
            self._newest = timing.stamp
            self._offset = timing.time - timing.stamp

    def restart(self) -> None:
        """Forget all stamps, as before the first frame. The counts stay."""
        self._last, self._newest, self._offset, self._duplicates = None, -math.inf, 0.0, 0
        self._warned.clear()

    def _by_arrival(self, arrived: float) -> float:
        if self._last is None:
            return arrived
        return self._last.time + max(0.0, arrived - self._last.arrived)

    def _on_the_line(self, stamp: float, arrived: float) -> float:
        """Time of a newer stamp; not before frames that were timed by their arrival."""
        if self._last is None:
            return stamp
        if self._newest == -math.inf:  # only frames without a stamp so far
            return self._by_arrival(arrived)
        return max(stamp + self._offset, self._last.time)

    def _warn_once(self, kind: str, text: str) -> None:
        if kind not in self._warned:
            self._warned.add(kind)
            self._warn(text)


@dataclass(frozen=True)
class Result:
    """What a session reports for one frame."""

    people: People
    switches: tuple[CentroidSwitch, ...]  # centroids that changed, of reported people only


class Session:
    """Processes the frames of one camera, one after the other.

    ``session(frame)`` returns a ``Result``, or None if the frame was dropped. To decide before an
    image is decoded, call ``check`` with its stamp and then ``process``.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        min_score: float = DEFAULT_MIN_SCORE,
        tracking: bool = True,
        track: TrackConfig | None = None,
        warn: Callable[[str], None] = _log.warning,
    ) -> None:
        """Create a session; the tracker starts empty.

        Args:
            pipeline: engine and decoder. Several sessions may share it.
            min_score: report people whose ``score`` or ``mask_score`` reaches this value, 0 to 1.
                A tracked person that has reached it once stays reported. May be changed later.
            tracking: keep ids from frame to frame. Without it every frame is processed
                independently, none is dropped, and ids count the people of the frame.
            track: parameters of the tracker.
            warn: is called with one line when stamps are wrong.
        """
        self.pipeline = pipeline
        self.min_score = min_score
        self._clock = FrameClock(warn)
        self._gate = ScoreGate()
        self._video = VideoDecoder(pipeline.config, track) if tracking else None

    @property
    def counts(self) -> FrameCounts:
        """Frames whose stamps were not in order, since the session was created."""
        return self._clock.counts

    def __call__(self, frame: Frame, arrived: float | None = None) -> Result | None:
        """Process a frame that was taken at ``frame.stamp``; None if it was dropped.

        Args:
            frame: the image and its stamp. Frames come in the order in which they were received.
            arrived: seconds, when the frame was received; now by default.
        """
        timing = self.check(frame.stamp, arrived)
        return None if isinstance(timing, Skip) else self.process(frame, timing)

    def check(self, stamp: float | None, arrived: float | None = None) -> Timing | Skip:
        """Decide from its stamp whether a frame is processed; see ``FrameClock.check``."""
        now = time.monotonic() if arrived is None else arrived
        if self._video is None:
            return Timing(now if stamp is None else stamp, stamp, now)
        return self._clock.check(stamp, now)

    def process(self, frame: Frame, timing: Timing) -> Result:
        """Process a frame that ``check`` has let pass, and return the people that are reported."""
        if self._video is None:
            return Result(drop_below(self.pipeline(frame), self.min_score), ())
        if timing.reset:
            self._video.reset()
        self._clock.commit(timing)
        everyone = self.pipeline(frame, self._video, timing.time)
        people = self._gate(everyone, self.min_score)
        reported = set(people.ids.tolist())
        switches = tuple(switch for switch in self._video.switches if switch.id in reported)
        return Result(people, switches)

    def reset(self) -> None:
        """Delete all tracks and forget all stamps. Ids are not used again."""
        self._clock.restart()
        self._gate = ScoreGate()
        if self._video is not None:
            self._video.reset()

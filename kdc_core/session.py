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

from kdc_core.errors import InputError
from kdc_core.pipeline import Pipeline
from kdc_core.track import CentroidSwitch, ScoreGate, TrackConfig, VideoDecoder, drop_below
from kdc_core.types import Frame, People

#: people whose scores are lower are not reported by the library, the command line and the node
DEFAULT_MIN_SCORE = 0.25
#: seconds; a frame that is older than the newest one by up to this much came late and is dropped,
#: one that is older still means that the clock was set back
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
    """Frames of a camera whose stamps were missing or not in order."""

    late: int = 0  # dropped: older than the newest frame by at most ``LATE`` seconds
    repeated: int = 0  # dropped: the stamp of the last frame came again
    unstamped: int = 0  # timed by arrival: no stamp
    standing: int = 0  # timed by arrival: the stamps stand still
    resets: int = 0  # the clock was set back: all tracks were deleted


@dataclass(frozen=True)
class Timing:
    """When a frame was taken, on the time line of its camera."""

    time: float  # seconds, for the tracker; does not decrease unless ``reset`` is True
    stamp: float | None  # seconds, as it came; None = the frame has no stamp
    arrived: float  # seconds, on any clock that moves forward
    by_arrival: bool = False  # ``time`` was derived from ``arrived``, because the stamp is no use
    reset: bool = False  # the clock was set back: delete all tracks first


class FrameClock:
    """Turns the stamps of a camera into a time line that the tracker can use.

    * A newer stamp moves the time on by the difference between the stamps.
    * A stamp that is older than the newest one by up to ``LATE`` seconds: the frame is dropped.
    * A stamp that is older still: the clock was set back, all tracks are deleted.
    * No stamp: the time moves on by the time that passed between the arrivals.
    * The stamp of the last frame: the frame is a duplicate and is dropped. After ``STANDING``
      duplicates in a row the stamps stand still, and the times of arrival are used.
    * The first newer stamp after frames that were timed by their arrival is timed by its arrival as
      well, because it is unknown how long the stamps were wrong. Later stamps count from there.
    """

    def __init__(self, warn: Callable[[str], None]) -> None:
        """Create a clock.

        Args:
            warn: is called with one line when stamps are wrong; once until they are right again.
        """
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

        Raises:
            InputError: the stamp is not finite.
        """
        if stamp is None:
            self.counts.unstamped += 1
            self._warn_once("unstamped", "frames have no stamp: using the time of arrival")
            return Timing(self._time_by_arrival(arrived), None, arrived, by_arrival=True)
        if not math.isfinite(stamp):
            raise InputError(f"expected a finite stamp in seconds, got {stamp}")
        back = self._newest - stamp
        if back > LATE:
            return self._set_back(stamp, arrived, back)
        if back > 0:
            self.counts.late += 1
            return Skip.LATE
        if back == 0:
            return self._repeated(stamp, arrived)
        self._duplicates = 0
        self._warned.discard("standing")
        if self._last is not None and self._last.by_arrival:
            return Timing(self._time_by_arrival(arrived), stamp, arrived)
        return Timing(stamp + self._offset, stamp, arrived)

    def commit(self, timing: Timing) -> None:
        """Record that the frame of ``timing`` is processed; a frame that fails is not committed."""
        self._last = timing
        if timing.stamp is not None:
            self._newest = timing.stamp
            self._offset = timing.time - timing.stamp

    def restart(self) -> None:
        """Forget all stamps, as before the first frame. The counts stay."""
        self._last, self._newest, self._offset = None, -math.inf, 0.0
        self._warned.clear()

    def _set_back(self, stamp: float, arrived: float, back: float) -> Timing:
        self._duplicates = 0
        self._warned.discard("standing")
        self.counts.resets += 1
        self._warn(f"stamps went back by {back:.3f} s: ids start anew")
        return Timing(stamp, stamp, arrived, reset=True)

    def _repeated(self, stamp: float, arrived: float) -> Timing | Skip:
        self._duplicates += 1
        if self._duplicates <= STANDING:
            self.counts.repeated += 1
            return Skip.REPEATED
        self.counts.standing += 1
        self._warn_once(
            "standing", f"stamps stand still at {stamp:.3f} s: using the time of arrival"
        )
        return Timing(self._time_by_arrival(arrived), stamp, arrived, by_arrival=True)

    def _time_by_arrival(self, arrived: float) -> float:
        if self._last is None:
            return arrived
        return self._last.time + max(0.0, arrived - self._last.arrived)

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

        Raises:
            InputError: ``min_score`` is not between 0 and 1.
        """
        self.pipeline = pipeline
        self.min_score = min_score
        self._clock = FrameClock(warn)
        self._gate = ScoreGate()
        self._video = VideoDecoder(pipeline.config, track) if tracking else None

    @property
    def min_score(self) -> float:
        """Minimum score of a reported person, 0 to 1; a new value applies from the next frame."""
        return self._min_score

    @min_score.setter
    def min_score(self, value: float) -> None:
        if not 0 <= value <= 1:
            raise InputError(f"min_score: expected 0 to 1, got {value}")
        self._min_score = value

    @property
    def tracking(self) -> bool:
        """True if ids are kept from frame to frame."""
        return self._video is not None

    @property
    def counts(self) -> FrameCounts:
        """Frames whose stamps were missing or not in order, since the session was created."""
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

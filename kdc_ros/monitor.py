"""Health of one camera for /diagnostics: rates, latency, dropped images and the last error."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus, KeyValue

WINDOW = 5.0  # seconds over which rates and latencies are computed
ERROR_FADES = 10.0  # seconds after which an error no longer sets the level
#: entries of the two histories: longer than ``WINDOW`` at any rate of a camera
HISTORY = 4096


class Monitor:
    """Counts received images and published results; methods may be called from any thread.

    Times are of a monotonic clock: the stamps of a replayed recording are not related to now.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._started = clock()
        self._arrivals: deque[float] = deque(maxlen=HISTORY)  # seconds
        self._results: deque[tuple[float, float]] = deque(maxlen=HISTORY)  # seconds, latency in s
        self._last_error: tuple[float, str, bytes] | None = None  # seconds, text, level
        self._failing = False  # the last image could not be processed
        self._received = self._processed = self._people = self._failed = self._late = 0

    def received(self) -> float:
        """Count an image that came in.

        Returns:
            The time of its arrival, for ``processed``.
        """
        now = self._clock()
        with self._lock:
            self._received += 1
            self._arrivals.append(now)
        return now

    def processed(self, arrived: float, people: int) -> None:
        """Count an image whose results are published.

        Args:
            arrived: return value of ``received``.
            people: number of people that were published.
        """
        now = self._clock()
        with self._lock:
            self._processed += 1
            self._failing = False
            self._people = people
            self._results.append((now, now - arrived))

    def late(self) -> None:
        """Count an image as dropped because it was late or repeated."""
        with self._lock:
            self._late += 1

    def failed(self, text: str, internal: bool = False) -> None:
        """Count an image that could not be processed; ``internal`` marks a bug of the program."""
        level = DiagnosticStatus.ERROR if internal else DiagnosticStatus.WARN
        with self._lock:
            self._failed += 1
            self._failing = True
            self._last_error = (self._clock(), text, level)

    def warn(self, text: str) -> None:
        """Note a problem with an image that was processed all the same."""
        with self._lock:
            self._last_error = (self._clock(), text, DiagnosticStatus.WARN)

    def silence(self) -> float:
        """Return seconds since the last image; while all images fail, since the last result.

        A single image may take long, so this is not always the time since the last result.
        """
        with self._lock:
            results = [self._results[-1][0]] if self._results else []
            times = results if self._failing else self._arrivals
            return self._clock() - (times[-1] if times else self._started)

    def status(self, state: str, engine: str, dropped: int, stale_after: float) -> DiagnosticStatus:
        """Return the message for /diagnostics.

        The level is ERROR after an internal error, WARN if no image arrives or can be processed.

        Args:
            state: of the lifecycle.
            engine: name of the inference engine.
            dropped: images that were replaced by newer ones before they were processed.
            stale_after: seconds without an image after which the level is WARN.
        """
        now = self._clock()
        with self._lock:
            silent = now - (self._arrivals[-1] if self._arrivals else self._started)
            recent = [t for t in self._arrivals if t > now - WINDOW]
            latencies = [latency for t, latency in self._results if t > now - WINDOW]
            error, counts = self._last_error, (self._received, self._processed, self._failed)
            people, dropped = self._people, dropped + self._late
        span = max(min(WINDOW, now - self._started), 1e-3)
        p50, p95 = np.percentile(latencies, (50, 95)) * 1e3 if latencies else (0.0, 0.0)
        level, text = DiagnosticStatus.OK, f"{len(latencies) / span:.1f} fps"
        fresh = error if error and now - error[0] < ERROR_FADES else None
        if state != "active":
            text = state
        elif fresh and fresh[2] == DiagnosticStatus.ERROR:
            text, level = fresh[1:]
        elif silent > stale_after:
            level, text = DiagnosticStatus.WARN, f"no image for {silent:.1f} s"
        elif fresh:
            text, level = fresh[1:]
        values = {
            "state": state,
            "engine": engine,
            "fps in": f"{len(recent) / span:.1f}",
            "fps out": f"{len(latencies) / span:.1f}",
            "latency p50 ms": f"{p50:.1f}",
            "latency p95 ms": f"{p95:.1f}",
            "images received": str(counts[0]),
            "images processed": str(counts[1]),
            "images dropped": str(dropped),
            "images failed": str(counts[2]),
            "people": str(people),
            "last error": error[1] if error else "",
        }
        pairs = [KeyValue(key=key, value=value) for key, value in values.items()]
        return DiagnosticStatus(level=level, name="kdc", message=text, values=pairs)

"""How the node is doing: rates, latency, losses and the last error, for /diagnostics."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus, KeyValue

WINDOW = 5.0  # seconds that rates and latencies are taken over
ERROR_FADES = 10.0  # seconds after which a picture that failed no longer warns


class Monitor:
    """Counts pictures in and results out; used from the receiver's and the worker's thread.

    Times are of a monotonic clock, because stamps of a replayed recording say nothing about now.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._started = clock()
        self._arrivals: deque[float] = deque(maxlen=4096)  # seconds
        self._results: deque[tuple[float, float]] = deque(maxlen=4096)  # seconds, latency in s
        self._last_error: tuple[float, str] | None = None
        self._failing = False  # the last picture could not be processed
        self._received = self._processed = self._people = self._failed = self._late = 0

    def received(self) -> float:
        """A picture came in.

        Returns:
            When, to be given to ``processed``.
        """
        now = self._clock()
        with self._lock:
            self._received += 1
            self._arrivals.append(now)
        return now

    def processed(self, arrived: float, people: int) -> None:
        """Its results are published."""
        now = self._clock()
        with self._lock:
            self._processed += 1
            self._failing = False
            self._people = people
            self._results.append((now, now - arrived))

    def late(self) -> None:
        """A picture was left out, because a newer one had been processed; it counts as dropped."""
        with self._lock:
            self._late += 1

    def failed(self, text: str) -> None:
        """A picture could not be processed."""
        with self._lock:
            self._failed += 1
            self._failing = True
            self._last_error = (self._clock(), text)

    def complained(self, text: str) -> None:
        """A picture was processed, but something was amiss."""
        with self._lock:
            self._last_error = (self._clock(), text)

    def silence(self) -> float:
        """Seconds since a picture came in, while all fail since the last result.

        Not always since the last result: one picture may take its time.
        """
        with self._lock:
            results = [self._results[-1][0]] if self._results else []
            times = results if self._failing else self._arrivals
            return self._clock() - (times[-1] if times else self._started)

    def status(self, state: str, engine: str, dropped: int, stale_after: float) -> DiagnosticStatus:
        """The message; WARN where pictures fail to come or to be processed."""
        now = self._clock()
        with self._lock:
            silent = now - (self._arrivals[-1] if self._arrivals else self._started)
            recent = [t for t in self._arrivals if t > now - WINDOW]
            latencies = [latency for t, latency in self._results if t > now - WINDOW]
            error, counts = self._last_error, (self._received, self._processed, self._failed)
            people, dropped = self._people, dropped + self._late
        span = max(min(WINDOW, now - self._started), 1e-3)
        p50, p95 = np.percentile(latencies, (50, 95)) * 1e3 if latencies else (0.0, 0.0)
        level, text = DiagnosticStatus.OK, f"{len(latencies) / span:.1f} pictures/s"
        if state != "active":
            text = state
        elif silent > stale_after:
            level, text = DiagnosticStatus.WARN, f"no picture for {silent:.1f} s"
        elif error and now - error[0] < ERROR_FADES:
            level, text = DiagnosticStatus.WARN, error[1]
        values = {
            "state": state,
            "engine": engine,
            "fps in": f"{len(recent) / span:.1f}",
            "fps out": f"{len(latencies) / span:.1f}",
            "latency p50 ms": f"{p50:.1f}",
            "latency p95 ms": f"{p95:.1f}",
            "pictures received": str(counts[0]),
            "pictures processed": str(counts[1]),
            "pictures dropped": str(dropped),
            "pictures failed": str(counts[2]),
            "people": str(people),
            "last error": error[1] if error else "",
        }
        pairs = [KeyValue(key=key, value=value) for key, value in values.items()]
        return DiagnosticStatus(level=level, name="kdc", message=text, values=pairs)

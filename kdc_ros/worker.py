"""A thread that processes only the newest items; those it cannot keep up with are counted."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from typing import Generic, TypeVar

S = TypeVar("S")
T = TypeVar("T")


class NewestWorker(Generic[S, T]):
    """Calls ``work(source, item)`` on a thread of its own with the newest item of each source.

    Every source has one slot: a newer item replaces the waiting one but keeps its place in the
    queue. So an item waits for at most one call of ``work`` per source, whatever their rates, and
    a fast source cannot starve a slow one. An exception of ``work`` goes to ``fail(source,
    error)``, and the thread goes on with the next item.
    """

    def __init__(self, work: Callable[[S, T], None], fail: Callable[[S, Exception], None]) -> None:
        """Start the thread."""
        self._work = work
        self._fail = fail
        self._slots: dict[S, T] = {}  # in the order in which they will be served
        self._dropped: Counter[S] = Counter()
        self._running = True
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="newest-worker", daemon=True)
        self._thread.start()

    def dropped(self, source: S) -> int:
        """Return how many items of a source were replaced before they were processed.

        None is not counted: it stands for no item.
        """
        return self._dropped[source]

    def put(self, source: S, item: T) -> None:
        """Make ``item`` the next one of its source. Returns at once; ignored after ``stop``."""
        with self._changed:
            if not self._running:
                return
            self._dropped[source] += self._slots.get(source) is not None
            self._slots[source] = item
            self._changed.notify()

    def discard(self) -> None:
        """Remove all waiting items without counting them as dropped."""
        with self._changed:
            self._slots.clear()

    def stop(self, timeout: float = 5.0) -> bool:
        """Finish the current item, remove the waiting ones, and end the thread.

        Returns:
            True if the thread ended within ``timeout`` seconds.
        """
        with self._changed:
            self._running = False
            self._slots.clear()
            self._changed.notify()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while (entry := self._take()) is not None:
            try:
                self._work(*entry)
            except Exception as error:  # one item must not stop the next ones
                self._fail(entry[0], error)

    def _take(self) -> tuple[S, T] | None:
        with self._changed:
            self._changed.wait_for(lambda: self._slots or not self._running)
            if not self._running:
                return None
            source = next(iter(self._slots))
            return source, self._slots.pop(source)

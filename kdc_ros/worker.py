"""A thread that works on the newest item only; what it cannot keep up with is dropped, counted."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class NewestWorker(Generic[T]):
    """Calls ``work(item)`` on a thread of its own with the newest item that was put.

    One slot holds the next item: a newer one replaces it, so the age of what is worked on is
    bounded by one call of ``work`` whatever the camera's rate. An exception of ``work`` goes to
    ``failed`` and the thread goes on with the next item.
    """

    def __init__(self, work: Callable[[T], None], failed: Callable[[Exception], None]) -> None:
        self._work = work
        self._failed = failed
        self._slot: list[T] = []  # at most one item
        self._dropped = 0
        self._running = True
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="newest-worker", daemon=True)
        self._thread.start()

    @property
    def dropped(self) -> int:
        """Items that were replaced by a newer one before they were worked on."""
        return self._dropped

    def put(self, item: T) -> None:
        """Make ``item`` the next one; never blocks for long. Ignored after ``stop``."""
        with self._changed:
            if not self._running:
                return
            self._dropped += len(self._slot)
            self._slot = [item]
            self._changed.notify()

    def stop(self, timeout: float = 5.0) -> bool:
        """Finish the item in work, drop the waiting one, end the thread.

        Returns:
            Whether the thread ended within ``timeout`` seconds.
        """
        with self._changed:
            self._running = False
            self._slot = []
            self._changed.notify()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while (item := self._take()) is not None:
            try:
                self._work(item[0])
            except Exception as error:  # whatever one picture does must not stop the camera
                self._failed(error)

    def _take(self) -> list[T] | None:
        with self._changed:
            self._changed.wait_for(lambda: self._slot or not self._running)
            item, self._slot = self._slot, []
            return item if self._running else None

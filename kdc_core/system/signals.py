"""Handle the signals that end a program: Ctrl-C, SIGTERM, and SIGHUP of a closed terminal."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


def end_in_order() -> None:
    """Make SIGTERM and SIGHUP raise ``KeyboardInterrupt`` with their number, as Ctrl-C does.

    A video can only be played if it is closed in order. Signals that are ignored stay ignored,
    because nohup relies on it.
    """
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _end)


def _end(number: int, _: FrameType | None) -> None:
    for n in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(n) is _end:  # a closed terminal may send two: finish the cleanup
            signal.signal(n, lambda *_: None)
    raise KeyboardInterrupt(number)


@contextmanager
def deferred() -> Iterator[list[int]]:
    """Collect the numbers of interrupting signals in a list; a second Ctrl-C does interrupt.

    Nothing changes in a thread, or for signals that are ignored or have another handler.
    """
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received
        return
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    handlers: dict[int, Any] = {
        n: do for n in numbers if (do := signal.getsignal(n)) in (signal.default_int_handler, _end)
    }

    def note(number: int, _: FrameType | None) -> None:
        received.append(number)
        if number == signal.SIGINT:
            signal.signal(number, handlers[number])

    for number in handlers:
        signal.signal(number, note)
    try:
        yield received
    finally:
        for number, do in handlers.items():
            signal.signal(number, do)

"""Signals that ask a program to end: Ctrl-C, SIGTERM, and SIGHUP when its terminal is closed."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


def end_in_order() -> None:
    """Let SIGTERM and SIGHUP do as Ctrl-C does: a video that is not closed cannot be played.

    Ignored ones stay ignored: that is what nohup is for. ``KeyboardInterrupt`` gets the number.
    """
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _end)


def _end(number: int, _: FrameType | None) -> None:
    for n in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(n) is _end:  # a closed terminal may send two: not in midst of closing
            signal.signal(n, lambda *_: None)
    raise KeyboardInterrupt(number)


@contextmanager
def deferred() -> Iterator[list[int]]:
    """Inside, signals that would interrupt are listed instead; a second Ctrl-C does interrupt.

    In a thread, or where signals are ignored or somebody else's, nothing is changed.
    """
    told: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield told
        return
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    usual = {
        n: do for n in numbers if (do := signal.getsignal(n)) in (signal.default_int_handler, _end)
    }

    def note(number: int, _: FrameType | None) -> None:
        told.append(number)
        if number == signal.SIGINT:
            signal.signal(number, usual[number])

    for number in usual:
        signal.signal(number, note)
    try:
        yield told
    finally:
        for number, do in usual.items():
            signal.signal(number, do)

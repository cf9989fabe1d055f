"""Ctrl-C while training: heeded between two steps, so that the run can be resumed as it was."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def ctrl_c() -> Iterator[threading.Event]:
    """Inside, the first Ctrl-C sets the event, and a second one interrupts as usual.

    In a thread, or where Ctrl-C is ignored or somebody else's, nothing is changed.
    """
    asked = threading.Event()
    usual = signal.getsignal(signal.SIGINT)
    if usual is not signal.default_int_handler or (
        threading.current_thread() is not threading.main_thread()
    ):
        yield asked
        return

    def ask(*_: Any) -> None:
        signal.signal(signal.SIGINT, usual)
        asked.set()

    signal.signal(signal.SIGINT, ask)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, usual)

"""CUDA graphs: work of a stream recorded once, queued with one call; PyCUDA has no API for it."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache

from kdc_core.errors import InputError

_THREAD_LOCAL = 1  # other threads of the process may allocate while this one records


class Graph:
    """What ``queue`` puts on a stream, ready to be queued again and again.

    Needs the driver's context; addresses and sizes are those of the recording.

    Raises:
        ValueError: the driver is older than CUDA 11.4, or the work cannot be recorded.
    """

    def __init__(self, stream: int, queue: Callable[[], None]) -> None:
        self._stream = ctypes.c_void_p(stream)
        self._ready = ctypes.c_void_p()
        graph = ctypes.c_void_p()
        _call("cuStreamBeginCapture_v2", self._stream, ctypes.c_int(_THREAD_LOCAL))
        try:
            queue()
        finally:  # the stream must come out of the recording whatever happened
            status = _function("cuStreamEndCapture")(self._stream, ctypes.byref(graph))
        if status:
            raise InputError(f"cuStreamEndCapture failed with status {status}")
        try:
            flags = ctypes.c_ulonglong(0)
            _call("cuGraphInstantiateWithFlags", ctypes.byref(self._ready), graph, flags)
        finally:
            _call("cuGraphDestroy", graph)

    def launch(self) -> None:
        """Queue it on the stream that it was recorded from."""
        _call("cuGraphLaunch", self._ready, self._stream)

    def close(self) -> None:
        """Give its memory back; a second call does nothing."""
        if self._ready:
            _function("cuGraphExecDestroy")(self._ready)  # of no use any more, whatever it says
            self._ready = ctypes.c_void_p()


@cache
def _function(name: str) -> Callable[..., int]:
    try:
        function: Callable[..., int] = getattr(ctypes.CDLL("libcuda.so.1"), name)
    except (OSError, AttributeError):
        raise InputError(f"the CUDA driver has no {name}") from None
    return function


def _call(name: str, *values: object) -> None:
    if status := _function(name)(*values):
        raise InputError(f"{name} failed with status {status}")

"""CUDA graphs through ctypes: PyCUDA has no API for them."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache

_THREAD_LOCAL = 1  # capture mode: other threads may allocate meanwhile


class GraphError(RuntimeError):
    """The driver cannot capture or launch a graph."""


class Graph:
    """Work of a stream that was captured once and is launched with one call.

    A graph needs the driver's context. Addresses and sizes are those of the capture.

    Args:
        stream: handle of the stream.
        queue: queues the work on the stream.

    Raises:
        GraphError: the driver is older than CUDA 11.4, or the work cannot be captured.
    """

    def __init__(self, stream: int, queue: Callable[[], None]) -> None:
        self._stream = ctypes.c_void_p(stream)
        self._ready = ctypes.c_void_p()
        graph = ctypes.c_void_p()
        _call("cuStreamBeginCapture_v2", self._stream, ctypes.c_int(_THREAD_LOCAL))
        try:
            queue()
        finally:  # the stream must leave the capture in any case
            status = _function("cuStreamEndCapture")(self._stream, ctypes.byref(graph))
        if status:
            raise GraphError(f"cuStreamEndCapture failed with status {status}")
        try:
            flags = ctypes.c_ulonglong(0)
            _call("cuGraphInstantiateWithFlags", ctypes.byref(self._ready), graph, flags)
        finally:
            _call("cuGraphDestroy", graph)

    def launch(self) -> None:
        """Launch the graph on the stream that it was captured from."""
        _call("cuGraphLaunch", self._ready, self._stream)

    def close(self) -> None:
        """Release the graph. A second call does nothing."""
        if self._ready:
            _function("cuGraphExecDestroy")(self._ready)
            self._ready = ctypes.c_void_p()


@cache
def _function(name: str) -> Callable[..., int]:
    try:
        function: Callable[..., int] = getattr(ctypes.CDLL("libcuda.so.1"), name)
    except (OSError, AttributeError):
        raise GraphError(f"the CUDA driver has no {name}") from None
    return function


def _call(name: str, *values: object) -> None:
    if status := _function(name)(*values):
        raise GraphError(f"{name} failed with status {status}")

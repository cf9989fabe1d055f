"""What the kernels' host code asks of a GPU library."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np


class Driver(Protocol):
    """What the kernels need of a GPU library. Work is queued in order on one stream."""

    def allocate(self, shape: tuple[int, ...], dtype: Any) -> Any:
        """A buffer with ``shape`` and ``dtype``; its content is undefined."""

    def address(self, buffer: Any) -> int:
        """Where a buffer begins on the device."""

    def clear(self, buffer: Any) -> None:
        """Zero a buffer."""

    def upload(self, buffer: Any, array: np.ndarray) -> None:
        """Copy an array to the start of a buffer."""

    def download(self, buffer: Any) -> np.ndarray:
        """Wait, and copy a buffer to a new array."""

    def download_all(self, buffers: Sequence[Any]) -> list[np.ndarray]:
        """``download`` of several buffers with one wait."""

    def launch(self, name: str, grid: tuple[int, ...], block: tuple[int, ...], *args: Any) -> None:
        """Queue a kernel; arguments are buffers, ints and floats."""

    def release(self, buffer: Any) -> None:
        """Free one buffer."""

    def close(self) -> None:
        """Free every buffer."""

"""The interface between the kernels' host code and a GPU library."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np


class Driver(Protocol):
    """A GPU library. Work is queued in order on one stream."""

    def allocate(self, shape: tuple[int, ...], dtype: Any) -> Any:
        """Allocate a buffer; its content is undefined."""

    def address(self, buffer: Any) -> int:
        """Return the device address of a buffer."""

    def clear(self, buffer: Any) -> None:
        """Fill a buffer with zeros."""

    def upload(self, buffer: Any, array: np.ndarray) -> None:
        """Copy an array to the start of a buffer."""

    def download(self, buffer: Any) -> np.ndarray:
        """Wait for the stream and copy a buffer to a new array."""

    def download_all(self, buffers: Sequence[Any]) -> list[np.ndarray]:
        """Download several buffers with one wait."""

    def launch(self, name: str, grid: tuple[int, ...], block: tuple[int, ...], *args: Any) -> None:
        """Queue a kernel. Arguments are buffers, ints and floats."""

    def release(self, buffer: Any) -> None:
        """Free one buffer."""

    def close(self) -> None:
        """Free every buffer."""

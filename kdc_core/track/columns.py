"""Columns of arrays with one row per track."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np

T = TypeVar("T", bound="Rows")


class Rows:
    """Base of frozen dataclasses whose fields are arrays, or other ``Rows``, of equal length.

    The arrays are never written to, so that rows which do not change need not be copied.
    """

    def columns(self) -> dict[str, Any]:
        """Return the fields by name."""
        return vars(self)

    def __getitem__(self: T, index: Any) -> T:
        """Return the rows at ``index``: a boolean mask, indices or a slice."""
        if isinstance(index, np.ndarray) and index.dtype == bool and index.all():
            return self
        return type(self)(**{name: value[index] for name, value in self.columns().items()})

    def join(self: T, other: T) -> T:
        """Return the rows of self, followed by those of ``other``."""
        theirs = other.columns()
        return type(self)(**{n: _join(mine, theirs[n]) for n, mine in self.columns().items()})

    def put(self: T, index: np.ndarray, rows: T) -> T:
        """Return a copy in which ``rows`` replace the rows at ``index``."""
        if not len(index):
            return self
        theirs = rows.columns()
        return type(self)(**{n: _put(mine, index, theirs[n]) for n, mine in self.columns().items()})


def _join(mine: Any, other: Any) -> Any:
    return mine.join(other) if isinstance(mine, Rows) else np.concatenate([mine, other])


def _put(mine: Any, index: np.ndarray, rows: Any) -> Any:
    if isinstance(mine, Rows):
        return mine.put(index, rows)
    changed = mine.copy()
    changed[index] = rows
    return changed

from __future__ import annotations

from pathlib import Path

import pytest

from tests.training_set import annotation, entry, write_set


@pytest.fixture
def small_set(tmp_path: Path) -> Path:
    """Write eight images with one or two people each; images 7 and 27 are for tuning."""
    ids = [1, 2, 3, 4, 5, 6, 7, 27]
    labels = []
    for i in ids:
        labels.append(annotation(2 * i, i, (60, 80), 0.9))
        if i % 2:
            labels.append(annotation(2 * i + 1, i, (140, 85), 1.1))
    return write_set(tmp_path / "set", [entry(i) for i in ids], labels)

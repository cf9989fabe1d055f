"""Compare the figures of a replay with an earlier one: a guard for continuous integration."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from kdc_core.errors import InputError

#: figures that may not fall: (name, section, key of ``summary["truth"]``)
FIGURES = (
    ("mask AP", "segm", "AP"),
    ("keypoint AP", "keypoints", "AP"),
    ("mask and skeleton by the same prediction", "same_person", "share"),
    ("HOTA", "tracks", "HOTA"),
    ("IDF1", "tracks", "IDF1"),
)


def read(path: Path) -> dict[str, Any]:
    """Read an earlier ``summary.json``; ``path`` is the file or its folder.

    Raises:
        InputError: it is another file, or it has no figures against a ground truth.
    """
    path = path / "summary.json" if path.is_dir() else path
    try:
        summary = json.loads(path.read_text(encoding="utf-8"))
        truth = summary["truth"]
        known = [figure(summary, section, key) for _, section, key in FIGURES]
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise InputError(f"{path}: expected a summary.json of kdc replay") from None
    if not all(value is None or _is_finite(value) for value in known):
        raise InputError(f"{path}: expected a summary.json of kdc replay, whose figures are finite")
    if not truth:
        raise InputError(
            f"{path}: it has no figures against a ground truth, so nothing can be compared with it"
        )
    return summary


def fallen(summary: dict[str, Any], baseline: dict[str, Any], margin: float) -> list[str]:
    """Return a line for every figure that is more than ``margin`` below the baseline's."""
    lines = []
    for name, section, key in FIGURES:
        before = figure(baseline, section, key)
        after = figure(summary, section, key)
        if before is not None and (after is None or after < before - margin):
            now = "no figure" if after is None else f"{after:.4f}"
            lines.append(f"{name}: {before:.4f} -> {now} (margin {margin:g})")
    return lines


def figure(summary: dict[str, Any], section: str, key: str) -> float | None:
    """Return a figure against the ground truth; None where there is none."""
    return ((summary.get("truth") or {}).get(section) or {}).get(key)


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)

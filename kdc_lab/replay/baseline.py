"""Whether a replay is worse than an earlier one: the guard for somebody's CI."""

from __future__ import annotations

import json
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
    """An earlier ``summary.json``, or the folder it is in.

    Raises:
        ValueError: it is none, or it has no figures against a truth.
    """
    path = path / "summary.json" if path.is_dir() else path
    try:
        summary = json.loads(path.read_text(encoding="utf-8"))
        truth = summary["truth"]
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError):
        raise InputError(f"{path}: expected a summary.json of kdc replay") from None
    if not truth:
        raise InputError(f"{path}: has no figures against a truth, so nothing can fall below them")
    return summary


def fallen(summary: dict[str, Any], baseline: dict[str, Any], margin: float) -> list[str]:
    """A line for every figure that lies more than ``margin`` below the baseline's."""
    lines = []
    for name, section, key in FIGURES:
        before = figure(baseline, section, key)
        after = figure(summary, section, key)
        if before is not None and (after is None or after < before - margin):
            now = "no figure" if after is None else f"{after:.4f}"
            lines.append(f"{name}: {before:.4f} -> {now} (margin {margin:g})")
    return lines


def figure(summary: dict[str, Any], section: str, key: str) -> float | None:
    """A figure against the truth; None where there is none."""
    return ((summary.get("truth") or {}).get(section) or {}).get(key)

"""Read annotation files in COCO's format."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from kdc_core.errors import InputError

TYPICAL_FILL = 0.53  # share of a person's box that the mask covers, if the file has no area
FARTHEST = 1e5  # pixels from the origin of an image; real polygons end far before


def read_annotations(file: Path) -> dict[str, Any]:
    """Read a COCO file and check that it has the lists ``images`` and ``annotations``.

    Raises:
        InputError: no such file, not JSON, or one of the lists is missing.
    """
    if not file.is_file():
        raise InputError(f"{file}: no such annotation file")
    try:
        content = json.loads(file.read_bytes())
    except (ValueError, RecursionError) as error:  # ValueError includes text that is not UTF-8
        raise InputError(f"{file}: not JSON, expected a COCO annotation file: {error}") from None
    for name in ("images", "annotations"):
        if not isinstance(content, dict) or not isinstance(content.get(name), list):
            raise InputError(
                f"{file}: expected a COCO annotation file, but it has no list `{name}`"
            )
    if not content["images"]:
        raise InputError(f"{file}: the list `images` is empty")
    return content


def check_runs(mask: dict[str, Any], size: tuple[int, int]) -> None:
    """Check that a run-length mask covers an image of ``size`` (height, width).

    pycocotools reads a shorter one beyond its end; the result is random, or it never returns.

    Raises:
        InputError: the size differs, the runs are no numbers, or their sum is wrong.
    """
    counts, given = mask.get("counts"), mask.get("size")
    if not isinstance(given, list | tuple) or tuple(given) != tuple(size):
        raise InputError(f"expected a mask of (height, width) {tuple(size)}, got {given}")
    if isinstance(counts, str | bytes):
        counts = run_lengths(counts.encode() if isinstance(counts, str) else counts)
    if not isinstance(counts, list) or not all(type(n) is int and n >= 0 for n in counts):
        raise InputError("expected run lengths of a mask: numbers from 0, or COCO's text")
    if sum(counts) != size[0] * size[1]:
        raise InputError(
            f"expected a mask of {size[0] * size[1]} pixels, its runs have {sum(counts)}"
        )


def corners(polygon: Any) -> list[float]:
    """Return the coordinates of a polygon as floats.

    pycocotools rasterises the edges pixel by pixel, so an infinite coordinate never terminates.

    Raises:
        InputError: a coordinate is NaN, or farther away than ``FARTHEST``.
        ValueError: a coordinate is no number.
        TypeError: ``polygon`` is no list of numbers.
    """
    numbers = [float(number) for number in polygon]
    far = next((number for number in numbers if not abs(number) <= FARTHEST), None)
    if far is not None:
        raise InputError(f"expected coordinates up to {FARTHEST:g} pixels, got {far}")
    return numbers


def run_lengths(text: bytes) -> list[int]:
    """Decode run lengths from COCO's text: five bits per character, lowest first.

    From the fourth run on, the text has the difference to the run before the last.

    Raises:
        InputError: it is no such text, or ends in the middle of a number.
    """
    runs: list[int] = []
    value = shift = 0
    for character in text:
        bits = character - ord("0")
        if not 0 <= bits < 64 or shift > 30:
            raise InputError(f"not a run-length text: {text[:20]!r}")
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:  # the number continues
            continue
        if bits & 16:
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    if shift:
        raise InputError("a run-length text ends in the middle of a number")
    return runs


def person_category(content: dict[str, Any]) -> int:
    """Return the id of the category "person", of the only category, or 1 if there is none.

    Raises:
        InputError: there are several categories without a "person", or they are malformed.
    """
    try:
        ids = {entry["name"]: int(entry["id"]) for entry in content.get("categories") or []}
    except (KeyError, TypeError, ValueError, OverflowError):
        raise InputError("expected a name and a numeric id in each of `categories`") from None
    if "person" in ids:
        return ids["person"]
    if len(ids) > 1:
        raise InputError(
            f"expected a category named person, got {', '.join(sorted(map(str, ids)))}"
        )
    return next(iter(ids.values()), 1)

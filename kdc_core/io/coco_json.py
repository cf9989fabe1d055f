"""Annotation files in COCO's format, as far as training and evaluation read them alike."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from kdc_core.errors import InputError

TYPICAL_FILL = 0.53  # share of a person's box that its mask covers, where the area is not said
FARTHEST = 1e5  # pixels from a picture's origin; what is drawn beyond its edge ends far before


def read_annotations(file: Path) -> dict[str, Any]:
    """The content of a COCO file with its lists ``images`` and ``annotations``.

    Raises:
        ValueError: no such file, not JSON, or one of the lists is absent.
    """
    if not file.is_file():
        raise InputError(f"{file}: no such annotation file")
    try:
        content = json.loads(file.read_bytes())
    except (ValueError, RecursionError) as error:  # also text that is not UTF-8
        raise InputError(f"{file}: not JSON, expected a COCO annotation file: {error}") from None
    for name in ("images", "annotations"):
        if not isinstance(content, dict) or not isinstance(content.get(name), list):
            raise InputError(f"{file}: expected a COCO annotation file, got no list `{name}` in it")
    if not content["images"]:
        raise InputError(f"{file}: the list `images` is empty")
    return content


def check_runs(mask: dict[str, Any], size: tuple[int, int]) -> None:
    """Check that a run-length mask is one of a whole picture of (height, width).

    pycocotools reads a shorter one beyond its end: it answers by chance, or never.

    Raises:
        ValueError: it is of another size, or its runs are not numbers or end elsewhere.
    """
    counts, given = mask.get("counts"), mask.get("size")
    if not isinstance(given, list | tuple) or tuple(given) != tuple(size):
        raise InputError(f"expected a mask of (height, width) {tuple(size)}, got {given}")
    if isinstance(counts, str | bytes):
        counts = run_lengths(counts.encode() if isinstance(counts, str) else counts)
    if not isinstance(counts, list) or not all(type(n) is int and n >= 0 for n in counts):
        raise InputError("expected run lengths of a mask: numbers from 0 on, or COCO's text")
    if sum(counts) != size[0] * size[1]:
        raise InputError(
            f"expected a mask of {size[0] * size[1]} pixels, its runs have {sum(counts)}"
        )


def corners(polygon: Any) -> list[float]:
    """The coordinates of a mask's polygon as numbers.

    pycocotools walks along its edges pixel by pixel, outside the picture as well: with a corner at
    infinity for ever.

    Raises:
        ValueError: a coordinate is no number, or nowhere near a picture.
        TypeError: it is no list of numbers.
    """
    numbers = [float(number) for number in polygon]
    far = next((number for number in numbers if not abs(number) <= FARTHEST), None)
    if far is not None:
        raise InputError(f"expected coordinates up to {FARTHEST:g} pixels, got {far}")
    return numbers


def run_lengths(text: bytes) -> list[int]:
    """Run lengths of COCO's text: five bits a character, from the third on as differences.

    Raises:
        ValueError: it is not such a text, or ends in the middle of a number.
    """
    runs: list[int] = []
    value = shift = 0
    for character in text:
        bits = character - ord("0")
        if not 0 <= bits < 64 or shift > 30:
            raise InputError(f"not a run-length text: {text[:20]!r}")
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:  # goes on
            continue
        if bits & 16:
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    if shift:
        raise InputError("a run-length text ends in the middle of a number")
    return runs


def person_category(content: dict[str, Any]) -> int:
    """Id of the category "person"; of the only one where there is one; 1 where there is none.

    Raises:
        ValueError: several categories and none of them is called person, or malformed ones.
    """
    try:
        ids = {entry["name"]: int(entry["id"]) for entry in content.get("categories") or []}
    except (KeyError, TypeError, ValueError, OverflowError):
        raise InputError("expected `categories` with id (a number) and name each") from None
    if "person" in ids:
        return ids["person"]
    if len(ids) > 1:
        raise InputError(f"no category is called person, got {', '.join(sorted(map(str, ids)))}")
    return next(iter(ids.values()), 1)

"""Annotation files in COCO's format, as far as training and evaluation read them alike."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def read_annotations(file: Path) -> dict[str, Any]:
    """The content of a COCO file with its lists ``images`` and ``annotations``.

    Raises:
        ValueError: no such file, not JSON, or one of the lists is absent.
    """
    if not file.is_file():
        raise ValueError(f"{file}: no such annotation file")
    try:
        content = json.loads(file.read_bytes())
    except ValueError as error:  # also text that is not UTF-8
        raise ValueError(f"{file}: not JSON, expected a COCO annotation file: {error}") from None
    for name in ("images", "annotations"):
        if not isinstance(content, dict) or not isinstance(content.get(name), list):
            raise ValueError(f"{file}: expected a COCO annotation file, got no list `{name}` in it")
    if not content["images"]:
        raise ValueError(f"{file}: the list `images` is empty")
    return content


def person_category(content: dict[str, Any]) -> int:
    """Id of the category "person"; of the only one where there is one; 1 where there is none.

    Raises:
        ValueError: several categories and none of them is called person, or malformed ones.
    """
    try:
        ids = {entry["name"]: int(entry["id"]) for entry in content.get("categories") or []}
    except (KeyError, TypeError, ValueError, OverflowError):
        raise ValueError("expected `categories` with id (a number) and name each") from None
    if "person" in ids:
        return ids["person"]
    if len(ids) > 1:
        raise ValueError(f"no category is called person, got {', '.join(sorted(map(str, ids)))}")
    return next(iter(ids.values()), 1)

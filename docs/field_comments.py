"""Griffe extension: document the fields of a class by the comments on their lines.

``heat: np.ndarray  # (18, h, w) float32 in [0, 1]`` documents ``heat`` in the code and on the site.
"""

from __future__ import annotations

import io
import tokenize
from functools import cache
from pathlib import Path
from typing import Any

from griffe import Class, Extension


class FieldComments(Extension):
    """Adds a section ``Attributes:`` to classes whose fields have comments."""

    def on_class_members(self, *, cls: Class, **_: Any) -> None:
        """Append the comments of the fields to the docstring of ``cls``."""
        if not isinstance(cls.filepath, Path) or cls.docstring is None:
            return
        if "Attributes:" in cls.docstring.value:
            return
        comments = _comments(cls.filepath)
        lines = [
            f"    {name}: {text}"
            for name, field in cls.attributes.items()
            if field.docstring is None
            and not name.startswith("_")
            and (text := comments.get(field.endlineno or field.lineno or 0))
        ]
        if lines:
            cls.docstring.value = "\n".join([cls.docstring.value, "", "Attributes:", *lines])


@cache
def _comments(path: Path) -> dict[int, str]:
    """Return the comments of a file by line."""
    source = io.StringIO(path.read_text(encoding="utf-8"))
    return {
        token.start[0]: token.string.lstrip("#").strip()
        for token in tokenize.generate_tokens(source.readline)
        if token.type == tokenize.COMMENT
    }

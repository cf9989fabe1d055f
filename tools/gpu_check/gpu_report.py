"""The report of ``python -m tools.gpu_check.check``."""

from __future__ import annotations

from pathlib import Path


class Report:
    """Lines that are printed and written at once, so that measurements survive a crash."""

    def __init__(self, path: Path | None) -> None:
        self.path, self.lines = path, list[str]()

    def add(self, *lines: str) -> None:
        """Print lines and add them to the report."""
        self.lines += lines
        print(*lines, sep="\n", flush=True)
        if self.path:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.write_text("\n".join(self.lines) + "\n", encoding="utf-8")

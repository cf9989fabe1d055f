"""The report that ``python -m tools.gpu_check.check`` writes."""

from __future__ import annotations

from pathlib import Path


class Report:
    """Lines that are printed and, as they come, written: what was measured survives a crash."""

    def __init__(self, path: Path | None) -> None:
        self.path, self.lines = path, list[str]()

    def add(self, *lines: str) -> None:
        """Print and keep lines."""
        self.lines += lines
        print(*lines, sep="\n", flush=True)
        if self.path:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.write_text("\n".join(self.lines) + "\n", encoding="utf-8")

"""MkDocs hooks: insert the help texts of the command line and the files of the root folder."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
HELP = re.compile(r"^<!-- help: kdc ?([\w-]*) -->$", re.MULTILINE)
INCLUDE = re.compile(r"^<!-- include: (\w+\.md) -->$", re.MULTILINE)
CODE = re.compile(r"^<!-- code: (\S+\.py) -->$", re.MULTILINE)
WIDTH = 88  # columns of the help texts


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace comments such as ``<!-- help: kdc run -->`` by the text that they name."""
    markdown = INCLUDE.sub(lambda match: included(match[1]), markdown)
    markdown = CODE.sub(lambda match: f"```python\n{(ROOT / match[1]).read_text()}```", markdown)
    return HELP.sub(lambda match: f"```text\n{command_help(match[1])}```", markdown)


def included(name: str) -> str:
    """Return a Markdown file of the root folder, with its links as seen from ``docs``."""
    text = (ROOT / name).read_text(encoding="utf-8")
    return re.sub(r"\]\(docs/", "](", text)


@cache
def command_help(command: str = "") -> str:
    """Return the help text of a command; of ``kdc`` itself for an empty name."""
    words = [command] if command else []
    done = subprocess.run(
        [sys.executable, "-m", "kdc_core.cli", *words, "--help"],
        cwd=ROOT,
        env={**os.environ, "COLUMNS": str(WIDTH), "NO_COLOR": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        encoding="utf-8",
    )
    if done.returncode:
        raise RuntimeError(f"kdc {command} --help: {done.stderr.strip()}")
    return done.stdout

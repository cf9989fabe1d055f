"""Helpers for tests of commands."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from kdc_core.cli import main

ROOT = Path(__file__).parents[1]


def picture(path: Path, pixels: np.ndarray) -> str:
    cv2.imwrite(str(path), pixels)
    return str(path)


def refused(capsys: pytest.CaptureFixture[str], argv: list[str], message: str) -> None:
    """Assert exit code 2 and one line on stderr: ``kdc:`` and the message."""
    assert main(argv) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert lines[-1].startswith("kdc: ")
    assert message in lines[-1]
    assert not any("Traceback" in line for line in lines)

"""What a picture depends on besides the configuration: its seed, and what is behind the people."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from kdc_core.errors import InputError
from kdc_core.io import is_image_file, read_image


def image_seed(seed: int, index: int) -> int:
    """Seed of picture ``index`` of the run ``seed``; other runs have other pictures."""
    return int(np.random.SeedSequence([seed, index]).generate_state(1, np.uint64)[0] >> 1)


def backgrounds_in(folder: Path) -> list[Path]:
    """Pictures below a folder, in the order of their names.

    Raises:
        ValueError: the folder is not there or has no pictures.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder of backgrounds")
    found = sorted(p for p in folder.rglob("*") if is_image_file(p))
    if not found:
        raise InputError(f"{folder}: expected pictures without people in it, found none")
    return found


def background_for(paths: list[Path], seed: int) -> np.ndarray | None:
    """The picture (H, W, 3) uint8 BGR that belongs to a seed; None where there is none at all."""
    return read_image(paths[seed % len(paths)]) if paths else None

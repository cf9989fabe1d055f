"""Derive what an image depends on besides the configuration: its seed and its background."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from kdc_core.errors import InputError
from kdc_core.io import is_image_file, read_image


def image_seed(seed: int, index: int) -> int:
    """Return the seed of image ``index`` of a run; runs with other seeds share no image."""
    return int(np.random.SeedSequence([seed, index]).generate_state(1, np.uint64)[0] >> 1)


def backgrounds_in(folder: Path) -> list[Path]:
    """Return the images below a folder, sorted by path.

    Raises:
        InputError: The folder does not exist or contains no images.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder of backgrounds")
    found = sorted(p for p in folder.rglob("*") if is_image_file(p))
    if not found:
        raise InputError(f"{folder}: expected images without people, found none")
    return found


def background_for(paths: list[Path], seed: int) -> np.ndarray | None:
    """Return the image (H, W, 3) uint8 BGR that belongs to a seed, or None without any image."""
    return read_image(paths[seed % len(paths)]) if paths else None

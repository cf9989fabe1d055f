"""Pictures of synthetic people on disk: JPEG files and one COCO annotation file."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import cv2

from kdc_core import __version__
from kdc_core.errors import InputError
from kdc_core.system import each
from kdc_lab.synth import SynthConfig, still
from kdc_lab.synth.coco_truth import CATEGORY, annotate
from kdc_lab.synth.inputs import background_for, image_seed
from kdc_lab.synth.rendered_frame import RenderedFrame

ANNOTATIONS = "annotations.json"
QUALITY = 92  # of the JPEGs; what a camera's own JPEG does is among the generator's effects
ROWS = 256  # annotation ids per picture: ids depend on the picture alone


def picture(
    seed: int, config: SynthConfig, backgrounds: list[Path], index: int
) -> tuple[RenderedFrame, bytes]:
    """Picture ``index`` of the run ``seed``, and its JPEG file."""
    own = image_seed(seed, index)
    shot = still(own, config, background_for(backgrounds, own))
    done, data = cv2.imencode(".jpg", shot.image, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    if not done:
        raise InputError(f"picture {index}: cannot be encoded, its shape is {shot.image.shape}")
    return shot, data.tobytes()


def write_stills(
    out: Path, count: int, seed: int, config: SynthConfig, backgrounds: list[Path],
    workers: int = 0, step: Callable[[], Any] = lambda: None,
) -> dict[str, int]:  # fmt: skip
    """Write ``count`` pictures to ``out/images`` and their truth to ``out/annotations.json``.

    The files depend on seed, config and backgrounds alone. ``step`` is called after each picture.

    Returns:
        How many ``pictures`` and ``people`` there are, and of the people how many are only
        ``ignored`` (crowd regions), or ``hidden`` without a pixel.
    """
    (out / "images").mkdir(parents=True, exist_ok=True)
    work = partial(_write_still, out / "images", seed, config, backgrounds)
    info = {"generator": f"kdc {__version__}", "seed": seed, "config": asdict(config)}
    content: dict[str, Any] = {
        "info": info, "categories": [CATEGORY],
        "images": [], "annotations": [], "hidden_people": [],
    }  # fmt: skip
    try:
        for entry, people in each(work, range(count), workers):
            content["images"].append(entry)
            for person in people:
                name = "annotations" if person["segmentation"] else "hidden_people"
                content[name].append(person)
            step()
    finally:  # what was made before a Ctrl-C, or before memory ran out, is of use as it is
        if content["images"]:
            (out / ANNOTATIONS).write_text(json.dumps(content), encoding="utf-8")
    return {
        "pictures": count, "people": len(content["annotations"]),
        "ignored": sum(label["iscrowd"] for label in content["annotations"]),
        "hidden": len(content["hidden_people"]),
    }  # fmt: skip


def _write_still(
    folder: Path, seed: int, config: SynthConfig, backgrounds: list[Path], index: int
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    shot, data = picture(seed, config, backgrounds, index)
    entry, people = annotate(shot, index + 1)
    (folder / entry["file_name"]).write_bytes(data)
    return entry, [{"id": ROWS * (index + 1) + row, **one} for row, one in enumerate(people)]

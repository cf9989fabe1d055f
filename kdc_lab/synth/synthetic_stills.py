"""Write images of synthetic people: JPEG files and one COCO annotation file."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import cv2

from kdc_core import __version__
from kdc_core.system import each
from kdc_lab.synth import SynthConfig, still
from kdc_lab.synth.coco_truth import CATEGORY, annotate
from kdc_lab.synth.inputs import background_for, image_seed
from kdc_lab.synth.rendered_frame import RenderedFrame

ANNOTATIONS = "annotations.json"
QUALITY = 92  # of the JPEG files; compression artefacts of cameras are part of the effects
ROWS = 256  # annotation ids per image, so that ids do not depend on other images


def render_jpeg(
    seed: int, config: SynthConfig, backgrounds: list[Path], index: int
) -> tuple[RenderedFrame, bytes]:
    """Render image ``index`` of a run.

    Returns:
        The frame with its truth, and the bytes of the JPEG file.
    """
    own = image_seed(seed, index)
    shot = still(own, config, background_for(backgrounds, own))
    done, data = cv2.imencode(".jpg", shot.image, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    if not done:
        raise RuntimeError(f"image {index} of shape {shot.image.shape} cannot be encoded as JPEG")
    return shot, data.tobytes()


def write_stills(
    out: Path,
    count: int,
    seed: int,
    config: SynthConfig,
    backgrounds: list[Path],
    workers: int = 0,
    step: Callable[[], Any] = lambda: None,
) -> dict[str, int]:
    """Write ``count`` images to ``out/images`` and their truth to ``out/annotations.json``.

    The files depend on seed, config and backgrounds alone.

    Args:
        out: Folder to write to.
        count: Number of images.
        seed: Seed of the run.
        config: Ranges and probabilities of the scenes.
        backgrounds: Images without people; empty: drawn rooms and streets.
        workers: Number of processes; 0: one per core.
        step: Called after each image.

    Returns:
        The number of ``images`` and of ``people``; of the people, how many are ``ignored`` (crowd
        regions) and how many are ``hidden`` without a visible pixel.
    """
    (out / "images").mkdir(parents=True, exist_ok=True)
    work = partial(_write_still, out / "images", seed, config, backgrounds)
    info = {"generator": f"kdc {__version__}", "seed": seed, "config": asdict(config)}
    content: dict[str, Any] = {
        "info": info,
        "categories": [CATEGORY],
        "images": [],
        "annotations": [],
        "hidden_people": [],
    }
    try:
        for entry, people in each(work, range(count), workers):
            content["images"].append(entry)
            for person in people:
                name = "annotations" if person["segmentation"] else "hidden_people"
                content[name].append(person)
            step()
    finally:  # images from before a Ctrl-C or an error remain usable
        if content["images"]:
            (out / ANNOTATIONS).write_text(json.dumps(content), encoding="utf-8")
    return {
        "images": count,
        "people": len(content["annotations"]),
        "ignored": sum(label["iscrowd"] for label in content["annotations"]),
        "hidden": len(content["hidden_people"]),
    }


def _write_still(
    folder: Path, seed: int, config: SynthConfig, backgrounds: list[Path], index: int
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    shot, data = render_jpeg(seed, config, backgrounds, index)
    entry, people = annotate(shot, index + 1)
    (folder / entry["file_name"]).write_bytes(data)
    return entry, [{"id": ROWS * (index + 1) + row, **one} for row, one in enumerate(people)]

"""Figures with their protocol, as JSON and as short tables: no number without its conditions."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from pathlib import Path
from typing import Any

from kdc_core.config import DecodeConfig
from kdc_core.engines.flip import FlipEngine
from kdc_core.evaluate.dataset import Dataset
from kdc_core.pipeline import Engine


def protocol(
    dataset: Dataset, engine: Engine, config: DecodeConfig, seconds: float
) -> dict[str, Any]:
    """Under which conditions figures were measured.

    ``seconds`` is the wall time of network and decoder over all images, reading included.
    """
    entries = [entry for entries in dataset.people.values() for entry in entries]
    people = [entry for entry in entries if not entry["iscrowd"]]
    masks = [entry for entry in people if entry["segmentation"]]
    info, model = engine.info, engine.model
    return {
        "annotations": dataset.file.name,
        "annotations_sha256": sha256(dataset.file),
        "images": len(dataset),
        "people": len(people),
        "people_with_keypoints": sum(entry["num_keypoints"] > 0 for entry in people),
        "masks": len(masks),
        "masks_not_drawn_by_people": sum(entry.get("pseudo_mask", False) for entry in masks),
        "weights": model.name if model else None,
        "weights_sha256": sha256(model) if model else None,
        "engine": engine.name,
        "preset": info.preset,
        "backbone": info.backbone,
        "longest_side": info.longest,
        "stride": [info.stride, info.seg_stride],
        "centroid": config.centroid.mode,
        "min_score": config.score.min_score,
        "keypoints": "predicted" if model else "from annotations",
        "scale": "single, flip" if isinstance(engine, FlipEngine) else "single, no flip",
        "device": f"{platform.machine()}, {os.cpu_count()} cores",
        "seconds": round(seconds, 1),
    }


def sha256(path: Path) -> str:
    """Hex digest of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def write_json(path: Path, content: Any) -> None:
    """Write JSON and make the folders on the way."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def table(header: list[str], rows: list[list[Any]]) -> str:
    """A Markdown table with aligned columns; numbers get three digits, None a dash."""
    cells = [header, *([_cell(value) for value in row] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    lines = [
        "| " + " | ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) + " |"
        for row in cells
    ]
    lines.insert(1, "|" + "|".join("-" * (w + 2) for w in widths) + "|")
    return "\n".join(lines)


def figures(results: dict[str, Any]) -> str:
    """The result of ``evaluate`` as a short table."""
    segm, keypoints, same = results["segm"], results["keypoints"], results["same_person"]
    header = ["", "AP", "AP50", "AP75", "small", "medium", "large", "AR"]
    rows = [
        ["masks", *(segm[n] for n in ("AP", "AP50", "AP75", "APS", "APM", "APL", "AR100"))],
        ["keypoints", *(keypoints[n] for n in ("AP", "AP50", "AP75")), "",
         *(keypoints[n] for n in ("APM", "APL", "AR"))],
    ]  # fmt: skip
    lines = [table(header, rows)]
    for name, values in (("mask", segm), ("keypoint", keypoints)):
        if "AP_95" in values:
            low, high = values["AP_95"]
            lines.append(f"95 % interval of {name} AP over images: {low:.3f} to {high:.3f}")
    lines.append(
        f"same person: {same['same']} of {same['found_both_ways']} people found by mask and by "
        f"skeleton were found by one prediction ({same['people']} people have both)"
    )
    return "\n".join(lines)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else str(value)

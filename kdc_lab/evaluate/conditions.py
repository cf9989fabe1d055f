"""Print figures with the conditions under which they were measured."""

from __future__ import annotations

import os
import platform
from typing import Any

from kdc_core.config import DecodeConfig
from kdc_core.engines import Engine, FlipEngine
from kdc_core.io import sha256, table
from kdc_lab.evaluate.annotated_images import Dataset


def protocol(
    dataset: Dataset, engine: Engine, config: DecodeConfig, seconds: float, min_score: float = 0.0
) -> dict[str, Any]:
    """Return the conditions under which figures were measured.

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
        "min_score": min_score,
        "keypoints": "predicted" if model else "from annotations",
        "scale": "single, flip" if isinstance(engine, FlipEngine) else "single, no flip",
        "device": f"{platform.machine()}, {os.cpu_count()} cores",
        "seconds": round(seconds, 1),
    }


def figures(results: dict[str, Any]) -> str:
    """Return the result of ``kdc evaluate`` as a short table."""
    segm, keypoints, same = results["segm"], results["keypoints"], results["same_person"]
    header = ["", "AP", "AP50", "AP75", "small", "medium", "large", "AR"]
    rows = [
        ["masks", *(segm[n] for n in ("AP", "AP50", "AP75", "APS", "APM", "APL", "AR100"))],
        [
            "keypoints",
            *(keypoints[n] for n in ("AP", "AP50", "AP75")),
            "",
            *(keypoints[n] for n in ("APM", "APL", "AR")),
        ],
    ]
    lines = [table(header, rows)]
    for name, values in (("mask", segm), ("keypoint", keypoints)):
        if "AP_95" in values:
            low, high = values["AP_95"]
            lines.append(f"95 % interval of {name} AP over images: {low:.3f} to {high:.3f}")
    lines.append(
        f"same person: one prediction matches both mask and skeleton of {same['same']} of the "
        f"{same['found_both_ways']} people found by both ({same['people']} people have both)"
    )
    return "\n".join(lines)

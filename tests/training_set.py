"""Write small annotated sets of drawn people in COCO format."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np

#: (17, 2) keypoints of a figure around its centre, pixels at scale 1
POSE = np.array([
    [0, -40], [-4, -44], [4, -44], [-8, -42], [8, -42], [-14, -28], [14, -28], [-20, -10],
    [20, -10], [-22, 8], [22, 8], [-9, 10], [9, 10], [-10, 32], [10, 32], [-10, 54], [10, 54],
], float)  # fmt: skip


def person(centre: tuple[float, float], scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Return keypoints (17, 2) of a figure, and an outline (4, 2) that holds them."""
    keypoints = np.array(centre) + POSE * scale
    low, high = keypoints.min(axis=0) - 6 * scale, keypoints.max(axis=0) + 6 * scale
    return keypoints, np.array([low, [high[0], low[1]], high, [low[0], high[1]]])


def annotation(number: int, image_id: int, centre, scale: float, **more) -> dict:
    keypoints, outline = person(centre, scale)
    (x1, y1), (x2, y2) = outline[0], outline[2]
    return {
        "id": number,
        "image_id": image_id,
        "category_id": 1,
        "iscrowd": 0,
        "bbox": [x1, y1, x2 - x1, y2 - y1],
        "area": (x2 - x1) * (y2 - y1),
        "segmentation": [outline.ravel().tolist()],
        "keypoints": np.column_stack([keypoints, np.full(17, 2)]).ravel().tolist(),
        **more,
    }


def write_set(folder: Path, images: list[dict], annotations: list[dict], seed: int = 0) -> Path:
    """Write noise images with the people painted in, and the annotation file; return its path."""
    rng = np.random.default_rng(seed)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    for entry in images:
        canvas = rng.integers(0, 90, (entry["height"], entry["width"], 3), np.uint8)
        for label in annotations:
            if label["image_id"] == entry["id"] and label["segmentation"]:
                ring = np.array(label["segmentation"][0]).reshape(-1, 2).astype(int)
                cv2.fillPoly(canvas, [ring], tuple(rng.integers(120, 255, 3).tolist()))
        cv2.imwrite(str(folder / "images" / entry["file_name"]), canvas)
    path = folder / "train.json"
    path.write_text(json.dumps({"images": images, "annotations": annotations}))
    return path


def entry(image_id: int, width: int = 200, height: int = 160, **more) -> dict:
    name = f"{image_id:06d}.jpg"
    return {"id": image_id, "file_name": name, "width": width, "height": height, **more}

"""Write drawn scenes as images with a COCO annotation file."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np

from kdc_core.types import People
from tests.scenes import Scene, draw


def two_scenes() -> list[Scene]:
    """Return three scenes with two people, one person and no people."""
    first = draw([(120, 210), (230, 230)], [180, 200], size=(320, 240))
    return [first, draw([(150, 220)], [190], size=(320, 240)), draw([], [], size=(320, 240))]


def write(folder: Path, scenes: list[Scene]) -> tuple[Path, Path]:
    """Write images 0.png, 1.png, … and annotations.json; return the image folder and the file."""
    image_folder = folder / "pictures"
    image_folder.mkdir()
    images, annotations = [], []
    for index, scene in enumerate(scenes):
        name = f"{index}.png"
        shade = (scene.owner.astype(np.uint8) * 70 + 40)[..., None].repeat(3, axis=2)
        cv2.imwrite(str(image_folder / name), shade)
        width, height = scene.size
        images.append({"id": index + 1, "file_name": name, "width": width, "height": height})
        for person in range(len(scene.keypoints)):
            number = len(annotations)  # starts at 0, an id that pycocotools alone would mishandle
            annotations.append({"id": number, "image_id": index + 1, **annotation(scene, person)})
    content = {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": 1, "name": "person"}],
    }
    path = folder / "annotations.json"
    path.write_text(json.dumps(content))
    return image_folder, path


def annotation(scene: Scene, person: int) -> dict:
    mask = scene.mask(person)
    rows, columns = np.nonzero(mask)
    x, y = int(columns.min()), int(rows.min())
    return {
        "category_id": 1,
        "iscrowd": 0,
        "area": int(mask.sum()),
        "bbox": [x, y, int(columns.max()) - x + 1, int(rows.max()) - y + 1],
        "keypoints": scene.keypoints[person].astype(float).ravel().tolist(),
        "num_keypoints": int((scene.keypoints[person, :, 2] > 0).sum()),
        "segmentation": {"size": list(mask.shape), "counts": run_lengths(mask)},
    }


def run_lengths(mask: np.ndarray) -> list[int]:
    """Return the uncompressed RLE: lengths of runs in column order, starting with background."""
    flat = np.concatenate([[False], mask.ravel(order="F"), [False]])
    edges = np.flatnonzero(flat[1:] != flat[:-1])
    edges = np.concatenate([[0], edges, [mask.size]])
    lengths = np.diff(edges).tolist()
    return lengths if lengths[-1] else lengths[:-1]


def perfect(scene: Scene) -> People:
    """Return the people that a perfect system finds in a scene."""
    count = len(scene.keypoints)
    keypoints = scene.keypoints.copy()
    keypoints[..., 2] = 1
    places = [np.argwhere(scene.mask(person))[:, ::-1] for person in range(count)]
    boxes = [(*xy.min(axis=0), *(xy.max(axis=0) + 1)) for xy in places]
    return People(
        ids=np.arange(1, count + 1),
        score=np.linspace(0.9, 0.8, count),
        mask_score=np.linspace(0.9, 0.8, count),
        keypoints=keypoints,
        visible=scene.keypoints[..., 2] == 2,
        boxes=np.array(boxes, np.float32).reshape(-1, 4),
        centroid=np.full(count, 5),
        centroid_xy=keypoints[:, 5, :2],
        labels=scene.owner.astype(np.uint16),
        phase=np.zeros(count, np.uint8),
    )

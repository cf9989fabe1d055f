"""A shot's truth as COCO annotations, and how people are counted of whom next to nothing is seen.

* A person's mask holds the pixels where it is the nearest surface; ``bbox`` and ``area`` are the
  mask's, as in COCO. The box of the whole body, hidden parts included, is ``amodal_bbox``, and
  ``hidden`` the share of the silhouette inside the picture that is covered.
* Keypoints inside the picture are all labelled: v = 2 seen, v = 1 hidden by anything.
* Of whom less than ``LEAST_SHARE`` of the body or ``LEAST_PIXELS`` is seen becomes a crowd region
  (``iscrowd``): training learns nothing there, and evaluation counts finds there neither right nor
  wrong. Nobody who labels pictures would have drawn them.
* Of whom no pixel is seen is listed under ``hidden_people``, without mask, not under
  ``annotations``: in this picture there is nothing to find.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from pycocotools import mask as rle

from kdc_core.skeleton import KEYPOINTS, LIMBS
from kdc_lab.synth.rendered_frame import RenderedFrame

LEAST_SHARE = 0.05  # of the body; as in the occlusion benchmark
LEAST_PIXELS = 32  # pixels²
CATEGORY = {
    "id": 1, "name": "person", "supercategory": "person", "keypoints": list(KEYPOINTS),
    "skeleton": [[a + 1, b + 1] for a, b in LIMBS],
}  # fmt: skip


def annotate(shot: RenderedFrame, image_id: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """COCO entry of a picture, and its people; of whom no pixel is seen: ``segmentation`` is [].

    The file's name follows from its number; annotations get their ``id`` where they are collected.
    """
    height, width = shot.labels.shape
    entry = {
        "id": image_id, "file_name": f"{image_id:06d}.jpg", "width": width, "height": height,
        "masks_complete": True,
    }  # fmt: skip
    return entry, [_person(shot, row, image_id) for row in range(len(shot))]


def _person(shot: RenderedFrame, row: int, image_id: int) -> dict[str, Any]:
    mask = shot.labels == row + 1
    area = int(np.count_nonzero(mask))
    shape: Any = []
    box = [0.0, 0.0, 0.0, 0.0]
    if area:
        packed = rle.encode(np.asfortranarray(mask, np.uint8))
        box = rle.toBbox(packed).tolist()
        shape = {"size": list(mask.shape), "counts": packed["counts"].decode()}
    x1, y1, x2, y2 = shot.box[row].round(2).tolist()
    points = np.where(shot.keypoints[row, :, 2:] > 0, shot.keypoints[row], 0).astype(float)
    hidden = float(shot.hidden[row])
    return {
        "image_id": image_id, "category_id": 1, "track_id": int(shot.ids[row]),
        "iscrowd": int(area < LEAST_PIXELS or hidden > 1 - LEAST_SHARE),
        "bbox": box, "amodal_bbox": [x1, y1, round(x2 - x1, 2), round(y2 - y1, 2)],
        "area": area, "segmentation": shape, "hidden": round(hidden, 4),
        "keypoints": points.round(2).ravel().tolist(),
        "num_keypoints": int(np.count_nonzero(points[:, 2])),
    }  # fmt: skip

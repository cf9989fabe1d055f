"""Write the truth of a rendered frame as COCO annotations.

* A person's mask holds the pixels where the person is the nearest surface. ``bbox`` and ``area``
  describe this mask, as in COCO. ``amodal_bbox`` is the box of the whole body with its hidden
  parts, and ``hidden`` the hidden share of the silhouette inside the image.
* All keypoints inside the image are labelled: v = 2 visible, v = 1 hidden by anything.
* People with less than ``MIN_VISIBLE_SHARE`` of the body or ``MIN_VISIBLE_PIXELS`` visible are
  annotated as ignore regions (``iscrowd``: 1), because a human annotator would not have labelled
  them. Training learns nothing there, and evaluation ignores detections there.
* People without a visible pixel are listed under ``hidden_people`` instead of ``annotations``,
  without a mask, because the image shows nothing to detect.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from pycocotools import mask as rle

from kdc_core.skeleton import KEYPOINTS, LIMBS
from kdc_lab.synth.rendered_frame import RenderedFrame

MIN_VISIBLE_SHARE = 0.05  # of the body, as in the occlusion benchmark
MIN_VISIBLE_PIXELS = 32  # pixels
CATEGORY = {
    "id": 1,
    "name": "person",
    "supercategory": "person",
    "keypoints": list(KEYPOINTS),
    "skeleton": [[a + 1, b + 1] for a, b in LIMBS],
}


def annotate(shot: RenderedFrame, image_id: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the COCO entry of an image and one annotation for each person.

    Args:
        shot: Image and truth.
        image_id: Id of the image; the name of its file follows from it.

    Returns:
        Entry of the image, and the people. People without a visible pixel have an empty
        ``segmentation``. The caller adds the ``id`` of each annotation.
    """
    height, width = shot.labels.shape
    entry = {
        "id": image_id,
        "file_name": f"{image_id:06d}.jpg",
        "width": width,
        "height": height,
        "masks_complete": True,
    }
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
        "image_id": image_id,
        "category_id": 1,
        "track_id": int(shot.ids[row]),
        "iscrowd": int(area < MIN_VISIBLE_PIXELS or hidden > 1 - MIN_VISIBLE_SHARE),
        "bbox": box,
        "amodal_bbox": [x1, y1, round(x2 - x1, 2), round(y2 - y1, 2)],
        "area": area,
        "segmentation": shape,
        "hidden": round(hidden, 4),
        "keypoints": points.round(2).ravel().tolist(),
        "num_keypoints": int(np.count_nonzero(points[:, 2])),
    }

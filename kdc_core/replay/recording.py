"""A clip of the occlusion benchmark on disk: video, bag, and its truth as COCO and MOTS text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from kdc_core.draw import overlay
from kdc_core.evaluate.clips import Shot
from kdc_core.evaluate.ledger import SEEN
from kdc_core.replay import messages
from kdc_core.replay.output import PEDESTRIAN, BagWriter
from kdc_core.replay.truth import of_people
from kdc_core.sink import VideoSink
from kdc_core.skeleton import CENTRE
from kdc_core.types import People, Phase

CAMERA = "/camera/image_raw/compressed"  # pictures are PNG: exact, and smaller than raw ones
TRUTH = "/camera/truth"  # where ``kdc replay`` looks for the truth of this camera
CATEGORY = {"id": 1, "name": "person"}


class Recording:
    """Writes ``NAME.mp4`` with the default's answer, the bag ``NAME/`` and ``NAME.json|.txt``."""

    def __init__(self, folder: Path, name: str, rate: float) -> None:
        """``name`` is a scenario's; characters that file names do not have become ``_``."""
        folder.mkdir(parents=True, exist_ok=True)
        words = "".join(c if c.isalnum() or c == "." else " " for c in name).split()
        self.path = folder / "_".join(words)
        self._video = VideoSink(self.path.with_name(f"{self.path.name}.mp4"), rate)
        self._bag = BagWriter(self.path, "mcap")
        self._images: list[dict[str, Any]] = []
        self._annotations: list[dict[str, Any]] = []
        self._mots: list[str] = []

    def __call__(self, stamp: float, shot: Shot, people: People) -> None:
        """Append one frame."""
        self._video.write(overlay(shot.image, people), stamp)
        truth, time = truth_of(shot), round(stamp * messages.NS)
        head = messages.header(time, "camera")
        png = cv2.imencode(".png", shot.image, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1].ravel()
        self._bag.write(CAMERA, time, messages.compressed_message(png, "png", head))
        self._bag.write(f"{TRUTH}/persons", time, messages.person_array(truth, head))
        self._bag.write(f"{TRUTH}/mask", time, messages.label_image(truth.labels, head))
        self._write_down(time, truth)

    def _write_down(self, time: int, truth: People) -> None:
        number, (height, width) = len(self._images) + 1, truth.labels.shape
        self._images.append({"id": number, "width": width, "height": height, "stamp_ns": time,
                             "topic": CAMERA, "file_name": f"{number:06d}.png"})  # fmt: skip
        for entry in of_people(truth):
            counts = entry["segmentation"]["counts"].decode()
            entry |= {"id": len(self._annotations) + 1, "image_id": number,
                      "segmentation": {"size": [height, width], "counts": counts}}  # fmt: skip
            self._annotations.append(entry)
            identity = 1000 * PEDESTRIAN + entry["track_id"]
            self._mots.append(f"{number} {identity} {PEDESTRIAN} {height} {width} {counts}\n")

    def close(self) -> None:
        """Finish all files."""
        self._video.close()
        self._bag.close()
        content = {
            "images": self._images, "annotations": self._annotations, "categories": [CATEGORY],
        }  # fmt: skip
        self.path.with_name(f"{self.path.name}.json").write_text(json.dumps(content), "utf-8")
        self.path.with_name(f"{self.path.name}.txt").write_text("".join(self._mots), "utf-8")


def truth_of(shot: Shot) -> People:
    """What is to be found in a frame: figures of whom enough is visible, figure w with id w + 1."""
    rows = np.flatnonzero(shot.share >= SEEN)
    value = np.zeros(len(shot.share) + 1, np.uint16)
    value[rows + 1] = rows + 1
    points = shot.keypoints[rows]
    sure = np.ones(len(rows), np.float32)
    boxes, centres = np.zeros((len(rows), 4), np.float32), np.zeros((len(rows), 2), np.float32)
    for i, row in enumerate(rows):
        y, x = np.nonzero(shot.owner == row + 1)
        boxes[i] = x.min(), y.min(), x.max() + 1, y.max() + 1
        centres[i] = x.mean(), y.mean()
    known = (points[..., 2:] > 0).astype(np.float32)
    return People(
        ids=rows + 1, score=sure, mask_score=sure, visible=points[..., 2] == 2, boxes=boxes,
        keypoints=np.concatenate([points[..., :2], known], axis=2),
        centroid=np.full(len(rows), CENTRE), centroid_xy=centres, labels=value[shot.owner],
        phase=np.full(len(rows), Phase.CONFIRMED, np.uint8),
    )  # fmt: skip

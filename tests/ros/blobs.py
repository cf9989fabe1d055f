"""A pipeline that finds bright blobs instead of people, so that tests know the results.

As a program this is the real node with this pipeline instead of the network.
"""

from __future__ import annotations

import os
from time import sleep
from types import SimpleNamespace

import cv2
import numpy as np

from kdc_core.config import DecodeConfig
from kdc_core.errors import InputError
from kdc_core.skeleton import CENTRE
from kdc_core.types import Frame, People


class BlobPipeline:
    """Each bright blob is a person; its score is its brightness, its keypoints are its centre.

    A white image is an error of the user, an image of grey level 254 hits a bug.
    """

    def __init__(self, config: DecodeConfig, seconds: float = 0.0) -> None:
        self.config = config
        self.seconds = seconds  # per frame, at least
        self.engine = SimpleNamespace(name="blobs")

    def __call__(self, frame: Frame, video=None, time=None) -> People:
        sleep(self.seconds)
        grey = frame.image.max(axis=2)
        if grey.min() == 255:
            raise InputError("blinded")
        if grey.min() == 254:
            np.zeros(3) + np.zeros(4)
        low = 25  # of 255: above the noise that JPEG leaves in black
        count, labels, stats, middles = cv2.connectedComponentsWithStats(
            (grey >= low).astype(np.uint8)
        )
        p = count - 1
        xy = middles[1:].astype(np.float32)
        keypoints = np.concatenate(
            [np.repeat(xy[:, None], 17, axis=1), np.full((p, 17, 1), 0.5, np.float32)], axis=2
        )
        boxes = stats[1:, :4].astype(np.float32)
        boxes[:, 2:] += boxes[:, :2]
        score = np.array([grey[labels == k].max() / 255 for k in range(1, count)], np.float32)
        return People(
            ids=np.arange(1, count),
            score=score.reshape(p),
            mask_score=score.reshape(p) / 2,
            keypoints=keypoints,
            visible=np.tile(np.arange(17) < 5, (p, 1)),
            boxes=boxes,
            centroid=np.full(p, CENTRE),
            centroid_xy=xy,
            labels=labels.astype(np.uint16),
            phase=np.zeros(p, np.uint8),
        )

    def close(self) -> None:
        self.engine = SimpleNamespace(name="closed")


class StillPipeline(BlobPipeline):
    """Returns the same people at no cost, so that measurements show the cost of the node."""

    def __init__(self, config: DecodeConfig, seconds: float, people: int) -> None:
        super().__init__(config)
        boxes = [(20 + 100 * k, 100, 80 + 100 * k, 300) for k in range(people)]
        self.people = self(Frame(boxes_image(*boxes, size=(640, 480))))
        self.seconds = seconds

    def __call__(self, frame: Frame, video=None, time=None) -> People:
        if not hasattr(self, "people"):
            return super().__call__(frame)
        sleep(self.seconds)
        return self.people


def boxes_image(*boxes: tuple[int, int, int, int], value: int = 200, size=(320, 240)) -> np.ndarray:
    """Black (H, W, 3) with filled boxes x1, y1, x2, y2 (exclusive)."""
    image = np.zeros((size[1], size[0], 3), np.uint8)
    for x1, y1, x2, y2 in boxes:
        image[y1:y2, x1:x2] = value
    return image


if __name__ == "__main__":
    from kdc_ros.node import main

    def open_pipeline(config):
        print("opening", flush=True)
        sleep(float(os.environ.get("BLOB_OPEN_SECONDS", "0")))
        seconds = float(os.environ.get("BLOB_SECONDS", "0"))
        if people := int(os.environ.get("BLOB_STILL", "0")):
            return StillPipeline(config.decode, seconds, people)
        return BlobPipeline(config.decode, seconds)

    main(open_pipeline)

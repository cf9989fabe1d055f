"""Write a clip with its ground truth: video, bag, COCO file with stamps, and MOTS text.

``kdc replay`` reads the ground truth in each of these forms.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from kdc_core.io import VideoSink, overlay
from kdc_core.skeleton import CENTRE
from kdc_core.types import People, Phase
from kdc_lab.evaluate import SEEN, ComposedFrame
from kdc_lab.replay import cdr_messages
from kdc_lab.replay.ground_truth import IGNORED, PEDESTRIAN, of_people
from kdc_lab.replay.result_files import BagWriter
from kdc_lab.synth import CATEGORY

CAMERA = "/camera/image_raw"
TRUTH = "/camera/truth"  # namespace of the ground truth that ``kdc replay`` reads by default
FRAME_ID = "camera"


@dataclass(frozen=True)
class ClipFiles:
    """Paths of the parts of a clip."""

    video: Path
    bag: Path  # a folder
    coco: Path
    mots: Path


class ClipWriter:
    """Writes a clip frame by frame. ``close`` writes the COCO file and the MOTS text."""

    def __init__(self, files: ClipFiles, rate: float, topic: str = CAMERA) -> None:
        """Create the files; ``rate`` in fps is that of the video, ``topic`` that of the images."""
        self.frames = 0
        self._files, self._topic = files, topic
        self._video, self._bag = VideoSink(files.video, rate), BagWriter(files.bag, "mcap")
        self._content: dict[str, Any] = {"images": [], "annotations": [], "categories": [CATEGORY]}
        self._mots: list[str] = []

    def add(
        self,
        stamp: int,
        shown: np.ndarray,
        image_message: Any,
        truth: People,
        entries: Iterable[dict[str, Any]],
    ) -> None:
        """Append one frame.

        Args:
            stamp: ns.
            shown: image of the video.
            image_message: written to the recording.
            truth: people that a perfect node would report.
            entries: the same people as COCO annotations with ``track_id`` and RLE masks.
        """
        self.frames += 1
        self._video.write(shown, stamp / cdr_messages.NS)
        head = cdr_messages.header(stamp, FRAME_ID)
        self._bag.write(self._topic, stamp, image_message)
        self._bag.write(f"{TRUTH}/persons", stamp, cdr_messages.person_array(truth, head))
        self._bag.write(f"{TRUTH}/mask", stamp, cdr_messages.label_image(truth.labels, head))
        height, width = truth.labels.shape
        self._content["images"].append(
            {
                "id": self.frames,
                "width": width,
                "height": height,
                "stamp_ns": stamp,
                "topic": self._topic,
                "file_name": f"{self.frames:06d}.png",
                "masks_complete": True,
            }
        )
        annotations = self._content["annotations"]
        for entry in entries:
            number = {"id": len(annotations) + 1, "image_id": self.frames}
            annotations.append({**entry, **number})
            self._mots.append(_mots(self.frames, entry))

    def close(self) -> None:
        """Finish all files."""
        self._video.close()
        self._bag.close()
        self._files.coco.write_text(json.dumps(self._content), encoding="utf-8")
        self._files.mots.write_text("".join(self._mots), encoding="utf-8")


def _mots(frame: int, entry: dict[str, Any]) -> str:
    """Return a line of MOTS text; ids are class * 1000 + number, 10000 for ignore regions."""
    kind = IGNORED if entry["iscrowd"] else PEDESTRIAN
    identity = 1000 * kind + (0 if entry["iscrowd"] else entry["track_id"])
    (height, width), counts = entry["segmentation"]["size"], entry["segmentation"]["counts"]
    return f"{frame} {identity} {kind} {height} {width} {counts}\n"


class Recording:
    """Writes a clip of the occlusion benchmark.

    The files are ``NAME.mp4`` with the results drawn on it, the rosbag ``NAME/``, and the ground
    truth.
    """

    def __init__(self, folder: Path, name: str, rate: float) -> None:
        """Create the files; characters of ``name`` that file names lack become ``_``."""
        folder.mkdir(parents=True, exist_ok=True)
        words = "".join(c if c.isalnum() or c == "." else " " for c in name).split()
        self.path = path = folder / "_".join(words)
        video, coco, mots = (path.with_name(path.name + end) for end in (".mp4", ".json", ".txt"))
        # images are PNG: exact, and smaller than raw ones
        self._clip = ClipWriter(ClipFiles(video, path, coco, mots), rate, f"{CAMERA}/compressed")

    def __call__(self, stamp: float, shot: ComposedFrame, people: People) -> None:
        """Append one frame."""
        truth = truth_of(shot)
        png = cv2.imencode(".png", shot.image, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1].ravel()
        entries = of_people(truth)
        for entry in entries:
            entry["segmentation"] = {
                "size": list(truth.labels.shape),
                "counts": entry["segmentation"]["counts"].decode(),
            }
        stamp_ns = round(stamp * cdr_messages.NS)
        image_message = cdr_messages.compressed_message(
            png, "png", cdr_messages.header(stamp_ns, FRAME_ID)
        )
        self._clip.add(stamp_ns, overlay(shot.image, people), image_message, truth, entries)

    def close(self) -> None:
        """Finish all files."""
        self._clip.close()


def truth_of(shot: ComposedFrame) -> People:
    """Return the people to be found in a frame: visible enough; figure w has id w + 1."""
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
        ids=rows + 1,
        score=sure,
        mask_score=sure,
        visible=points[..., 2] == 2,
        boxes=boxes,
        keypoints=np.concatenate([points[..., :2], known], axis=2),
        centroid=np.full(len(rows), CENTRE),
        centroid_xy=centres,
        labels=value[shot.owner],
        phase=np.full(len(rows), Phase.CONFIRMED, np.uint8),
    )

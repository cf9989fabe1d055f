"""Recordings of drawn people, written with the types of a real one, and an engine that knows them.

The truth of every frame is known: ``shots`` gives it, ``Known`` answers with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

from kdc_core.config import ModelInfo
from kdc_core.skeleton import CENTRE, K
from kdc_core.types import Fields, Frame, People, Phase
from kdc_lab.evaluate.composed_clips import Clip, ComposedFrame, Drawn, line
from kdc_lab.replay import cdr_messages
from tests.scenes import Scene

BEGIN = 1_700_000_000_000_000_000  # ns
INFO = ModelInfo(longest=320)
RATE = 10.0  # frames per second


@lru_cache(maxsize=1)
def crossing() -> Clip:
    """Two people who pass each other behind a pillar."""
    figures = (
        Drawn(line(60, 210, 60), 150, colour=(90, 160, 220)),
        Drawn(line(260, 220, -55), 165, colour=(200, 120, 90)),
    )
    return Clip(figures, pillars=lambda t: [(150.0, 0.0, 175.0, 240.0)])


@dataclass(frozen=True)
class Recording:
    """What is recorded."""

    frames: int = 12
    clip: Clip = field(default_factory=crossing)
    topic: str = "/camera/image_raw"
    storage: str = "mcap"
    compression: CompressionMode = CompressionMode.NONE
    truth: bool = False
    jpeg: bool = False
    clock: Callable[[int], int] = lambda time: time  # ns: stamp of what is recorded then

    def shots(self) -> Iterator[tuple[int, ComposedFrame]]:
        """(stamp in ns, truth) of every frame."""
        return ((stamp(i), self.clip.at(i / RATE)) for i in range(self.frames))

    def write(self, path: Path) -> Path:
        """Write the bag."""
        with writer(path, self.storage, self.compression) as bag:
            record(bag, self)
        return path


def stamp(index: int) -> int:
    return BEGIN + round(index / RATE * cdr_messages.NS)


def writer(path: Path, storage: str = "mcap", compression=CompressionMode.NONE) -> Writer:
    bag = Writer(path, version=9, storage_plugin=StoragePlugin[storage.upper()])
    bag.set_compression(compression, CompressionFormat.ZSTD)
    return bag


def connect(bag: Writer, topic: str, kind: str):
    return bag.add_connection(topic, kind, typestore=cdr_messages.store())


def record(bag: Writer, recording: Recording) -> None:
    """Pictures, and the truth if asked for."""
    kind = cdr_messages.COMPRESSED if recording.jpeg else cdr_messages.IMAGE
    camera = connect(bag, recording.topic, kind)
    space = recording.topic.rpartition("/")[0]
    if recording.truth:
        persons = connect(bag, f"{space}/truth/persons", cdr_messages.PERSONS)
        mask = connect(bag, f"{space}/truth/mask", cdr_messages.IMAGE)
    for time, shot in recording.shots():
        head = cdr_messages.header(recording.clock(time), "optical")
        bag.write(camera, time, cdr_messages.encode(picture(shot.image, head, recording.jpeg)))
        if recording.truth:
            array = cdr_messages.person_array(people_of(shot), head)
            labels = shot.owner.astype(np.uint16)
            bag.write(persons, time, cdr_messages.encode(array))
            bag.write(mask, time, cdr_messages.encode(cdr_messages.label_image(labels, head)))


def picture(image: np.ndarray, head, jpeg: bool = False):
    if not jpeg:
        return cdr_messages.image_message(image, head)
    data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].ravel()
    return cdr_messages.compressed_message(data, "bgr8; jpeg compressed bgr8", head)


def people_of(shot: ComposedFrame) -> People:
    """The truth as people; ids are figures from 1."""
    count = len(shot.share)
    keypoints = shot.keypoints.astype(np.float32).copy()
    visible = keypoints[..., 2] == 2
    keypoints[..., 2] = keypoints[..., 2] > 0
    boxes = np.zeros((count, 4), np.float32)
    for row in range(count):
        rows, columns = np.nonzero(shot.owner == row + 1)
        if len(rows):
            boxes[row] = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
    return People(
        ids=np.arange(1, count + 1), score=np.ones(count, np.float32),
        mask_score=np.ones(count, np.float32), keypoints=keypoints, visible=visible, boxes=boxes,
        centroid=np.full(count, CENTRE), centroid_xy=np.zeros((count, 2), np.float32),
        labels=shot.owner.astype(np.uint16), phase=np.full(count, Phase.CONFIRMED, np.uint8),
    )  # fmt: skip


@lru_cache(maxsize=64)
def _fields(clip: Clip, index: int) -> Fields:
    seen = clip.at(index / RATE).seen()
    points = seen.keypoints if len(seen.share) else np.zeros((0, K, 3), np.float32)
    return Scene(seen.owner, points).fields(INFO)


class Known:
    """An engine that answers with the fields of the shot that was taken at the frame's stamp."""

    name = "known"

    def __init__(self, recording: Recording) -> None:
        self.info = INFO
        self._clip = recording.clip

    def __call__(self, frame: Frame) -> Fields:
        return _fields(self._clip, round((frame.stamp - BEGIN / 1e9) * RATE))

    def close(self) -> None:
        pass


class InOrder(Known):
    """Knows the recording's shots in their order, whatever the frames' stamps say."""

    count = 0

    def __call__(self, frame: Frame) -> Fields:
        self.count += 1
        return super().__call__(Frame(frame.image, stamp(self.count - 1) / 1e9))

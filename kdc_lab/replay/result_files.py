"""Write the results of a replay: a bag, COCO result files, MOT and MOTS text."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, TextIO

from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

from kdc_core.errors import InputError
from kdc_core.track import CentroidSwitch
from kdc_core.types import People
from kdc_lab.evaluate import coco_results
from kdc_lab.replay import cdr_messages
from kdc_lab.replay.bag import Message, printable
from kdc_lab.replay.ground_truth import PEDESTRIAN

PEOPLE = "people"  # folder of the bag with the results
METADATA = "metadata.yaml"
PERSON = 1  # category id in COCO


class BagWriter:
    """Writes a new recording, zstd-compressed. A topic is added with its first message."""

    def __init__(self, path: Path, storage: str) -> None:
        """Create the recording; an older one at ``path`` is replaced.

        Args:
            path: folder of the recording.
            storage: mcap or sqlite3.

        Raises:
            InputError: ``path`` exists and is not a recording.
        """
        if path.exists():
            ours = f"{path.name}.", METADATA  # an unfinished one lacks the latter
            if not path.is_dir() or not all(p.name.startswith(ours) for p in path.iterdir()):
                raise InputError(
                    f"{path}: expected a new folder or an older recording; choose another one"
                )
            shutil.rmtree(path)
        self._writer = Writer(path, version=9, storage_plugin=StoragePlugin[storage.upper()])
        # mcap compresses its chunks, which every player reads; sqlite3 can only do it by message
        mode = CompressionMode.STORAGE if storage == "mcap" else CompressionMode.MESSAGE
        self._writer.set_compression(mode, CompressionFormat.ZSTD)
        self._writer.open()
        self._topics: dict[str, Any] = {}

    def write(self, topic: str, time: int, message: Any) -> None:
        """Append a message with the time of recording ``time`` in ns."""
        kind = message.__msgtype__
        if topic not in self._topics:
            self._topics[topic] = self._writer.add_connection(
                topic, kind, typestore=cdr_messages.store()
            )
        self._writer.write(self._topics[topic], time, cdr_messages.encode(message))

    def close(self) -> None:
        """Write the index and metadata.yaml."""
        self._writer.close()


class Output:
    """Writes all result files of one replay. Nothing is kept in memory."""

    def __init__(self, folder: Path, storage: str) -> None:
        """Create the files in ``folder``; ``storage`` of the bag is mcap or sqlite3."""
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._bag = BagWriter(folder / PEOPLE, storage)
        self._lists = {name: _JsonList(folder / f"{name}.json") for name in ("keypoints", "masks")}
        self._images = _JsonList(folder / "images.json")
        self._texts: dict[str, TextIO] = {}

    def persons(self, prefix: str, message: Message, head: Any, people: People) -> None:
        """Write a PersonArray and a label image with the time of recording of their image."""
        self._bag.write(f"{prefix}/persons", message.time, cdr_messages.person_array(people, head))
        self._bag.write(
            f"{prefix}/mask", message.time, cdr_messages.label_image(people.labels, head)
        )

    def switches(
        self, prefix: str, message: Message, head: Any, switches: tuple[CentroidSwitch, ...]
    ) -> None:
        """Write the centroids that switched in a frame."""
        for switch in switches:
            event = cdr_messages.switch_message(
                switch.id, switch.before, switch.after, switch.reason, head
            )
            self._bag.write(f"{prefix}/events", message.time, event)

    def texts(self, image: dict[str, Any], index: int, people: People) -> None:
        """Write the COCO, MOT and MOTS entries of a frame.

        Args:
            image: COCO entry of the image, with its ``topic``.
            index: number of the frame of this camera, from 1.
            people: people of the frame.
        """
        self._images.add(image)
        skeletons, masks = coco_results(image["id"], PERSON, people)
        name = printable("_".join(filter(None, image["topic"].split("/"))))
        mot, mots = self._text(f"mot_{name}.txt"), self._text(f"mots_{name}.txt")
        for row, (skeleton, mask) in enumerate(zip(skeletons, masks, strict=True)):
            number = int(people.ids[row])
            counts = mask["segmentation"]["counts"].decode()
            size = [int(side) for side in mask["segmentation"]["size"]]
            x1, y1, x2, y2 = people.boxes[row].tolist()
            self._lists["keypoints"].add({**skeleton, "track_id": number})
            mot.write(
                f"{index},{number},{x1 + 1:g},{y1 + 1:g},{x2 - x1:g},{y2 - y1:g},"
                f"{float(people.score[row]):.4f},-1,-1,-1\n"
            )
            if (people.labels == number).any():
                shape = {"size": size, "counts": counts}
                self._lists["masks"].add({**mask, "segmentation": shape, "track_id": number})
                mots.write(
                    f"{index} {1000 * PEDESTRIAN + number} {PEDESTRIAN} {size[0]} {size[1]} "
                    f"{counts}\n"
                )

    def close(self) -> None:
        """Finish all files."""
        self._bag.close()
        for file in (*self._lists.values(), self._images):
            file.close()
        for text in self._texts.values():
            text.close()

    def _text(self, name: str) -> TextIO:
        if name not in self._texts:
            self._texts[name] = (self.folder / name).open("w", encoding="utf-8")
        return self._texts[name]


class _JsonList:
    """Writes a JSON file that holds one list, one entry per line."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w", encoding="utf-8")
        self._between = "[\n"

    def add(self, entry: dict[str, Any]) -> None:
        self._file.write(self._between + json.dumps(entry))
        self._between = ",\n"

    def close(self) -> None:
        self._file.write("\n]\n" if self._between == ",\n" else "[]\n")
        self._file.close()

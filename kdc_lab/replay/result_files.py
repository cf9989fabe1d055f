"""What a replay leaves behind for other programs: a bag, COCO results, MOT and MOTS text."""

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
from kdc_lab.replay.bag import Message
from kdc_lab.replay.ground_truth import PEDESTRIAN

PEOPLE = "people"  # the recording of the results
METADATA = "metadata.yaml"
PERSON = 1  # COCO's category


class BagWriter:
    """A new recording, zstd-compressed; topics are added when their first message comes."""

    def __init__(self, path: Path, storage: str) -> None:
        """``storage`` is mcap or sqlite3; a recording that was at ``path`` is replaced.

        Raises:
            ValueError: there is something else.
        """
        if path.exists():
            ours = f"{path.name}.", METADATA  # an unfinished one lacks the latter
            if not path.is_dir() or not all(p.name.startswith(ours) for p in path.iterdir()):
                raise InputError(f"{path}: expected no such folder or an older recording in it")
            shutil.rmtree(path)
        self._writer = Writer(path, version=9, storage_plugin=StoragePlugin[storage.upper()])
        # mcap compresses its chunks, which every player reads; sqlite3 can only do it by message
        mode = CompressionMode.STORAGE if storage == "mcap" else CompressionMode.MESSAGE
        self._writer.set_compression(mode, CompressionFormat.ZSTD)
        self._writer.open()
        self._topics: dict[str, Any] = {}

    def write(self, topic: str, time: int, message: Any) -> None:
        """Append a message recorded at ``time`` ns."""
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
    """All result files of one replay; everything goes to disk at once, nothing is kept."""

    def __init__(self, folder: Path, storage: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._bag = BagWriter(folder / PEOPLE, storage)
        self._lists = {name: _JsonList(folder / f"{name}.json") for name in ("keypoints", "masks")}
        self._images = _JsonList(folder / "images.json")
        self._texts: dict[str, TextIO] = {}

    def persons(self, prefix: str, message: Message, head: Any, people: People) -> None:
        """The PersonArray and the label image, recorded when their picture was."""
        self._bag.write(f"{prefix}/persons", message.time, cdr_messages.person_array(people, head))
        self._bag.write(
            f"{prefix}/mask", message.time, cdr_messages.label_image(people.labels, head)
        )

    def switches(
        self, prefix: str, message: Message, head: Any, moved: tuple[CentroidSwitch, ...]
    ) -> None:
        """Centroids that moved in this frame."""
        for one in moved:
            event = cdr_messages.switch_message(one.id, one.before, one.after, one.reason, head)
            self._bag.write(f"{prefix}/events", message.time, event)

    def texts(self, image: dict[str, Any], index: int, people: People) -> None:
        """COCO, MOT and MOTS entries; ``index`` counts the camera's frames from 1."""
        self._images.add(image)
        skeletons, masks = coco_results(image["id"], PERSON, people)
        name = "_".join(filter(None, image["topic"].split("/")))
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
    """A JSON file with one list, an entry a line."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w", encoding="utf-8")
        self._between = "[\n"

    def add(self, entry: dict[str, Any]) -> None:
        self._file.write(self._between + json.dumps(entry))
        self._between = ",\n"

    def close(self) -> None:
        self._file.write("\n]\n" if self._between == ",\n" else "[]\n")
        self._file.close()

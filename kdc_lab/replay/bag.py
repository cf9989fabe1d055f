"""Messages of a rosbag2 recording: sqlite3 or mcap, split, zstd-compressed, damaged."""

from __future__ import annotations

import contextlib
import re
import shutil
import sys
import tempfile
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rosbags.rosbag2 import Reader
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from kdc_core.errors import InputError
from kdc_lab.replay import damaged_files

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

SUFFIXES = (".mcap", ".db3", ".mcap.zstd", ".db3.zstd")
ZSTD = b"\x28\xb5\x2f\xfd"  # how a compressed message begins; CDR begins with 00 00 or 00 01
NEVER = (1 << 63) - 1


@dataclass(frozen=True)
class Message:
    """One message as it was recorded."""

    topic: str
    kind: str  # such as sensor_msgs/msg/Image
    time: int  # ns, when it was recorded
    data: bytes  # CDR
    index: int  # among those of its topic that are read, from 0


@dataclass
class Skipped:
    """What could not be used, by reason; the first case of each is kept as an example."""

    counts: dict[tuple[str, str], int] = field(default_factory=dict)  # (where, reason)
    examples: dict[tuple[str, str], str] = field(default_factory=dict)

    def add(self, where: str, reason: str, example: object = "") -> None:
        """Count one more."""
        key = (where, reason)
        self.counts[key] = self.counts.get(key, 0) + 1
        self.examples.setdefault(key, " ".join(str(example).split())[:300])

    def entries(self) -> list[dict[str, Any]]:
        """For ``summary.json``."""
        return [
            {"where": key[0], "reason": key[1], "count": count, "first": self.examples[key]}
            for key, count in sorted(self.counts.items())
        ]


class Bag:
    """A recording: a folder, or one storage file. ``topics`` maps names to message types."""

    def __init__(self, path: Path) -> None:
        """Look into every file of the recording.

        Raises:
            ValueError: nothing there, or nothing of it can be read.
        """
        self.path = path
        self.skipped = Skipped()
        self.topics: dict[str, str] = {}
        self.counts: dict[str, int] = {}
        self.start, self.end = NEVER, 0  # ns, of the first message and after the last
        self._unpacked = tempfile.TemporaryDirectory(prefix="kdc-bag-")
        self._files: list[tuple[Path, bool]] = []  # what can be read, and whether it is damaged
        for file in _files(path, self.skipped):
            self._look(file)
        if not self.topics:
            self.close()
            raise InputError(f"{path}: no messages can be read from this recording")

    def close(self) -> None:
        """Remove what was unpacked."""
        self._unpacked.cleanup()

    def messages(
        self, topics: Collection[str], start: int = 0, stop: int = NEVER
    ) -> Iterator[Message]:
        """Messages of some topics recorded in ``[start, stop)`` ns, file by file, in time order."""
        index = dict.fromkeys(topics, -1)
        for topic, kind, time, data in self._rows(topics, start, stop):
            index[topic] += 1
            yield Message(topic, kind, time, _unpacked(data), index[topic])

    def _rows(self, topics: Collection[str], start: int, stop: int) -> Iterator[damaged_files.Row]:
        for file, broken in self._files:
            last = start - 1
            try:
                rows = damaged_files.rows(file) if broken else _read(file, topics, start, stop)
                for row in rows:
                    if row[0] in topics and start <= row[2] < stop:
                        last = row[2]
                        yield row
            except Exception as error:  # a damaged place in the middle: go on behind it
                self.skipped.add(file.name, "storage file is damaged", error)
                for row in damaged_files.rows(file):
                    if row[0] in topics and last < row[2] < stop:
                        yield row

    def _look(self, file: Path) -> None:
        try:
            if file.suffix == ".zstd":
                file = _unpack(file, Path(self._unpacked.name))
            with Reader(file) as reader:
                found = [(c.topic, c.msgtype, c.msgcount) for c in reader.connections]
                start, end = reader.start_time, reader.end_time
            self._files.append((file, False))
        except Exception as error:  # rosbags, SQLite and zstd raise all kinds
            self.skipped.add(file.name, "storage file is damaged", error)
            found, start, end = [], NEVER, 0
            for topic, kind, time, _ in damaged_files.rows(file):
                found.append((topic, kind, 1))
                start, end = min(start, time), max(end, time + 1)
            self._files.append((file, True))
        for topic, kind, count in found:
            self.topics[topic] = kind
            self.counts[topic] = self.counts.get(topic, 0) + count
        self.start, self.end = min(self.start, start), max(self.end, end)


def is_bag(path: Path) -> bool:
    """Whether a path is one recording, not a folder of several or something else."""
    if path.is_file():
        return path.name.endswith(SUFFIXES)
    # without metadata.yaml: the parts of one recording differ in their last number alone
    names = {re.sub(r"_\d+$", "", file.name.partition(".")[0]) for file in _storage(path)}
    return (path / "metadata.yaml").is_file() or len(names) == 1


def bags_in(folder: Path) -> list[Path]:
    """The recordings below a folder, in the order of their names; ``[folder]`` if it is one."""
    if is_bag(folder):
        return [folder]
    if not folder.is_dir():
        raise InputError(f"{folder}: no such recording (a rosbag2 folder, .mcap or .db3 file)")
    return [path for path in sorted(folder.iterdir()) if is_bag(path)]


def _files(path: Path, skipped: Skipped) -> list[Path]:
    """Storage files in the order of recording."""
    if path.is_file():
        return [path]
    there = _storage(path)
    try:
        content = YAML(typ="safe").load((path / "metadata.yaml").read_text(encoding="utf-8"))
        names = [
            Path(n).name for n in content["rosbag2_bagfile_information"]["relative_file_paths"]
        ]
    except OSError:
        skipped.add(
            "metadata.yaml", "missing", "the storage files are read in order of their names"
        )
        return there
    except (YAMLError, KeyError, TypeError, ValueError) as error:
        skipped.add("metadata.yaml", "unreadable", error)
        return there
    for name in names:
        if not (path / name).is_file():
            skipped.add(name, "storage file is missing")
    return [path / name for name in names if (path / name).is_file()]


def _storage(folder: Path) -> list[Path]:
    """The storage files of a folder; bag_2 before bag_10."""

    def number(path: Path) -> list[tuple[int, str]]:
        return [(int(p), "") if p.isdecimal() else (-1, p) for p in re.split(r"(\d+)", path.name)]

    return sorted((p for p in folder.glob("*") if p.name.endswith(SUFFIXES)), key=number)


def _unpack(file: Path, folder: Path) -> Path:
    target = folder / file.stem
    with zstd.open(file, "rb") as packed, target.open("wb") as plain:
        with contextlib.suppress(EOFError):  # what came before the break is read as a damaged file
            shutil.copyfileobj(packed, plain)
    return target


def _read(
    file: Path, topics: Collection[str], start: int, stop: int
) -> Iterator[damaged_files.Row]:
    with Reader(file) as reader:
        wanted = [c for c in reader.connections if c.topic in topics]
        if wanted:
            for connection, time, data in reader.messages(wanted, start, stop):
                yield connection.topic, connection.msgtype, time, bytes(data)


def _unpacked(data: bytes) -> bytes:
    """A message without its own compression."""
    if data[:4] == ZSTD:
        with contextlib.suppress(zstd.ZstdError):  # left as it is: it will not decode
            return zstd.decompress(data)
    return data

"""Read messages of a rosbag2 recording: sqlite3 or mcap, split, zstd-compressed, damaged."""

from __future__ import annotations

import contextlib
import re
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
NEVER = (1 << 63) - 1  # ns
MAX_MESSAGE = 1 << 30  # bytes that a compressed message may have: some 20 times a 4K image
#: a compressed file may unpack to this many times its size, and always to ``MAX_MESSAGE`` bytes
MAX_RATIO = 1000
BLOCK = 1 << 20  # bytes


@dataclass(frozen=True)
class Message:
    """One message as it was recorded."""

    topic: str
    kind: str  # such as sensor_msgs/msg/Image
    time: int  # ns, when it was recorded
    data: bytes  # CDR
    index: int  # position among the messages of its topic that are read, from 0


@dataclass
class Skipped:
    """Counts what could not be used, by reason, and keeps the first case of each as an example."""

    counts: dict[tuple[str, str], int] = field(default_factory=dict)  # (where, reason)
    examples: dict[tuple[str, str], str] = field(default_factory=dict)

    def add(self, where: str, reason: str, example: object = "") -> None:
        """Count one more."""
        key = (where, reason)
        self.counts[key] = self.counts.get(key, 0) + 1
        self.examples.setdefault(key, " ".join(str(example).split())[:300])

    def entries(self) -> list[dict[str, Any]]:
        """Return the entries of ``skipped`` in ``summary.json``."""
        return [
            {"where": key[0], "reason": key[1], "count": count, "first": self.examples[key]}
            for key, count in sorted(self.counts.items())
        ]


@dataclass(frozen=True)
class _File:
    """A storage file that can be read."""

    path: Path
    name: str  # in the recording; ``path`` may be an unpacked copy or a link
    damaged: bool


class Bag:
    """A rosbag2 recording: a folder or one storage file; ``topics`` maps names to types."""

    def __init__(self, path: Path) -> None:
        """Open every file of the recording and read its list of topics.

        Raises:
            InputError: the recording does not exist, or nothing in it can be read.
        """
        self.path = path
        self.skipped = Skipped()
        self.topics: dict[str, str] = {}
        self.counts: dict[str, int] = {}
        self.start, self.end = NEVER, 0  # ns, of the first message and after the last
        self._temporary = tempfile.TemporaryDirectory(prefix="kdc-bag-")
        self._files: list[_File] = []
        try:
            for file in _storage_files(path, self.skipped):
                self._open(file)
        except BaseException:
            self.close()
            raise
        if not self.topics:
            self.close()
            raise InputError(f"{path}: no messages can be read from this recording")

    def close(self) -> None:
        """Remove temporary files."""
        self._temporary.cleanup()

    def messages(
        self, topics: Collection[str], start: int = 0, stop: int = NEVER
    ) -> Iterator[Message]:
        """Yield messages of some topics recorded in ``[start, stop)`` ns.

        The files are read one after the other, and each in the order of time.
        """
        index = dict.fromkeys(topics, -1)
        for topic, kind, time, data in self._rows(topics, start, stop):
            index[topic] += 1
            yield Message(topic, kind, time, _unpack_message(data), index[topic])

    def _rows(self, topics: Collection[str], start: int, stop: int) -> Iterator[damaged_files.Row]:
        for file in self._files:
            last = start - 1
            try:
                rows = (
                    damaged_files.rows(file.path)
                    if file.damaged
                    else _read(file.path, topics, start, stop)
                )
                for row in rows:
                    if row[0] in topics and start <= row[2] < stop:
                        last = row[2]
                        yield row
            except Exception as error:  # rosbags raises many kinds; go on after the damaged part
                self.skipped.add(file.name, "storage file is damaged", error)
                for row in damaged_files.rows(file.path):
                    if row[0] in topics and last < row[2] < stop:
                        yield row

    def _open(self, path: Path) -> None:
        name, damaged = path.name, False
        try:
            path = self._prepare(path)
            with Reader(path) as reader:
                found = [(c.topic, c.msgtype, c.msgcount) for c in reader.connections]
                start, end = reader.start_time, reader.end_time
            for topic, kind, _ in found:
                damaged_files.check_names(topic, kind)
        except _Unusable as error:
            self.skipped.add(name, str(error))
            return
        except Exception as error:  # rosbags, SQLite and zstd raise many kinds
            self.skipped.add(name, "storage file is damaged", error)
            damaged, found, start, end = True, [], NEVER, 0
            for topic, kind, time, _ in damaged_files.rows(path):
                found.append((topic, kind, 1))
                start, end = min(start, time), max(end, time + 1)
        if start < 0:
            self.skipped.add(name, "messages recorded before 1970 are not read")
            start = 0
        self._files.append(_File(path, name, damaged))
        for topic, kind, count in found:
            self.topics[topic] = kind
            self.counts[topic] = self.counts.get(topic, 0) + count
        self.start, self.end = min(self.start, start), max(self.end, end)

    def _prepare(self, path: Path) -> Path:
        """Unpack a file, or link it where its path would be misread in an SQLite URI."""
        folder = Path(self._temporary.name)
        if path.suffix == ".zstd":
            path = _unpack_file(path, folder / path.stem)
        if path.suffix == ".db3":
            if any(character in str(path) for character in "?#%"):
                link = folder / f"{len(self._files)}.db3"
                link.symlink_to(path.resolve())
                path = link
            if not damaged_files.has_plain_tables(path):
                raise _Unusable("expected tables, got views")
        return path


class _Unusable(Exception):
    """Nothing in a storage file can be read."""


def printable(text: str) -> str:
    """Return a name from a recording with control characters escaped.

    A topic's name may hold anything, also sequences that a terminal obeys.
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def is_bag(path: Path) -> bool:
    """Return True if a path is one recording, not a folder of several or something else."""
    if path.is_file():
        return path.name.endswith(SUFFIXES)
    # without metadata.yaml: the parts of one recording differ in their last number only
    names = {re.sub(r"_\d+$", "", file.name.partition(".")[0]) for file in _storage(path)}
    return (path / "metadata.yaml").is_file() or len(names) == 1


def bags_in(folder: Path) -> list[Path]:
    """Return the recordings in a folder, ordered by name; ``[folder]`` if it is one itself.

    Raises:
        InputError: there is no such folder or recording.
    """
    if is_bag(folder):
        return [folder]
    if not folder.is_dir():
        raise InputError(
            f"{folder}: no such recording; expected a rosbag2 folder, or an .mcap or .db3 file"
        )
    return [path for path in sorted(folder.iterdir()) if is_bag(path)]


def _storage_files(path: Path, skipped: Skipped) -> list[Path]:
    """Return the storage files in the order of recording."""
    if path.is_file():
        return [path]
    present = _storage(path)
    try:
        content = YAML(typ="safe").load((path / "metadata.yaml").read_text(encoding="utf-8"))
        names = [
            Path(n).name for n in content["rosbag2_bagfile_information"]["relative_file_paths"]
        ]
    except OSError:
        skipped.add(
            "metadata.yaml", "missing", "storage files are read in the order of their names"
        )
        return present
    except (
        YAMLError,
        KeyError,
        TypeError,
        ValueError,
        AttributeError,
        IndexError,
        RecursionError,
    ) as error:
        skipped.add("metadata.yaml", "unreadable", error)
        return present
    for name in names:
        if not (path / name).is_file():
            skipped.add(name, "storage file is missing")
    return [path / name for name in names if (path / name).is_file()]


def _storage(folder: Path) -> list[Path]:
    """Return the storage files of a folder in natural order: bag_2 before bag_10."""

    def natural(path: Path) -> list[tuple[int, str]]:
        return [(int(p), "") if p.isdecimal() else (-1, p) for p in re.split(r"(\d+)", path.name)]

    return sorted((p for p in folder.glob("*") if p.name.endswith(SUFFIXES)), key=natural)


def _unpack_file(file: Path, target: Path) -> Path:
    """Unpack a file. If it breaks off, what came before is kept: it is read as a damaged file."""
    most = max(MAX_MESSAGE, MAX_RATIO * file.stat().st_size)
    size = 0
    with zstd.open(file, "rb") as packed, target.open("wb") as plain, contextlib.suppress(EOFError):
        while block := packed.read(BLOCK):
            size += len(block)
            if size > most:
                raise _Unusable(f"unpacks to more than {most} bytes")
            plain.write(block)
    return target


def _read(
    file: Path, topics: Collection[str], start: int, stop: int
) -> Iterator[damaged_files.Row]:
    with Reader(file) as reader:
        connections = [c for c in reader.connections if c.topic in topics]
        if connections:
            for connection, time, data in reader.messages(connections, start, stop):
                yield connection.topic, connection.msgtype, time, bytes(data)


def _unpack_message(data: bytes) -> bytes:
    """Return a message without its own compression; unchanged if it cannot be unpacked."""
    if data[:4] != ZSTD:
        return data
    try:
        unpacked = zstd.ZstdDecompressor()
        plain = unpacked.decompress(data, MAX_MESSAGE)
        return plain if unpacked.eof else data
    except zstd.ZstdError:
        return data  # the decoder reports it

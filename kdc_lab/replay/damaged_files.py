"""Read what is left of storage files that broke off while they were written.

Both readers go through a file from its beginning and need none of the indices at its end.
"""

from __future__ import annotations

import io
import sqlite3
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

import lz4.frame

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

Row = tuple[str, str, int, bytes]  # topic, type, time of recording in ns, data
MAGIC = b"\x89MCAP0\r\n"
SCHEMA, CHANNEL, MESSAGE, CHUNK, DATA_END = 0x03, 0x04, 0x05, 0x06, 0x0F
UNPACK = {"": bytes, "zstd": zstd.decompress, "lz4": lz4.frame.decompress}


def rows(path: Path) -> Iterator[Row]:
    """Yield messages in the order in which they were written, until the file breaks off."""
    return _mcap(path) if path.suffix == ".mcap" else _sqlite(path)


def check_names(topic: object, kind: object) -> None:
    """Check that the topic and the type of a message are text.

    Raises:
        TypeError: they are not.
    """
    if not isinstance(topic, str) or not isinstance(kind, str):
        raise TypeError(f"expected a topic and a type as text, got {topic!r} and {kind!r}")


def has_plain_tables(path: Path) -> bool:
    """Return False if ``topics`` or ``messages`` of an SQLite file is a view.

    A view can run for ever. Files that cannot be read have no views.
    """
    base = _connect(path)
    try:
        query = "SELECT count(*) FROM sqlite_master WHERE type = 'view'"
        return not base.execute(query).fetchone()[0]
    except sqlite3.Error:
        return True
    finally:
        base.close()


def _mcap(path: Path) -> Iterator[Row]:
    schemas: dict[int, str] = {}
    channels: dict[int, tuple[str, str]] = {}
    with path.open("rb") as file:
        if file.read(8) != MAGIC:
            return
        for kind, content in _records(file):
            if kind != CHUNK:
                yield from _record(kind, content, schemas, channels)
                continue
            try:
                inner = list(_records(io.BytesIO(_unpacked(content))))
            except (ValueError, struct.error, zstd.ZstdError, RuntimeError, KeyError):
                continue  # this chunk is lost; the next one has a beginning of its own
            for part, text in inner:
                yield from _record(part, text, schemas, channels)


def _records(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Yield (opcode, content) of every complete record before the end of the data."""
    while len(head := file.read(9)) == 9:
        kind, size = struct.unpack("<BQ", head)
        content = file.read(size) if size < 1 << 31 else b""
        if kind == DATA_END or len(content) < size:
            return
        yield kind, content


def _unpacked(chunk: bytes) -> bytes:
    (length,) = struct.unpack_from("<I", chunk, 28)
    compression = chunk[32 : 32 + length].decode()
    return UNPACK[compression](chunk[40 + length :])


def _record(
    kind: int, content: bytes, schemas: dict[int, str], channels: dict[int, tuple[str, str]]
) -> Iterator[Row]:
    """Store a schema or a channel, or yield a message; malformed records are left out."""
    try:
        if kind == SCHEMA:
            number, length = struct.unpack_from("<HI", content)
            schemas[number] = content[6 : 6 + length].decode()
        elif kind == CHANNEL:
            number, schema, length = struct.unpack_from("<HHI", content)
            channels[number] = (content[8 : 8 + length].decode(), schemas.get(schema, ""))
        elif kind == MESSAGE:
            number, _, time = struct.unpack_from("<HIQ", content)
            if number in channels:
                yield (*channels[number], time, content[22:])
    except (struct.error, UnicodeDecodeError):
        return


def _sqlite(path: Path) -> Iterator[Row]:
    if not has_plain_tables(path):
        return
    base = _connect(path)
    try:
        # otherwise SQLite refuses a file that is shorter than its header says
        base.execute("PRAGMA writable_schema=ON")
        topics = {
            number: (name, kind)
            for number, name, kind in base.execute("SELECT id,name,type FROM topics")
            if isinstance(name, str) and isinstance(kind, str)
        }
        query = "SELECT topic_id,timestamp,data FROM messages NOT INDEXED ORDER BY id"
        for number, time, data in base.execute(query):
            if number in topics and isinstance(time, int) and isinstance(data, bytes):
                yield (*topics[number], time, data)
    except sqlite3.Error:
        return  # the file breaks off here
    finally:
        base.close()


def _connect(path: Path) -> sqlite3.Connection:
    # immutable: SQLite writes nothing beside the file
    return sqlite3.connect(f"file:{quote(str(path.resolve()))}?immutable=1", uri=True)

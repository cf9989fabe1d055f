"""Storage files that were broken off while they were written: everything that can still be read.

Both readers go through the file from its beginning and need none of the indices at its end.
"""

from __future__ import annotations

import io
import sqlite3
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

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
    """Messages in the order in which they were written, up to where the file breaks off."""
    return _mcap(path) if path.suffix == ".mcap" else _sqlite(path)


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
                continue  # one chunk is lost, the next one has its own beginning
            for part, text in inner:
                yield from _record(part, text, schemas, channels)


def _records(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """(opcode, content) of every complete record before the end of the data."""
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
    """Learn a schema or a channel, or give a message; records that make no sense are left out."""
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
    base = sqlite3.connect(f"file:{path}?immutable=1", uri=True)
    try:
        # otherwise SQLite refuses a file that is shorter than its header says
        base.execute("PRAGMA writable_schema=ON")
        topics = {
            n: (name, kind) for n, name, kind in base.execute("SELECT id,name,type FROM topics")
        }
        query = "SELECT topic_id,timestamp,data FROM messages NOT INDEXED ORDER BY id"
        for number, time, data in base.execute(query):
            if number in topics:
                yield (*topics[number], time, bytes(data))
    except sqlite3.DatabaseError:
        return  # the place where it breaks off
    finally:
        base.close()

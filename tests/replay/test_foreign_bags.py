"""SQLite recordings with content that no recorder writes: counted or refused, never a traceback."""

from __future__ import annotations

import json
import shutil
import sqlite3

import pytest

from kdc_core.errors import InputError
from kdc_lab.replay.bag import MAX_MESSAGE, Bag, printable, zstd
from tests.replay.recordings import Recording

CAMERA = "/camera/image_raw"


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """A recording of three images in one SQLite file."""
    path = Recording(frames=3, storage="sqlite3").write(tmp_path_factory.mktemp("good") / "bag")
    return path / "bag.db3"


def changed(good, folder, *statements):
    """A copy of the recording after SQL statements."""
    file = shutil.copy(good, folder / "bag.db3")
    base = sqlite3.connect(file)
    for statement in statements:
        base.execute(statement)
    base.commit()
    base.close()
    return folder / "bag.db3"


@pytest.mark.parametrize(
    ("statement", "frames", "reason"),
    [
        ("UPDATE messages SET data='text' WHERE id=2", 2, "storage file is damaged"),
        ("UPDATE messages SET data=1.5 WHERE id=2", 2, "storage file is damaged"),
        (
            "UPDATE messages SET timestamp=-5 WHERE id=1",
            2,
            "messages recorded before 1970 are not read",
        ),
    ],
)
def test_bag_leaves_out_messages_with_wrong_values(good, play, tmp_path, statement, frames, reason):
    summary, _ = play(Recording(frames=3), changed(good, tmp_path, statement))
    assert summary["frames"] == frames
    assert [entry["reason"] for entry in summary["skipped"]] == [reason]


def test_bag_leaves_out_topics_without_a_name(good, tmp_path):
    bag = Bag(
        changed(
            good,
            tmp_path,
            "CREATE TABLE other AS SELECT * FROM topics",
            "DROP TABLE topics",
            "ALTER TABLE other RENAME TO topics",
            "INSERT INTO topics SELECT 2, NULL, type, serialization_format, "
            "offered_qos_profiles, type_description_hash FROM topics",
        )
    )
    assert list(bag.topics) == [CAMERA]
    assert [entry["reason"] for entry in bag.skipped.entries()] == ["storage file is damaged"]
    bag.close()


def test_bag_refuses_views_instead_of_tables(good, tmp_path):
    file = changed(
        good,
        tmp_path,
        "DROP TABLE messages",
        "CREATE VIEW messages AS WITH RECURSIVE n(id) AS (SELECT 1 UNION ALL SELECT id+1 FROM n) "
        "SELECT id, 1 topic_id, id timestamp, x'00' data FROM n",
    )
    with pytest.raises(InputError, match="no messages can be read"):
        Bag(file)


@pytest.mark.parametrize("name", ["hash#.db3", "per%20cent.db3", "what?.db3", "50%20done/bag.db3"])
def test_bag_reads_paths_with_characters_of_a_uri(good, tmp_path, name):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    shutil.copy(good, tmp_path / name)
    before = sorted(tmp_path.rglob("*"))
    bag = Bag(tmp_path / name)
    assert len(list(bag.messages({CAMERA}))) == 3 and bag.skipped.entries() == []
    bag.close()
    assert sorted(tmp_path.rglob("*")) == before  # nothing is written beside a recording


@pytest.mark.parametrize("name", ["a\\nb", "a\\0b", "a\\x1b[2Jb"])
def test_replay_escapes_control_characters_in_file_names(good, play, tmp_path, name):
    topic = f"/{name}/image_raw".encode().decode("unicode_escape")
    file = changed(
        good, tmp_path, f"UPDATE topics SET name=CAST(x'{topic.encode().hex()}' AS TEXT)"
    )
    summary, out = play(Recording(frames=3), file)
    assert list(summary["cameras"]) == [topic]
    assert all(path.name.isprintable() for path in out.iterdir())
    assert len(list(out.glob("mot_*.txt"))) == 1
    assert json.loads((out / "images.json").read_text())[0]["topic"] == topic


def test_printable_escapes_control_characters():
    assert printable("/kamera ä\n\x1b[2J\0") == "/kamera ä\\n\\x1b[2J\\x00"


def test_bag_limits_the_size_of_unpacked_messages(good, tmp_path, monkeypatch):
    from kdc_lab.replay import bag as module

    assert MAX_MESSAGE >= 100_000_000
    monkeypatch.setattr(module, "MAX_MESSAGE", 1000)
    bomb = zstd.compress(bytes(100_000)).hex()
    bag = Bag(changed(good, tmp_path, f"UPDATE messages SET data=x'{bomb}'"))
    assert all(message.data == bytes.fromhex(bomb) for message in bag.messages({CAMERA}))
    bag.close()


def test_bag_limits_the_size_of_unpacked_files(tmp_path, monkeypatch):
    from kdc_lab.replay import bag as module

    monkeypatch.setattr(module, "MAX_MESSAGE", 1000)
    file = tmp_path / "bomb.mcap.zstd"
    file.write_bytes(zstd.compress(bytes(100_000_000)))
    with pytest.raises(InputError, match="no messages can be read"):
        Bag(file)

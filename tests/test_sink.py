"""What is written can be read again."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from kdc_core.io.sink import FolderSink, VideoSink, check_apart, open_sink, write_image
from kdc_core.io.source import Source, open_source
from tests.video_files import clip

GREY = np.full((48, 64, 3), 90, np.uint8)


def source(kind: str = "video", count: int | None = None) -> Source:
    return Source("test", kind, lambda: iter(()), fps=20.0, count=count)


@pytest.mark.parametrize("suffix", [".mp4", ".avi", ".mkv"])
def test_video_has_every_frame_at_the_sources_rate(tmp_path: Path, suffix: str) -> None:
    sink = open_sink(tmp_path / "new" / f"a{suffix}", source())
    for index in range(12):
        sink.write(GREY, index / 20, "")
    sink.close()
    written = open_source(str(tmp_path / "new" / f"a{suffix}"))
    assert written.fps == pytest.approx(20)
    assert len(list(written)) == 12


def test_live_video_plays_at_real_speed(tmp_path: Path) -> None:
    sink = VideoSink(tmp_path / "a.avi", fps=20, live=True)
    for stamp in (100.0, 100.1, 100.5):  # 0.1 s are 2 frames of the video, 0.4 s are 8
        sink.write(GREY, stamp)
    sink.close()
    assert len(list(open_source(str(tmp_path / "a.avi")))) == 11


def test_a_clock_that_is_set_does_not_fill_the_disk(tmp_path: Path) -> None:
    sink = VideoSink(tmp_path / "a.avi", fps=20, live=True)
    for stamp in (0.0, 0.05, 1.7e9, 1.7e9 + 0.1, 30.0):
        sink.write(GREY, stamp)
    sink.close()
    assert len(list(open_source(str(tmp_path / "a.avi")))) <= 8


def test_a_live_video_at_its_own_rate_has_every_frame_once(tmp_path: Path) -> None:
    sink = VideoSink(tmp_path / "a.avi", fps=30, live=True)
    for k in range(60):
        sink.write(np.full((48, 64, 3), 4 * k, np.uint8), 1e9 + k / 30)
    sink.close()
    levels = [frame.image.mean() for frame in open_source(str(tmp_path / "a.avi"))]
    assert len(levels) == 60 and np.diff(levels).min() > 2


def test_video_of_changing_size_is_refused(tmp_path: Path) -> None:
    sink = VideoSink(tmp_path / "a.avi", fps=20)
    sink.write(GREY, 0.0)
    with pytest.raises(ValueError, match=r"one size, but b\.png has 48x64 after 64x48"):
        sink.write(GREY.transpose(1, 0, 2).copy(), 0.1, "b.png")
    sink.close()


def test_folder_keeps_names_and_16_bits(tmp_path: Path) -> None:
    sink = FolderSink(tmp_path / "masks", ".png")
    labels = np.array([[0, 300], [65535, 1]], np.uint16)
    sink.write(labels, 0.0, "a.jpg")
    sink.write(labels, 0.0, "a.png")
    assert sorted(p.name for p in (tmp_path / "masks").iterdir()) == ["a.png", "a.png.png"]
    read = cv2.imread(str(tmp_path / "masks" / "a.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(read, labels)


def test_one_picture(tmp_path: Path) -> None:
    open_sink(tmp_path / "a.png", source("image", 1)).write(GREY, 0.0, "x.jpg")
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / "a.png")), GREY)


def test_outputs_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="one image cannot hold a video"):
        open_sink(tmp_path / "a.png", source())
    with pytest.raises(ValueError, match="expected a folder or one of"):
        open_sink(tmp_path / "a.gif", source())
    (tmp_path / "b.mp4").mkdir()
    with pytest.raises(ValueError, match=r"b\.mp4: expected a file, this is a folder"):
        open_sink(tmp_path / "b.mp4", source())


def test_a_folder_may_have_a_dot_in_its_name(tmp_path: Path) -> None:
    (tmp_path / "out.v1").mkdir()
    open_sink(tmp_path / "out.v1", source()).write(GREY, 0.0, "000000")
    assert [path.name for path in (tmp_path / "out.v1").iterdir()] == ["000000.jpg"]


@pytest.mark.parametrize("size", [(321, 241), (1, 7)])
@pytest.mark.parametrize("suffix", [".mp4", ".avi"])
def test_odd_sides_lose_nothing(tmp_path: Path, suffix: str, size: tuple[int, int]) -> None:
    sink = VideoSink(tmp_path / f"a{suffix}", fps=20)
    sink.write(np.full((size[1], size[0], 3), 200, np.uint8), 0.0)
    sink.close()
    (frame,) = open_source(str(tmp_path / f"a{suffix}"))
    assert frame.size == ((322, 242) if size[0] > 16 else (16, 16))
    assert frame.image.min() > 190


@pytest.mark.parametrize("fps", [119.881, 238.653, 29.97])
def test_rates_that_mpeg_4_cannot_count_are_rounded(tmp_path: Path, fps: float) -> None:
    sink = VideoSink(tmp_path / "a.mp4", fps)
    for _ in range(4):
        sink.write(GREY, 0.0)
    sink.close()
    assert open_source(str(tmp_path / "a.mp4")).fps == pytest.approx(fps, abs=0.01)


def test_a_full_disk_is_not_silent(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    (tmp_path / "full.avi").symlink_to("/dev/full")
    sink = VideoSink(tmp_path / "full.avi", fps=20)
    with pytest.raises(ValueError, match=r"full\.avi: .*disk full"):
        for _ in range(20):
            sink.write(GREY, 0.0)
        sink.close()


def test_names_that_are_not_utf_8(tmp_path: Path) -> None:
    """OpenCV ends the process over them."""
    name = os.fsdecode(b"x\xff")
    write_image(tmp_path / f"{name}.png", GREY)
    (frame,) = open_source(str(tmp_path / f"{name}.png"))
    np.testing.assert_array_equal(frame.image, GREY)
    with pytest.raises(ValueError, match="expected a name in UTF-8, rename the file"):
        VideoSink(tmp_path / f"{name}.mp4", 10.0)
    clip(tmp_path / "a.avi").rename(tmp_path / f"{name}.avi")
    with pytest.raises(ValueError, match="expected a name in UTF-8, rename the file"):
        open_source(str(tmp_path / f"{name}.avi"))


def test_pictures_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a\.jpg: "):
        write_image(tmp_path / "a.jpg", np.zeros((1, 70000, 3), np.uint8))
    with pytest.raises(FileNotFoundError, match=r"gone/a\.jpg"):
        write_image(tmp_path / "gone" / "a.jpg", GREY)
    assert not list(tmp_path.iterdir())


def test_what_is_read_is_not_replaced(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.jpg"), GREY)
    folder, picture = open_source(str(tmp_path)), open_source(str(tmp_path / "a.jpg"))
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "a.jpg").symlink_to(tmp_path / "a.jpg")
    link = open_source(str(tmp_path / "links" / "a.jpg"))
    for source, out in (
        (folder, tmp_path), (picture, tmp_path), (picture, tmp_path / "a.jpg"),
        (link, tmp_path / "links"), (link, tmp_path),
    ):  # fmt: skip
        with pytest.raises(ValueError, match="would overwrite the input"):
            open_sink(out, source)
    open_sink(tmp_path / "b.jpg", picture)
    check_apart(tmp_path, picture, ".png")


def test_a_link_to_what_is_read_is_not_replaced(tmp_path: Path) -> None:
    for name in ("orig", "links", "one"):
        (tmp_path / name).mkdir()
    cv2.imwrite(str(tmp_path / "orig" / "a.png"), GREY)
    (tmp_path / "links" / "a.png").symlink_to("../orig/a.png")
    (tmp_path / "one" / "b.png").hardlink_to(tmp_path / "orig" / "a.png")
    address = f"file://{clip(tmp_path / 'w.avi')}"
    for read, out in (("links", "orig"), ("one", "one/b.png"), ("one", "orig/a.png")):
        with pytest.raises(ValueError, match="would overwrite the input"):
            check_apart(tmp_path / out, open_source(str(tmp_path / read)), ".png")
    check_apart(tmp_path / "orig", open_source(str(tmp_path / "links")), ".jpg")
    with pytest.raises(ValueError, match=r"w\.avi: would overwrite the input"):
        open_sink(tmp_path / "w.avi", open_source(address))
    assert len(list(open_source(address))) == 30

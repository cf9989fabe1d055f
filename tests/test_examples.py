"""The programs in examples/ run as their first lines say."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

from kdc_core.io import open_source
from tests.clips_of_people import PHOTOGRAPH, panned, write_clip

EXAMPLES = Path(__file__).parents[1] / "examples"


def run(name: str, *arguments: object) -> str:
    """Run an example and return what it prints."""
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name), *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(EXAMPLES.parent)},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_example_is_short_and_says_how_to_run_it(path: Path) -> None:
    text = path.read_text("utf-8")
    assert len(text.splitlines()) < 40
    assert f"Usage: python {path.name}" in text


def test_example_image(tmp_path: Path) -> None:
    target = tmp_path / "people.jpg"
    printed = run("image.py", PHOTOGRAPH, target)
    assert printed.startswith("person 1: score 0.")
    drawn, image = cv2.imread(str(target)), cv2.imread(str(PHOTOGRAPH))
    assert drawn.shape == image.shape and (drawn != image).any()


def test_example_video(tmp_path: Path) -> None:
    target = tmp_path / "people.mp4"
    printed = run("video.py", write_clip(tmp_path / "walk.mp4", frames=4), target)
    assert int(printed.split()[0]) >= 2
    written = open_source(str(target))
    assert (len(list(written)), written.fps) == (4, 10.0)


def test_example_webcam(tmp_path: Path) -> None:
    printed = run("webcam.py", write_clip(tmp_path / "camera.avi", frames=3))
    assert printed.count("(confirmed)") >= 4
    assert printed.startswith("person ")


def test_example_folder_to_coco(tmp_path: Path) -> None:
    coco = pytest.importorskip("pycocotools.coco", reason="extra `train`")
    folder, target = tmp_path / "images", tmp_path / "annotations.json"
    folder.mkdir()
    for index, image in enumerate(panned(2)):
        cv2.imwrite(str(folder / f"{index}.png"), image)
    printed = run("folder_to_coco.py", folder, target)
    content = json.loads(target.read_text())
    count = len(content["annotations"])
    assert printed == f"{count} people in 2 images\n"
    assert [image["file_name"] for image in content["images"]] == ["0.png", "1.png"]
    assert {entry["image_id"] for entry in content["annotations"]} == {1, 2}
    read = coco.COCO(str(target))
    assert all(read.annToMask(entry).sum() == entry["area"] for entry in read.anns.values())

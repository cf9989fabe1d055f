"""Test ``kdc synth`` from arguments to files, and the processes that render."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest

rle = pytest.importorskip("pycocotools.mask", reason="masks are written by pycocotools")
pytest.importorskip("rosbags", reason="recordings are written by rosbags")
pytest.importorskip("torch", reason="the training reader needs torch")

from kdc_core.io.source import open_source  # noqa: E402
from kdc_core.system import worker_pool  # noqa: E402
from kdc_lab.commands import synth as command  # noqa: E402
from kdc_lab.evaluate import annotated_images  # noqa: E402
from kdc_lab.evaluate.coco_metrics import as_rle  # noqa: E402
from kdc_lab.replay import ground_truth, synthetic_clips  # noqa: E402
from kdc_lab.replay.bag import Bag  # noqa: E402
from kdc_lab.replay.cameras import choose, prefixes  # noqa: E402
from kdc_lab.synth import RenderedFrame, SynthConfig, inputs, synthetic_stills  # noqa: E402
from kdc_lab.synth.coco_truth import annotate  # noqa: E402
from kdc_lab.training.batch import POSE_UNKNOWN, SEG_UNKNOWN  # noqa: E402
from kdc_lab.training.coco_reader import LoadReport, read_coco  # noqa: E402
from tests.synth import drawn_frames  # noqa: E402

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def drawn_people(monkeypatch):
    """Use drawings instead of renderings; threads, unlike processes, see the patch."""
    monkeypatch.setattr(synthetic_stills, "still", drawn_frames.still)
    monkeypatch.setattr(synthetic_clips, "clip", drawn_frames.clip)
    monkeypatch.setattr(worker_pool, "Processes", drawn_frames.Threads)


def run(*argv) -> int:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.main(parser.parse_args([str(part) for part in argv]))


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def crowd_of_four() -> RenderedFrame:
    """Return four people with all, 40 of 1000, none and one of their pixels visible."""
    labels = np.zeros((60, 80), np.uint8)
    labels[5:55, 5:25] = 1
    labels[10:14, 40:50] = 2
    labels[50, 70] = 4
    keypoints = np.zeros((4, 17, 3), np.float32)
    keypoints[0], keypoints[0, 3:5] = (15, 30, 2), (12, 31, 1)
    keypoints[1:3], keypoints[1:3, 4] = (45, 12, 1), 0
    return RenderedFrame(
        image=np.full((60, 80, 3), 90, np.uint8),
        labels=labels,
        keypoints=keypoints,
        box=np.array([(5, 5, 25, 55), (35, 10, 55, 60), (40, 10, 50, 60), (60, 40, 90, 70)], "f4"),
        hidden=np.array([0, 0.96, 1, 0], np.float32),
        ids=np.array([7, 3, 9, 12]),
        stamp=0.0,
    )


def test_annotate_marks_visible_hidden_and_ignored_people():
    entry, people = annotate(crowd_of_four(), 5)
    assert entry["masks_complete"] and (entry["width"], entry["height"]) == (80, 60)
    assert [p["track_id"] for p in people] == [7, 3, 9, 12]
    assert [p["iscrowd"] for p in people] == [0, 1, 1, 1]
    assert [bool(p["segmentation"]) for p in people] == [True, True, False, True]
    whole, little = people[:2]
    assert whole["bbox"] == [5, 5, 20, 50] and whole["area"] == 1000
    assert whole["num_keypoints"] == 17 and whole["keypoints"][9:15] == [12, 31, 1, 12, 31, 1]
    assert little["bbox"] == [40, 10, 10, 4] and little["amodal_bbox"] == [35, 10, 20, 50]
    assert little["hidden"] == pytest.approx(0.96) and little["num_keypoints"] == 16
    assert little["keypoints"][12:15] == [0, 0, 0]


def test_read_coco_ignores_regions_of_barely_visible_people(monkeypatch, tmp_path):
    monkeypatch.setattr(synthetic_stills, "still", lambda seed, config, background: crowd_of_four())
    made = synthetic_stills.write_stills(tmp_path, 1, 0, SynthConfig(), [], workers=1)
    assert made == {"images": 1, "people": 3, "ignored": 2, "hidden": 1}
    content = json.loads((tmp_path / "annotations.json").read_text())
    assert [p["track_id"] for p in content["hidden_people"]] == [9]
    report = LoadReport()
    pack = read_coco(tmp_path / "annotations.json", report)
    owner, ignore = pack.decode(0)[1]
    shot = crowd_of_four()
    assert not report.problems and len(pack.area) == 1
    assert np.array_equal(owner == 1, shot.labels == 1)
    unknown = (shot.labels == 2) | (shot.labels == 4)
    assert np.array_equal(ignore == (SEG_UNKNOWN | POSE_UNKNOWN), unknown)


def test_synth_images_and_truth_are_read_back_unchanged(tmp_path, capsys):
    out = tmp_path / "new"
    assert run("--out", out, "--count", 3, "--seed", 4, "--people", 2, 5, "--workers", 1) == 0
    assert "3 images, 9 people, 0 ignored, 0 hidden" in capsys.readouterr().out
    people = annotated_images.load(out / "images", out / "annotations.json")
    for (image, frame), index in zip(people.frames(), range(3), strict=True):
        shot, _ = synthetic_stills.render_jpeg(4, SynthConfig(people=(2, 5)), [], index)
        assert image == index + 1
        assert np.abs(frame.image.astype(int) - shot.image).mean() < 4  # JPEG
        for row, person in enumerate(people.people[image]):
            mask = rle.decode(as_rle(person["segmentation"], shot.labels.shape)) > 0
            assert np.array_equal(mask, shot.labels == row + 1)
            assert person["area"] == mask.sum()
            points = np.reshape(person["keypoints"], (17, 3))
            assert np.allclose(points, shot.keypoints[row], atol=0.006)
    numbers = [p["id"] for of_one in people.people.values() for p in of_one]
    assert len(set(numbers)) == 9 and min(numbers) > 0


def test_synth_files_depend_on_the_seed_but_not_on_workers(tmp_path):
    for name, more in (("one", [1, 4]), ("three", [3, 4]), ("other", [1, 5])):
        run("--out", tmp_path / name, "--count", 6, "--workers", more[0], "--seed", more[1])
    one, three, other = (files(tmp_path / name) for name in ("one", "three", "other"))
    assert len(one) == 7 and one == three
    assert one.keys() == other.keys() and not any(one[name] == other[name] for name in one)


def test_synth_longer_run_starts_with_the_images_of_a_shorter_one(tmp_path):
    run("--out", tmp_path / "two", "--count", 2, "--workers", 1)
    run("--out", tmp_path / "four", "--count", 4, "--workers", 1)
    short, long = (files(tmp_path / name / "images") for name in ("two", "four"))
    assert len(long) == 4 and short.items() <= long.items()


def test_write_stills_keeps_images_from_before_an_interruption(tmp_path):
    made = []

    def step():
        made.append(1)
        if len(made) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        synthetic_stills.write_stills(
            tmp_path / "broken", 4, 0, SynthConfig(), [], workers=1, step=step
        )
    synthetic_stills.write_stills(tmp_path / "two", 2, 0, SynthConfig(), [], workers=1)
    broken, two = (files(tmp_path / name) for name in ("broken", "two"))
    assert len(two) == 3 and broken == two


def test_synth_backgrounds_come_from_a_folder(tmp_path):
    (tmp_path / "empty").mkdir()
    cv2.imwrite(str(tmp_path / "empty" / "a.png"), np.full((50, 70, 3), (250, 20, 10), np.uint8))
    run("--out", tmp_path / "o", "--count", 1, "--workers", 1, "--backgrounds", tmp_path / "empty")
    corner = cv2.imread(str(tmp_path / "o" / "images" / "000001.jpg"))[:8, :8].mean(axis=(0, 1))
    assert np.allclose(corner, (250, 20, 10), atol=4)


def test_synth_clips_have_equal_truth_in_every_format(tmp_path):
    out = tmp_path / "clips"
    given = ("--video", "--count", 2, "--seconds", 0.5, "--fps", 10, "--size", 160, 120)
    assert run("--out", out, *given, "--workers", 1) == 0
    folder = out / "clip2"
    video = list(open_source(str(folder / "clip.mp4")))
    assert len(video) == 5 and video[0].size == (160, 120)
    bag = Bag(folder / "bag")
    cameras = prefixes(choose(bag, []))
    assert list(cameras) == ["/camera/image_raw"]
    forms = [
        ground_truth.load(bag, cameras, file, "")
        for file in (None, folder / "truth.json", folder / "mots.txt")
    ]
    stamps = [m.time for m in bag.messages({"/camera/image_raw"})]
    assert np.allclose(np.diff(stamps), 1e8) and not bag.skipped.counts
    bag.close()
    for index, stamp in enumerate(stamps):
        topic, coco, mots = (form.find("/camera/image_raw", stamp, index) for form in forms)
        assert len(topic) == len(coco) == len(mots) == 2
        for one, two, three in zip(topic, coco, mots, strict=True):
            assert one["track_id"] == two["track_id"] == three["track_id"] - 2000
            masks = [rle.decode(as_rle(p["segmentation"], (120, 160))) for p in (one, two, three)]
            assert np.array_equal(masks[0], masks[1]) and np.array_equal(masks[0], masks[2])
            assert np.allclose(one["keypoints"], two["keypoints"], atol=0.006)


def test_people_of_reports_invisible_people_as_occluded_without_pixels():
    people = synthetic_clips.people_of(crowd_of_four(), np.array([True, False, False, False]))
    assert people.phase.tolist() == [2, 3, 3, 3]
    assert np.unique(people.labels).tolist() == [0, 7]
    assert people.boxes[1].tolist() == [35, 10, 55, 60] and not people.visible[1:].any()
    assert people.centroid_xy[0].tolist() == [14.5, 29.5]


def test_synth_clips_do_not_depend_on_workers(tmp_path):
    given = ("--video", "--count", 3, "--seconds", 0.3, "--fps", 10, "--size", 160, 120)
    for name, count in (("one", 1), ("three", 3)):
        run("--out", tmp_path / name, *given, "--workers", count)
    one, three = files(tmp_path / "one"), files(tmp_path / "three")
    assert len(one) == 15 and one == three


def test_synth_refuses_wrong_arguments_in_one_line(tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    new = ["--out", tmp_path / "new"]
    for argv, words in (
        (["--out", tmp_path / "full"], "new or empty folder"),
        ([*new, "--count", 0], "expected 1 or more"),
        ([*new, "--people", 5, 2], "fewest <= most"),
        ([*new, "--size", 8, 8], "32 to 8192"),
        ([*new, "--backgrounds", tmp_path / "none"], "no such folder"),
        ([*new, "--backgrounds", tmp_path / "full"], "found none"),
        ([*new, "--video", "--fps", 0], "--fps from 1"),
        ([*new, "--video", "--seconds", 0.01], "--seconds 0.01: expected at least one frame"),
    ):
        with pytest.raises(ValueError, match=words) as error:
            run(*argv)
        assert "\n" not in str(error.value) and not (tmp_path / "new").exists()


def start(code: str) -> tuple[subprocess.Popen, list[int]]:
    """Start a program that sleeps in two processes of ``each``; return it and their ids."""
    # a background process of a shell inherits that Ctrl-C is ignored
    obey = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    process = subprocess.Popen(
        [sys.executable, "-c", obey + code],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        text=True,
    )
    assert process.stdout is not None
    return process, [int(process.stdout.readline()) for _ in range(2)]


SLEEP = """
import os, time
from kdc_core.system.worker_pool import each

def work(seconds):
    time.sleep(seconds)
    return os.getpid()

if __name__ == "__main__":
    for found in each(work, [0.1, 0.1, 2, 2, 60, 60], 2):
        print(found, flush=True)
"""


def gone(number: int) -> bool:
    try:
        state = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return True
    return state == "Z"  # dead, but not yet reaped


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_each_leaves_no_process_when_the_parent_is_killed(how, tmp_path):
    program = tmp_path / "program.py"
    program.write_text(SLEEP)
    process, children = start(
        f"import runpy; runpy.run_path({str(program)!r}, run_name='__main__')"
    )
    process.send_signal(how)
    began = time.monotonic()
    process.wait(timeout=60)
    deadline = began + 30  # far less than the sleeps of a minute
    while not all(map(gone, children)):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert process.returncode != 0


def test_processes_start_nothing_after_close(monkeypatch):
    """A thread is about to start a process when the pool is closed."""
    monkeypatch.undo()
    pool = worker_pool.Processes(1)
    with pool._lock:
        job = pool.submit(time.sleep, 600)  # its thread waits for the lock
        pool._closed = True
    with pytest.raises(ValueError, match="a worker process was killed"):
        job.result(timeout=30)
    assert not pool._all
    pool.close()


def test_each_returns_results_in_order(monkeypatch):
    monkeypatch.undo()
    found = list(worker_pool.each(partial(inputs.image_seed, 3), range(5), 2))
    assert found == [inputs.image_seed(3, index) for index in range(5)] and len(set(found)) == 5


def test_each_reports_a_killed_process_in_one_line(monkeypatch, tmp_path):
    monkeypatch.undo()
    with pytest.raises(ValueError, match="memory ran out: use fewer workers"):
        list(worker_pool.each(os._exit, [9, 9, 9], 2))


def test_each_process_uses_one_thread_and_starts_without_numpy(monkeypatch):
    """If numpy is loaded first, its threads and those of torch block each other: half the speed."""
    code = "import sys, kdc_core.cli, kdc_core.system.worker_pool; sys.exit('numpy' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
    monkeypatch.undo()
    assert list(worker_pool.each(os.getenv, ["OMP_NUM_THREADS"] * 2, 2)) == ["1", "1"]

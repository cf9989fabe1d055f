"""``kdc replay`` as a user calls it: the shipped network, exit codes, many recordings at once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from kdc_core.cli import main
from kdc_core.engines import default_model
from kdc_core.errors import InputError
from kdc_core.pipeline import Pipeline
from kdc_lab.replay import parallel_replay
from kdc_lab.replay.play import Replay, Settings
from tests.replay.recordings import Known, Recording

ROOT = Path(__file__).parents[2]
SMALL = ["--engine", "onnxruntime", "--long-side", "160", "--threads", "1"]

pytestmark = pytest.mark.skipif(not default_model().is_file(), reason="no weights in the tree")


@pytest.fixture(scope="module")
def bag(tmp_path_factory):
    return Recording(frames=6, truth=True).write(tmp_path_factory.mktemp("one") / "bag")


def test_command_writes_beside_the_recording_and_prints_figures(bag, capsys):
    assert main(["replay", str(bag), *SMALL]) == 0
    out = bag.parent / "bag_kdc"
    said = capsys.readouterr().out
    assert "/camera/image_raw: frames 6" in said and str(out / "report.html") in said
    summary = json.loads((out / "summary.json").read_text())
    assert len(summary["conditions"]["weights_sha256"]) == 64
    assert summary["clock"] == "offline"


def test_command_gives_the_same_bytes_twice(bag, tmp_path):
    files = ("summary.json", "keypoints.json", "report.html", "people/people.mcap")
    texts = []
    for name in ("a", "b"):
        assert main(["replay", str(bag), "--out", str(tmp_path / name), *SMALL]) == 0
        texts.append([(tmp_path / name / file).read_bytes() for file in files])
    assert texts[0] == texts[1]


def test_command_exits_with_3_if_something_is_skipped(tmp_path, capsys):
    path = Recording(frames=4).write(tmp_path / "bag")
    (path / "metadata.yaml").unlink()
    assert main(["replay", str(path), *SMALL]) == 3
    assert "skipped 1 x missing (metadata.yaml)" in capsys.readouterr().out


def test_command_exits_with_4_if_a_figure_falls(bag, tmp_path, capsys):
    out = tmp_path / "out"
    command = ["replay", str(bag), "--out", str(out), *SMALL, "--baseline"]
    summary = tmp_path / "baseline.json"
    summary.write_text(json.dumps({"truth": {"segm": {"AP": 0.0}}}))
    assert main([*command, str(summary)]) == 0
    summary.write_text(json.dumps({"truth": {"segm": {"AP": 0.99}, "tracks": {"HOTA": 0.99}}}))
    assert main([*command, str(summary)]) == 4
    said = capsys.readouterr().err
    assert "mask AP: 0.9900 -> " in said and "HOTA: 0.9900 -> " in said
    assert main([*command, str(summary), "--margin", "1"]) == 0


@pytest.mark.parametrize("words, complaint", [
    ([], "expected a recording or --compare A B"),
    (["nowhere"], "no such recording"),
    ([".", "--model", "none.onnx"], "none.onnx: no such model file"),
    ([".", "--rate", "0"], "--rate: expected a number above 0, got 0"),
    ([".", "--baseline", "none.json"], "none.json: No such file"),
    ([".", "--start", "100"], "s long; it has no frame after --start 100"),
    ([".", "--truth", str(default_model())], ".onnx: expected COCO annotations (.json) or MOTS"),
    (["--compare", "a", "b"], "a: expected the output folder"),
])  # fmt: skip
def test_command_reports_wrong_input_in_one_line(bag, words, complaint, capsys):
    words = [str(bag) if word == "." else word for word in words]
    assert main(["replay", *words]) == 2
    assert complaint in capsys.readouterr().err


def folder_of(tmp_path, count, frames=4):
    for number in range(count):
        Recording(frames=frames, truth=True).write(tmp_path / "bags" / f"walk_{number}x")
    return tmp_path / "bags"


def test_command_replays_a_folder_in_processes_and_resumes(tmp_path, capsys):
    bags, out = folder_of(tmp_path, 3), tmp_path / "out"
    (bags / "walk_1x" / "walk_1x.mcap").write_bytes(b"rubbish")
    command = ["replay", str(bags), "--out", str(out), "--jobs", "2", *SMALL]
    assert main(command) == 3
    merged = json.loads((out / "summary.json").read_text())
    assert merged["frames"] == 8 and sorted(merged["bags"]) == ["walk_0x", "walk_2x"]
    assert merged["truth"]["recordings"] == 2
    assert merged["skipped"][0]["where"] == "walk_1x"
    told = (out / "walk_0x" / "summary.json").stat().st_mtime_ns
    assert main(command) == 3  # finished ones are not replayed again
    assert (out / "walk_0x" / "summary.json").stat().st_mtime_ns == told
    assert main([*command, "--long-side", "192", "--flip"]) == 3  # other settings: they are
    assert (out / "walk_0x" / "summary.json").stat().st_mtime_ns != told
    told = json.loads((out / "walk_0x" / "summary.json").read_text())
    assert told["conditions"]["engine"].endswith("flip test")


def test_task_that_failed_is_not_done(bag, tmp_path, config, monkeypatch):
    def task(min_score):
        engine = ("auto", None, 1, None, False)
        settings = Settings(min_score=min_score)
        return parallel_replay.Task(str(bag), str(tmp_path / "out"), engine, config, settings, {})

    def broken(*_):
        raise InputError("no engine just now")

    first, second = task(0.15), task(0.9)
    monkeypatch.setattr(parallel_replay, "open_engine", lambda *_: Known(Recording(frames=6)))
    assert parallel_replay.run(first) == "" and (first.done(), second.done()) == (True, False)
    monkeypatch.setattr(parallel_replay, "open_engine", broken)
    assert parallel_replay.run(second) == "no engine just now"
    assert (first.done(), second.done()) == (True, False)  # the first one's summary is still there
    monkeypatch.setattr(parallel_replay, "open_engine", lambda *_: Known(Recording(frames=6)))
    assert parallel_replay.run(second) == "" and (first.done(), second.done()) == (False, True)
    pipeline = Pipeline(Known(Recording(frames=6)), config)
    Replay(
        bag, tmp_path / "out", pipeline, Settings(min_score=0.5)
    ).run()  # alone, into the same folder
    assert not second.done()


def _kill(pid: int) -> bool:
    """Whether it was there to be killed."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def killed_once(out: Path, killed: list[int]) -> None:
    """Kill the first worker that says in its run.json that it has begun."""
    end = time.monotonic() + 200
    while not killed and time.monotonic() < end:
        for file in out.glob("*/run.json"):
            if not (file.parent / "summary.json").exists():
                try:
                    pid = json.loads(file.read_text())["pid"]
                except (ValueError, KeyError):
                    continue  # being written
                if pid != os.getpid() and _kill(pid):
                    killed.append(pid)
                    break
        time.sleep(0.01)


@pytest.mark.parametrize("ray", [False, True])
def test_run_all_repeats_the_recording_of_a_killed_worker(tmp_path, ray):
    if ray:
        pytest.importorskip("ray", reason="ray is not installed: pip install -e '.[ray]'")
    bags, out = folder_of(tmp_path, 3, frames=15), tmp_path / "out"
    killed: list[int] = []
    watch = threading.Thread(target=killed_once, args=(out, killed), daemon=True)
    watch.start()
    command = [sys.executable, "-m", "kdc_core.cli", "replay", str(bags), "--out", str(out),
               "--jobs", "2", *SMALL, *(["--ray"] if ray else [])]  # fmt: skip
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240)
    watch.join(1)
    assert killed, "no worker was killed"
    assert done.returncode == 0, done.stderr
    merged = json.loads((out / "summary.json").read_text())
    assert merged["frames"] == 45 and merged["skipped"] == []
    results = {(out / name / "keypoints.json").read_bytes() for name in merged["bags"]}
    assert len(merged["bags"]) == 3 and len(results) == 1  # all recordings show the same

"""What commands write: nothing over what they read, whole files, and nothing lost on the way."""

from __future__ import annotations

import importlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from kdc_core.cli import main
from kdc_core.io.files import atomic_write
from kdc_core.io.source import open_source
from tests.command_line import ROOT, picture, refused
from tests.video_files import clip

pytest.importorskip("torch", reason="the network for these tests is made with torch")
pytest.importorskip("onnx", reason="export needs onnx: extra `train`")
pytest.importorskip("pycocotools", reason="evaluation needs pycocotools: extra `train`")


def test_bad_outputs(model: str, tmp_path: Path, capsys, monkeypatch) -> None:
    source = picture(tmp_path / "a.png", np.zeros((48, 64, 3), np.uint8))
    argv = ["run", source, "--model", model]
    refused(capsys, [*argv, "--out", str(tmp_path / "a.gif")], "expected a folder or one of")
    refused(capsys, [*argv, "--out", str(Path(source) / "x")], "Not a directory")
    both = ["--save-masks", str(tmp_path / "new"), "--out", str(tmp_path / "new" / "a.png")]
    refused(capsys, [*argv, *both], "a.png: --save-masks writes this file, choose another --out")
    assert not (tmp_path / "new").exists()
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    if sys.platform.startswith("linux"):
        refused(capsys, [*argv, "--view"], "--view: there is no screen")


def test_outputs_are_looked_at_before_anything_is_computed(
    model: str, coco: tuple[str, str], tmp_path: Path, capsys, monkeypatch
) -> None:
    for command in ("ablate", "bench", "evaluate", "occlusion_bench", "predict", "run"):
        package = "kdc_core" if command == "run" else "kdc_lab"
        module = importlib.import_module(f"{package}.commands.{command}")
        monkeypatch.setattr(module, "engine_from", lambda args: pytest.fail("opened"))
    (tmp_path / "file").touch()
    (tmp_path / "d.mp4").mkdir()
    data = ["--images", coco[0], "--annotations", coco[1]]
    video = str(clip(tmp_path / "a.avi"))
    for words in (
        ["predict", *data, "--out"],
        ["ablate", *data, "--out"],
        ["occlusion-bench", "--fields", "network", "--out"],
    ):
        refused(capsys, [*words, str(tmp_path / "file")], "file is a file")
    for words in (
        ["evaluate", *data, "--json"],
        ["bench", video, "--json"],
        ["run", video, "--out"],
    ):
        refused(capsys, [*words, str(tmp_path / "d.mp4")], "d.mp4: expected a file, this is")
    refused(capsys, ["bench", "--json", str(tmp_path / "file" / "a" / "b.json")], "file is a file")


def test_a_file_is_whole_or_not_there(tmp_path: Path) -> None:
    atomic_write(tmp_path / "new" / "a.bin", b"12")
    assert (tmp_path / "new" / "a.bin").read_bytes() == b"12"
    with pytest.raises(IsADirectoryError):
        atomic_write(tmp_path / "new", b"12")
    assert [path.name for path in tmp_path.iterdir()] == ["new"]


def test_no_command_writes_over_what_it_reads(model, coco, tmp_path, capsys, monkeypatch):
    path = tmp_path / "pictures" / "a.png"
    cv2.imwrite(str(path), np.zeros((48, 64, 3), np.uint8))
    shutil.copy(model, tmp_path / "m.onnx")
    clip(tmp_path / "w.avi")
    oracle = ["evaluate", "--images", coco[0], "--annotations", coco[1], "--oracle"]
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    before = [file.read_bytes() for file in files]
    monkeypatch.chdir(tmp_path)
    for words in (
        ["run", "pictures", "--out", f"{tmp_path}/pictures"],
        ["run", "pictures", "--out", "pictures/a.png"],
        ["run", "pictures/a.png", "--save-masks", "pictures"],
        ["run", f"file://{tmp_path}/w.avi", "--out", "w.avi"],
        ["bench", "w.avi", "--json", "w.avi"],
        [*oracle, "--json", coco[1]],
        [*oracle, "--worst", "pictures/0.png"],
        ["quantize", "m.onnx", "--images", "pictures", "--out", f"{tmp_path}/m.onnx"],
        ["export", "m.onnx", "--out", f"{tmp_path}/m.onnx"],
    ):
        assert main(words) == 2
        assert "would overwrite the input" in capsys.readouterr().err
    assert main(["quantize", "m.onnx", "--images", "pictures", "--out", "pictures/a.png"]) == 2
    assert "expected a file name that ends in .onnx" in capsys.readouterr().err
    assert [file.read_bytes() for file in files] == before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_video_is_finished_by_a_signal(model: str, tmp_path: Path, number: int) -> None:
    source, out = clip(tmp_path / "a.avi", frames=3000), tmp_path / "out.mp4"
    words = ["run", str(source), "--model", model, "--out", str(out)]
    program = subprocess.Popen(
        [sys.executable, "-m", "kdc_core.cli", *words],
        cwd=ROOT,
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),  # these tests may run in nohup
    )
    try:
        until = time.monotonic() + 60
        while not out.exists() and time.monotonic() < until:
            time.sleep(0.05)
        time.sleep(0.2)
        for _ in range(2):
            program.send_signal(number)
        assert program.wait(20) == 128 + number
    finally:
        program.kill()
    assert 1 <= len(list(open_source(str(out)))) < 3000


def test_names_and_words_in_an_ascii_locale(model: str, tmp_path: Path) -> None:
    source, out = clip(tmp_path / "ö.avi"), tmp_path / "ä.avi"
    ascii_ = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    words = ["run", str(source), "--model", model, "--out", str(out), "--max-frames", "3"]
    done = subprocess.run(
        [sys.executable, "-m", "kdc_core.cli", *words], cwd=ROOT, env={**os.environ, **ascii_}
    )
    assert done.returncode == 0
    assert len(list(open_source(str(out)))) == 3


@pytest.mark.parametrize("words", ["--help", "doctor --model {}"])
def test_stdout_that_is_closed_or_full(model: str, words: str) -> None:
    """Closed: quiet, and the exit code is the command's own; full: one line and 2."""
    argv = [sys.executable, "-m", "kdc_core.cli", *words.format(model).split()]
    buffered = {**os.environ, "PYTHONUNBUFFERED": ""}  # else argparse itself swallows the error
    read, closed = os.pipe()
    os.close(read)
    for stdout, answer in (
        (closed, (0, [])),
        ("/dev/full", (2, ["kdc: stdout: No space left on device"])),
    ):
        if stdout == "/dev/full" and not Path(stdout).exists():
            continue
        with open(stdout, "w") as file:
            done = subprocess.run(
                argv, stdout=file, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=buffered
            )
        lines = [one for one in done.stderr.splitlines() if not one.startswith("engine ")]
        assert (done.returncode, lines) == answer


def test_figures_are_written_even_if_nobody_reads_them(coco, tmp_path: Path, monkeypatch) -> None:
    class Closed(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr(sys, "stdout", Closed())
    out = tmp_path / "figures.json"
    argv = ["evaluate", "--images", coco[0], "--annotations", coco[1], "--oracle"]
    assert main([*argv, "--json", str(out)]) == 0
    assert json.loads(out.read_text())["keypoints"]["AP"] >= 0.95

"""``kdc build-engine``."""

import json
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import pytest

from kdc_core import cuda
from kdc_core.cli import main
from kdc_core.commands import build_engine
from kdc_core.config import ModelInfo
from kdc_core.cuda import probe, trt_library
from kdc_core.engines.trt_build import build
from kdc_core.engines.trt_progress import progress_monitor
from kdc_core.io import open_source
from tests.cuda import fake_tensorrt
from tests.cuda.helpers import kdc


def test_build_engine_reuses_the_cached_engine(model, libcuda, tmp_path):
    first = kdc(libcuda, tmp_path, "build-engine", "--model", model)
    assert first.returncode == 0, first.stderr
    assert "fp16 for emulated GPU (sm_90), fake_tensorrt 10.3.0" in first.stdout
    second = kdc(libcuda, tmp_path, "build-engine", "--model", model)
    assert second.stdout.strip().endswith(".engine exists already")
    forced = kdc(libcuda, tmp_path, "build-engine", "--model", model, "--force")
    assert "fp16 for emulated GPU" in forced.stdout
    manifest = json.loads(next(tmp_path.glob("*.json")).read_text(encoding="utf-8"))
    assert set(manifest) == {"recipe", "engine_sha256", "built"}
    assert manifest["recipe"]["longest"] == 160 and manifest["recipe"]["precision"] == "fp16"


def test_build_engine_int8_calibrates_with_images(model, libcuda, tmp_path):
    (tmp_path / "images").mkdir()
    for number in range(3):
        image = np.random.default_rng(number).integers(0, 256, (90, 120, 3), np.uint8)
        cv2.imwrite(str(tmp_path / "images" / f"{number}.png"), image)
    words = ("build-engine", "--model", model, "--precision", "int8")
    refused = kdc(libcuda, tmp_path, *words)
    assert refused.returncode == 2
    assert refused.stderr.strip() == (
        "kdc: int8 needs images for calibration: name a folder with --images FOLDER"
    )
    done = kdc(libcuda, tmp_path, *words, "--images", tmp_path / "images", "--count", "2")
    assert done.returncode == 0 and "int8 for emulated GPU" in done.stdout, done.stderr
    again = kdc(libcuda, tmp_path, *words, "--images", tmp_path / "images")
    assert "calibrated with earlier images; use --force to calibrate it again" in again.stdout


def test_calibration_yields_network_inputs(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.full((60, 100, 3), 7, np.uint8))
    (image,) = build_engine.calibration(open_source(str(tmp_path)), 5, ModelInfo(longest=64))
    assert (image.shape, image.dtype) == ((1, 3, 64, 64), np.float32)
    assert image[0, 0, 0, 0] == 7


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--model", "gone.onnx"], "gone.onnx: no such model file"),
        (["--long-side", "9"], "long side: expected 64 to 4096 pixels, got 9"),
    ],
)
def test_build_engine_reports_wrong_arguments(words, message, model, capsys):
    if "--model" not in words:
        words = [*words, "--model", str(model)]
    assert main(["build-engine", *words]) == 2
    assert capsys.readouterr().err.strip() == f"kdc: {message}"


def test_build_engine_without_gpu(model, monkeypatch, capsys):
    monkeypatch.setattr(probe.ctypes, "CDLL", lambda name: (_ for _ in ()).throw(OSError(name)))
    monkeypatch.setattr(cuda, "load_tensorrt", lambda: fake_tensorrt)
    assert main(["build-engine", "--model", str(model)]) == 2
    line = "kdc: no NVIDIA driver is installed (libcuda.so.1 is missing)"
    assert capsys.readouterr().err.strip() == line


@pytest.mark.skipif(
    not any(find_spec(name) for name in trt_library.MODULES), reason="no TensorRT is installed"
)
def test_build_reports_progress_and_can_be_interrupted(model: Path):
    trt, reports = trt_library.load_tensorrt(), []
    text, info = model.read_bytes(), ModelInfo(longest=160)
    build(trt, text, info, callback=lambda *step: reports.append(step))
    assert len(reports) > 10 and all(0 <= done <= steps for _, done, steps in reports)

    def stop(*_) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(trt, text, info, callback=stop)


def test_progress_monitor_without_support():
    assert progress_monitor(object(), lambda *_: None) is None

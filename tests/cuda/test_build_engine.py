"""``kdc build-engine`` and what ``kdc doctor`` says of the GPU path."""

import json
from importlib.util import find_spec
from pathlib import Path

import cv2
import fake_tensorrt
import numpy as np
import pytest
from test_cuda_source import without_compilers
from test_device import run

from kdc_core import cuda, engines
from kdc_core.cli import main
from kdc_core.commands import build_engine
from kdc_core.config import ModelInfo
from kdc_core.cuda import probe, trt_library
from kdc_core.engines import trt_build as building
from kdc_core.engines.trt_progress import monitor
from kdc_core.io.source import open_source

SCRIPT = str(Path(__file__).with_name("drive_cli.py"))


def kdc(libcuda, folder, *words: str, **more: str):
    return run([SCRIPT, *map(str, words)], libcuda, KDC_ENGINES=str(folder), **more)


def test_an_engine_is_built_once(model, libcuda, tmp_path):
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


def test_int8_takes_its_ranges_from_pictures(model, libcuda, tmp_path):
    (tmp_path / "pictures").mkdir()
    for number in range(3):
        picture = np.random.default_rng(number).integers(0, 256, (90, 120, 3), np.uint8)
        cv2.imwrite(str(tmp_path / "pictures" / f"{number}.png"), picture)
    words = ("build-engine", "--model", model, "--precision", "int8")
    refused = kdc(libcuda, tmp_path, *words)
    assert refused.returncode == 2
    assert refused.stderr.strip() == (
        "kdc: int8 needs pictures like those to come: --images FOLDER"
    )
    done = kdc(libcuda, tmp_path, *words, "--images", tmp_path / "pictures", "--count", "2")
    assert done.returncode == 0 and "int8 for emulated GPU" in done.stdout, done.stderr
    again = kdc(libcuda, tmp_path, *words, "--images", tmp_path / "pictures")
    assert "--force calibrates it again" in again.stdout


def test_calibration_inputs_are_network_inputs(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.full((60, 100, 3), 7, np.uint8))
    (image,) = build_engine.calibration(open_source(str(tmp_path)), 5, ModelInfo(longest=64))
    assert (image.shape, image.dtype) == ((1, 3, 64, 64), np.float32)
    assert image[0, 0, 0, 0] == 7


@pytest.mark.parametrize("words, message", [
    (["--model", "gone.onnx"], "gone.onnx: no such model file"),
    (["--long-side", "9"], "long side: expected 64 to 4096 pixels, got 9"),
])  # fmt: skip
def test_what_is_wrong_is_one_line(words, message, model, capsys):
    if "--model" not in words:
        words = [*words, "--model", str(model)]
    assert main(["build-engine", *words]) == 2
    assert capsys.readouterr().err.strip() == f"kdc: {message}"


def test_doctor_shows_every_step_of_the_gpu_path(model, libcuda, tmp_path):
    done = kdc(libcuda, tmp_path, "doctor", "--model", model)
    assert done.returncode == 0, done.stdout + done.stderr
    steps = ["driver", "GPU", "TensorRT", "PyCUDA", "kernels", "onnx"]
    found = [line.split() for line in done.stdout.splitlines() if line.startswith("  ok")]
    assert [words[1] for words in found[-6:]] == steps
    assert "the GPU can be used" in done.stdout
    assert "fake_tensorrt 10.3.0 fp16, emulated GPU (sm_90)" in done.stdout
    assert "(auto: there are a GPU and TensorRT)" in done.stdout


@pytest.mark.parametrize("fault, line", [
    ("init=803", "--  driver       driver and its library do not fit"),
    ("devices=0", "--  GPU          the driver finds no GPU"),
])  # fmt: skip
def test_doctor_names_what_is_in_the_way(model, libcuda, tmp_path, fault, line):
    done = kdc(libcuda, tmp_path, "doctor", "--model", model, KDC_FAKE_GPU=fault)
    assert done.returncode == 0, done.stdout + done.stderr
    assert line in done.stdout and "the GPU is not used, the CPU is" in done.stdout


def test_auto_takes_the_gpu_and_cpu_does_not_even_look(monkeypatch):
    monkeypatch.setattr(cuda, "gpu_unavailable_reason", lambda: "")
    path = Path("model.onnx")
    assert engines.choose_engine(path) == ("tensorrt", "there are a GPU and TensorRT")
    assert engines.choose_engine(Path("model.pt"))[0] == "torch"
    monkeypatch.setattr(cuda, "gpu_unavailable_reason", lambda: "driver: none")
    assert engines.choose_engine(path)[1].endswith("; not on a GPU: driver: none")
    monkeypatch.setattr(cuda, "gpu_unavailable_reason", lambda: pytest.fail("asked"))
    assert engines.choose_engine(path, gpu=False)[0] in ("openvino", "onnxruntime")


STEPS = ("_driver", "_device", "_tensorrt", "_pycuda", "compiler_name", "_onnx")


def last_check(monkeypatch, present: int) -> probe.Check:
    """The last of the checks where the first ``present`` ones succeed."""
    for name in STEPS[:present]:
        monkeypatch.setattr(probe, name, lambda: "there")
    return list(probe.gpu_checks())[-1]


def refuse_imports(monkeypatch, package: str) -> None:
    real = probe.importlib.import_module

    def load(name: str):
        if name.partition(".")[0] == package:
            raise ImportError(f"No module named {name!r}")
        return real(name)

    monkeypatch.setattr(probe.importlib, "import_module", load)


def test_no_driver(monkeypatch):
    monkeypatch.setattr(probe.ctypes, "CDLL", lambda name: (_ for _ in ()).throw(OSError(name)))
    check = last_check(monkeypatch, 0)
    assert (check.what, check.ok) == ("driver", False)
    assert probe.gpu_unavailable_reason() == (
        "driver: no NVIDIA driver is installed (libcuda.so.1 is missing)"
    )


def test_no_engine_is_built_without_a_gpu(model, monkeypatch, capsys):
    monkeypatch.setattr(probe.ctypes, "CDLL", lambda name: (_ for _ in ()).throw(OSError(name)))
    monkeypatch.setattr(cuda, "load_tensorrt", lambda: fake_tensorrt)
    assert main(["build-engine", "--model", str(model)]) == 2
    line = "kdc: no NVIDIA driver is installed (libcuda.so.1 is missing)"
    assert capsys.readouterr().err.strip() == line


@pytest.mark.parametrize("package, present, what", [("pycuda", 3, "PyCUDA"), ("onnx", 5, "onnx")])
def test_no_package(monkeypatch, package, present, what):
    refuse_imports(monkeypatch, package)
    check = last_check(monkeypatch, present)
    assert (check.what, check.ok) == (what, False)
    assert f"pip install {package}" in check.detail


def test_no_tensorrt(monkeypatch):
    monkeypatch.setattr(trt_library, "MODULES", ("tensorrt_of_nobody",))
    check = last_check(monkeypatch, 2)
    assert (check.what, check.ok) == ("TensorRT", False)
    assert "No module named 'tensorrt_of_nobody'" in check.detail


def test_no_compiler(monkeypatch):
    without_compilers(monkeypatch)
    monkeypatch.setattr(probe, "_driver", lambda: "there")
    monkeypatch.setattr(probe, "_pycuda", lambda: "there")
    monkeypatch.setattr(probe, "_tensorrt", lambda: "there")
    monkeypatch.setattr(probe, "_device", lambda: "there")
    check = list(probe.gpu_checks())[-1]
    assert (check.what, check.ok) == ("kernels", False)
    assert "pip install nvidia-cuda-nvrtc" in check.detail


@pytest.mark.skipif(
    not any(find_spec(name) for name in trt_library.MODULES), reason="no TensorRT is installed"
)
def test_a_real_builder_tells_its_progress_and_can_be_interrupted(model):
    trt, told = trt_library.load_tensorrt(), []
    building.build(
        trt, model.read_bytes(), ModelInfo(longest=160), watch=lambda *step: told.append(step)
    )
    assert len(told) > 10 and all(0 <= done <= steps for _, done, steps in told)

    def stop(*_) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        building.build(trt, model.read_bytes(), ModelInfo(longest=160), watch=stop)


def test_a_tensorrt_without_monitors_is_left_alone():
    assert monitor(object(), lambda *_: None) is None

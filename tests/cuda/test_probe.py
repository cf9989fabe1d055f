"""The requirements of the GPU engine, one by one, and the choice of an engine."""

from pathlib import Path

import pytest

from kdc_core import cuda, engines
from kdc_core.cuda import probe, trt_library
from tests.cuda.helpers import without_compilers

STEPS = (
    "check_driver",
    "check_device",
    "check_tensorrt",
    "check_pycuda",
    "compiler_name",
    "check_onnx",
)


def last_check(monkeypatch: pytest.MonkeyPatch, passing: int) -> probe.Check:
    """Return the last check if the first ``passing`` steps succeed."""
    for name in STEPS[:passing]:
        monkeypatch.setattr(probe, name, lambda: "found")
    return list(probe.gpu_checks())[-1]


def refuse_imports(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    real = probe.importlib.import_module

    def load(name: str):
        if name.partition(".")[0] == package:
            raise ImportError(f"No module named {name!r}")
        return real(name)

    monkeypatch.setattr(probe.importlib, "import_module", load)


def test_gpu_checks_when_all_pass(monkeypatch):
    for name in STEPS:
        monkeypatch.setattr(probe, name, lambda: "found")
    checks = list(probe.gpu_checks())
    assert [check.name for check in checks] == [
        "driver",
        "GPU",
        "TensorRT",
        "PyCUDA",
        "compiler",
        "onnx",
    ]
    assert all(check.ok and check.detail == "found" for check in checks)
    assert probe.gpu_unavailable_reason() == ""


def test_gpu_checks_without_driver(monkeypatch):
    monkeypatch.setattr(probe.ctypes, "CDLL", lambda name: (_ for _ in ()).throw(OSError(name)))
    check = last_check(monkeypatch, 0)
    assert (check.name, check.ok) == ("driver", False)
    reason = "driver: no NVIDIA driver is installed (libcuda.so.1 is missing)"
    assert probe.gpu_unavailable_reason() == reason


@pytest.mark.parametrize(
    ("package", "passing", "name"), [("pycuda", 3, "PyCUDA"), ("onnx", 5, "onnx")]
)
def test_gpu_checks_without_package(monkeypatch, package, passing, name):
    refuse_imports(monkeypatch, package)
    check = last_check(monkeypatch, passing)
    assert (check.name, check.ok) == (name, False)
    assert f"pip install {package}" in check.detail


def test_gpu_checks_without_tensorrt(monkeypatch):
    monkeypatch.setattr(trt_library, "MODULES", ("tensorrt_of_another_planet",))
    check = last_check(monkeypatch, 2)
    assert (check.name, check.ok) == ("TensorRT", False)
    assert "No module named 'tensorrt_of_another_planet'" in check.detail


def test_gpu_checks_without_compiler(monkeypatch):
    without_compilers(monkeypatch)
    check = last_check(monkeypatch, 4)
    assert (check.name, check.ok) == ("compiler", False)
    assert "pip install nvidia-cuda-nvrtc" in check.detail


def test_choose_engine_uses_the_gpu_unless_excluded(monkeypatch):
    monkeypatch.setattr(cuda, "gpu_unavailable_reason", lambda: "")
    path = Path("model.onnx")
    assert engines.choose_engine(path) == ("tensorrt", "a GPU and TensorRT are available")
    assert engines.choose_engine(Path("model.pt"))[0] == "torch"
    monkeypatch.setattr(cuda, "gpu_unavailable_reason", lambda: "driver: none")
    assert engines.choose_engine(path)[1].endswith("; no GPU engine: driver: none")
    monkeypatch.setattr(cuda, "gpu_unavailable_reason", lambda: pytest.fail("GPU was probed"))
    assert engines.choose_engine(path, gpu=False)[0] in ("openvino", "onnxruntime")

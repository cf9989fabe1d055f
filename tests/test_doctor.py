"""``kdc doctor``: what it reports, what it recommends, and its exit code."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from types import ModuleType

import pytest

from kdc_core.cli import main
from kdc_core.commands import doctor
from kdc_core.commands.doctor import (
    Package,
    nvidia_gpus,
    package_version,
    report_gpu,
    report_packages,
    speed_hints,
)
from kdc_core.cuda import Check

DRIVER = Check("driver", True, "supports CUDA 13.0")
NO_DRIVER = [Check("driver", False, "no NVIDIA driver is installed")]
NO_GPU = [DRIVER, Check("GPU", False, "the NVIDIA driver finds no GPU")]
NO_TENSORRT = [
    DRIVER,
    Check("GPU", True, "Orin (sm_87)"),
    Check("TensorRT", False, "not installed; run: pip install tensorrt"),
]
ALL_OK = [DRIVER, Check("onnx", True, "1.19")]
INSTALL_OPENVINO = "pip install openvino (a faster engine on CPUs)"
MEND_TENSORRT = (
    "this machine has a GPU; to use it, mend TensorRT: not installed; run: pip install tensorrt"
)


def with_openvino(monkeypatch: pytest.MonkeyPatch, installed: bool) -> None:
    find = importlib.util.find_spec
    spec = object() if installed else None
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *rest: spec if name == "openvino" else find(name, *rest),
    )


@pytest.mark.parametrize(
    ("engine", "checks", "openvino", "hints"),
    [
        ("tensorrt", ALL_OK, False, []),  # nothing is faster
        ("openvino", NO_DRIVER, True, []),
        ("openvino", NO_GPU, True, []),
        ("openvino", NO_TENSORRT, True, [MEND_TENSORRT]),
        ("onnxruntime", NO_DRIVER, False, [INSTALL_OPENVINO]),
        ("onnxruntime", NO_TENSORRT, False, [MEND_TENSORRT, INSTALL_OPENVINO]),
        (
            "onnxruntime",
            NO_DRIVER,
            True,
            ["use --engine auto or openvino, which is faster on CPUs"],
        ),
        ("torch", NO_DRIVER, True, []),  # openvino cannot read a checkpoint
        (
            "openvino",
            ALL_OK,
            True,
            ["use --engine auto or tensorrt: the GPU engine is available"],
        ),
    ],
)
def test_speed_hints(monkeypatch, engine, checks, openvino, hints) -> None:
    with_openvino(monkeypatch, openvino)
    assert speed_hints(engine, checks) == hints


@pytest.mark.parametrize(
    ("required", "version", "problem", "healthy", "line"),
    [
        (True, "1.2", "", True, "  ok  one          1.2          maths"),
        (
            True,
            "",
            "",
            False,
            "  --  one          missing      maths; to install: pip install uno",
        ),
        (
            False,
            "",
            "",
            True,
            "  --  one          missing      maths; to install: pip install uno",
        ),
        (
            True,
            "",
            "ImportError: x",
            False,
            "  --  one          broken       maths; to install: pip install uno\n"
            "      ImportError: x",
        ),
    ],
)
def test_report_packages(monkeypatch, capsys, required, version, problem, healthy, line) -> None:
    monkeypatch.setattr(doctor, "package_version", lambda package: (version, problem))
    assert report_packages([Package("one", "uno", "maths", required)]) is healthy
    assert capsys.readouterr().out == f"\nPackages\n{line}\n"


def test_package_version_of_a_missing_package() -> None:
    assert package_version(Package("no_such_module", "x", "")) == ("", "")


def test_package_version_of_a_broken_package(monkeypatch, tmp_path) -> None:
    (tmp_path / "broken_a.py").write_text("import no_such_dependency")
    (tmp_path / "broken_b.py").write_text("raise OSError('libx.so: cannot open\\nfile')")
    monkeypatch.syspath_prepend(tmp_path)
    version, problem = package_version(Package("broken_a", "x", ""))
    assert (version, problem) == ("", "No module named 'no_such_dependency'")
    version, problem = package_version(Package("broken_b", "x", ""))
    assert (version, problem) == ("", "OSError: libx.so: cannot open file")


def test_package_version_without_metadata(monkeypatch) -> None:
    module = ModuleType("sourced")
    monkeypatch.setitem(sys.modules, "sourced", module)
    assert package_version(Package("sourced", "x", "")) == ("installed", "")
    module.__version__ = "7.1"  # type: ignore[attr-defined]
    assert package_version(Package("sourced", "x", "")) == ("7.1", "")


def test_nvidia_gpus(monkeypatch) -> None:
    monkeypatch.setattr(doctor.shutil, "which", lambda name: None)
    assert nvidia_gpus() == "no NVIDIA driver"
    monkeypatch.setattr(doctor.shutil, "which", lambda name: "/usr/bin/nvidia-smi")
    monkeypatch.setattr(
        doctor.subprocess,
        "run",
        lambda *_, **__: subprocess.CompletedProcess([], 0, "T4, 550.54, 15360 MiB\n", ""),
    )
    assert nvidia_gpus() == "T4, driver 550.54, 15360 MiB"

    def fail(*_, **__) -> None:
        raise subprocess.CalledProcessError(9, "nvidia-smi")

    monkeypatch.setattr(doctor.subprocess, "run", fail)
    assert nvidia_gpus().startswith("nvidia-smi failed: ")


def test_report_gpu(capsys) -> None:
    report_gpu(ALL_OK)
    assert capsys.readouterr().out.startswith("\nGPU engine: available\n  ok  driver       supp")
    report_gpu(NO_TENSORRT)
    printed = capsys.readouterr().out.splitlines()
    assert printed[1] == "GPU engine: not available, the CPU is used"
    assert printed[-1].startswith("  --  TensorRT     not installed")


def test_doctor_shows_engine_and_missing_packages(model: str, capsys, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "pycuda", None)
    assert main(["doctor", "--model", model, "--engine", "onnxruntime"]) == 0
    printed = capsys.readouterr().out
    assert "ok  onnxruntime" in printed
    assert "--  pycuda       missing" in printed
    assert "pip install pycuda" in printed
    assert "(requested with --engine)" in printed
    assert "longest side 96" in printed
    assert len(printed.splitlines()) < 40  # one screen


def test_doctor_with_flip_test(model: str, capsys) -> None:
    assert main(["doctor", "--model", model, "--flip"]) == 0
    printed = capsys.readouterr().out
    assert "flip test" in printed and "could not be opened" not in printed


def test_doctor_without_weights_fails(capsys) -> None:
    assert main(["doctor", "--model", "gone.onnx"]) == 1
    printed = capsys.readouterr().out
    assert "engine:   none: gone.onnx: no such model file" in printed
    assert "gone.onnx (missing)" in printed


def test_doctor_without_a_required_package_fails(model: str, capsys, monkeypatch) -> None:
    missing = Package("no_such_module", "x", "arrays", required=True)
    monkeypatch.setattr(doctor, "PACKAGES", (missing,))
    assert main(["doctor", "--model", model]) == 1
    capsys.readouterr()

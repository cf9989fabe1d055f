"""PyCUDA host code without a GPU: over a fake libcuda that runs the kernels in the emulator."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(code: list[str], folder: Path | None, **more: str) -> subprocess.CompletedProcess:
    """Run Python with the fake driver's folder first on the loader's path."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), **more}
    if folder:
        env |= {"LD_LIBRARY_PATH": str(folder), "XDG_CACHE_HOME": str(folder)}
    return subprocess.run(
        [sys.executable, *code], env=env, capture_output=True, text=True, check=False, timeout=240
    )


def test_four_threads_no_leak_no_call_without_a_context(libcuda):
    done = run([str(Path(__file__).with_name("drive_pycuda.py"))], libcuda)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "wild copy refused",
        "after close: GPU decoder: it was closed already",
        "leaks: 0 calls without a context: 0",
    ]
    assert "Warning" not in done.stderr and "not empty" not in done.stderr


def test_check_runs_on_the_fake_gpu(libcuda, tmp_path):
    out = tmp_path / "report.md"
    done = run(["-m", "tools.gpu_check.check", "--quick", "--out", str(out)], libcuda)
    assert done.returncode == 0, done.stderr
    text = out.read_text(encoding="utf-8")
    assert "emulated GPU (sm_90), PyCUDA" in text and "Everything that ran agreed." in text


def test_without_a_gpu_the_check_says_why_and_returns_2():
    done = run(["-m", "tools.gpu_check.check", "--quick"], None)
    if done.returncode == 0:
        pytest.skip("this machine has a GPU")
    assert done.returncode == 2
    assert done.stderr.startswith("gpu-check: GPU decoder: ")
    assert len(done.stderr.splitlines()) == 1
    assert "Traceback" not in done.stderr


def test_importing_touches_no_gpu():
    code = "import sys, kdc_core.cuda.device; print({'pycuda', 'torch'} & set(sys.modules))"
    assert run(["-c", code], None).stdout.strip() == "set()"

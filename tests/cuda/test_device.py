"""PyCUDA and our host code over a fake libcuda that runs the kernels in the emulator."""

from pathlib import Path

import pytest

from tests.cuda.helpers import run_python


def test_driver_shared_by_threads_leaks_nothing(libcuda):
    done = run_python([str(Path(__file__).with_name("drive_pycuda.py"))], libcuda)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "wild copy refused",
        "after close: GPU decoder: used after close()",
        "leaks: 0 calls without a context: 0",
    ]
    assert "Warning" not in done.stderr and "not empty" not in done.stderr


def test_gpu_check_on_the_fake_gpu(libcuda, tmp_path):
    out = tmp_path / "report.md"
    done = run_python(["-m", "tools.gpu_check.check", "--quick", "--out", str(out)], libcuda)
    assert done.returncode == 0, done.stderr
    text = out.read_text(encoding="utf-8")
    assert "emulated GPU (sm_90), PyCUDA" in text and "All comparisons agree." in text


def test_gpu_check_without_gpu_exits_with_one_line():
    done = run_python(["-m", "tools.gpu_check.check", "--quick"], None)
    if done.returncode == 0:
        pytest.skip("this machine has a GPU")
    assert done.returncode == 2
    assert done.stderr.startswith("gpu-check: GPU decoder: ")
    assert len(done.stderr.splitlines()) == 1
    assert "Traceback" not in done.stderr


def test_importing_loads_no_gpu_library():
    code = "import sys, kdc_core.cuda.device; print({'pycuda', 'torch'} & set(sys.modules))"
    assert run_python(["-c", code], None).stdout.strip() == "set()"

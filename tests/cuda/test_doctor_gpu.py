"""``kdc doctor`` on a machine with a GPU."""

import pytest

from tests.cuda.helpers import kdc


def test_doctor_shows_every_gpu_check(model, libcuda, tmp_path):
    done = kdc(libcuda, tmp_path, "doctor", "--model", model)
    assert done.returncode == 0, done.stdout + done.stderr
    steps = ["driver", "GPU", "TensorRT", "PyCUDA", "compiler", "onnx"]
    found = [line.split() for line in done.stdout.splitlines() if line.startswith("  ok")]
    assert [words[1] for words in found[-6:]] == steps
    assert "GPU engine: available" in done.stdout
    assert "fake_tensorrt 10.3.0 fp16, emulated GPU (sm_90)" in done.stdout
    assert "(auto: a GPU and TensorRT are available)" in done.stdout
    assert "faster:" not in done.stdout


@pytest.mark.parametrize(
    ("fault", "line"),
    [
        ("init=803", "--  driver       the NVIDIA driver and its library have different versions"),
        ("devices=0", "--  GPU          the NVIDIA driver finds no GPU"),
    ],
)
def test_doctor_shows_the_first_failing_gpu_check(model, libcuda, tmp_path, fault, line):
    done = kdc(libcuda, tmp_path, "doctor", "--model", model, KDC_FAKE_GPU=fault)
    assert done.returncode == 0, done.stdout + done.stderr
    assert line in done.stdout and "GPU engine: not available, the CPU is used" in done.stdout

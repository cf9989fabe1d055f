"""kernels.cu compiles for every GPU that we name, within limits of registers and without spills."""

import re
import shutil
import subprocess

import pytest

from kdc_core.cuda import source
from kdc_core.skeleton import CHANNELS, DIRECTED, OUT_EDGES

ARCHS = ("sm_75", "sm_80", "sm_86", "sm_87", "sm_89", "sm_90", "sm_120")
REGISTERS = 64  # 4 blocks of 256 threads then fit a multiprocessor
KERNELS = (
    "preprocess", "hough_splat", "find_maxima", "pick_peaks", "read_peaks", "settle", "read_poses",
    "pool", "membership", "mean_shift", "paint",
)  # fmt: skip


def has_nvrtc() -> bool:
    try:
        source._nvrtc()
    except ValueError:
        return False
    return True


def test_names_and_tables_come_from_the_skeleton():
    assert tuple(source.kernel_names()) == KERNELS
    text = source.source()
    assert "constexpr int A = 18;" in text
    assert "constexpr int VIS = 171;" in text and CHANNELS == 171 + 17
    edges = [int(v) for v in re.search(r"EDGE\[.*\{(.*)\}", text)[1].split(", ")]
    ends = [int(v) for v in re.search(r"END\[.*\{(.*)\}", text)[1].split(", ")]
    assert len(edges) == len(ends) == 72 and max(edges) == len(DIRECTED) - 1
    for anchor, out in enumerate(OUT_EDGES):
        row = list(zip(edges, ends, strict=True))[4 * anchor : 4 * anchor + 4]
        assert [pair for pair in row if pair[0] >= 0] == list(out)


@pytest.mark.skipif(shutil.which("nvcc") is None, reason="no nvcc on PATH")
def test_nvcc_uses_few_registers_and_spills_none(tmp_path):
    file = tmp_path / "kdc.cu"
    file.write_text(source.source(), encoding="utf-8")
    targets = [f"-gencode=arch=compute_{a[3:]},code={a}" for a in ARCHS]
    command = ["nvcc", "-fatbin", "--threads", "2", "-Xptxas", "-v", *source.OPTIONS, *targets]
    done = subprocess.run(
        [*command, "-o", str(tmp_path / "kdc.fatbin"), str(file)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    check_report(done.stderr, len(ARCHS) * len(KERNELS))


def check_report(text: str, functions: int) -> None:
    """What ptxas says of registers and spills."""
    used = [int(n) for n in re.findall(r"Used (\d+) registers", text)]
    assert len(used) == functions and max(used) <= REGISTERS
    assert set(re.findall(r"(\d+) bytes spill", text)) == {"0"}
    assert "warning" not in text


@pytest.mark.skipif(not has_nvrtc(), reason="no NVRTC: pip install nvidia-cuda-nvrtc")
@pytest.mark.parametrize("arch", ARCHS)
def test_nvrtc_compiles(arch):
    code, log = source.compile_with_nvrtc(arch, source.source(), "--ptxas-options=-v")
    check_report(log, len(KERNELS))
    assert code.startswith(b"\x7fELF")
    assert all(name.encode() in code for name in KERNELS)


@pytest.mark.skipif(not has_nvrtc(), reason="no NVRTC: pip install nvidia-cuda-nvrtc")
def test_machine_code_is_cached_by_content(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(source, "nvcc", lambda: None)
    text = 'extern "C" __global__ void first() {}'
    code = source.cubin("sm_87", text)
    monkeypatch.setattr(source, "compile_with_nvrtc", lambda *_: pytest.fail("compiled again"))
    assert source.cubin("sm_87", text) == code
    assert [path.suffix for path in (tmp_path / "kdc").iterdir()] == [".cubin"]
    with pytest.raises(pytest.fail.Exception):
        source.cubin("sm_86", text)


@pytest.mark.skipif(not has_nvrtc(), reason="no NVRTC: pip install nvidia-cuda-nvrtc")
def test_a_compiler_error_is_shown():
    with pytest.raises(ValueError, match=r"for sm_87: (?s:.)*no storage class"):
        source.compile_with_nvrtc("sm_87", "junk")


def test_without_a_compiler_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(source, "nvcc", lambda: None)
    monkeypatch.setattr(source, "find_spec", lambda name: None)
    monkeypatch.setattr(source.ctypes, "CDLL", lambda name, mode=0: (_ for _ in ()).throw(OSError))
    with pytest.raises(ValueError, match="pip install nvidia-cuda-nvrtc"):
        source.cubin("sm_87")

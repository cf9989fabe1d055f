"""kernels.cu compiles for all supported GPUs, with few registers and without spills."""

import re
import shutil
import subprocess

import numpy as np
import pytest

from kdc_core.cuda import MAX_PEAKS, MAX_PEOPLE, compiler
from kdc_core.decode import REACH_SIGMAS, SLACK, SURE_SCORE
from kdc_core.errors import InputError
from kdc_core.skeleton import CHANNELS, DIRECTED, OUT_EDGES
from tests.cuda.emulator import kernel_names
from tests.cuda.helpers import without_compilers

ARCHS = ("sm_75", "sm_80", "sm_86", "sm_87", "sm_89", "sm_90", "sm_120")
REGISTERS = 64  # 4 blocks of 256 threads then fit a multiprocessor
KERNELS = (
    "preprocess",
    "hough_splat",
    "find_maxima",
    "pick_peaks",
    "read_peaks",
    "refine_unmatched",
    "read_poses",
    "pool",
    "membership",
    "mean_shift",
    "paint",
)


def test_kernel_source_takes_constants_from_python():
    text = compiler.kernel_source()
    assert tuple(kernel_names(text)) == KERNELS
    assert "constexpr int A = 18;" in text
    for line in (
        f"constexpr int MAX_PEOPLE = {MAX_PEOPLE};",
        f"constexpr int MAX_PEAKS = {MAX_PEAKS};",
        "constexpr int TILE_X = 32;",
        f"constexpr float REACH_SIGMAS = {REACH_SIGMAS}f;",
        f"constexpr float SURE_SCORE = {SURE_SCORE}f;",
    ):
        assert line in text
    (slack,) = re.findall(r"constexpr float SLACK = (\S+)f;", text)
    assert np.float32(slack) == SLACK
    assert "constexpr int VIS = 171;" in text and CHANNELS == 171 + 17
    edges = [int(v) for v in re.search(r"EDGE\[.*\{(.*)\}", text)[1].split(", ")]
    ends = [int(v) for v in re.search(r"END\[.*\{(.*)\}", text)[1].split(", ")]
    assert len(edges) == len(ends) == 72 and max(edges) == len(DIRECTED) - 1
    for anchor, out in enumerate(OUT_EDGES):
        row = list(zip(edges, ends, strict=True))[4 * anchor : 4 * anchor + 4]
        assert [pair for pair in row if pair[0] >= 0] == list(out)


@pytest.mark.skipif(shutil.which("nvcc") is None, reason="no nvcc on PATH")
def test_nvcc_uses_few_registers_without_spills(tmp_path):
    file = tmp_path / "kdc.cu"
    file.write_text(compiler.kernel_source(), encoding="utf-8")
    targets = [f"-gencode=arch=compute_{a[3:]},code={a}" for a in ARCHS]
    command = ["nvcc", "-fatbin", "--threads", "2", "-Xptxas", "-v", *compiler.OPTIONS, *targets]
    done = subprocess.run(
        [*command, "-o", str(tmp_path / "kdc.fatbin"), str(file)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    check_report(done.stderr, len(ARCHS) * len(KERNELS))


def check_report(text: str, functions: int) -> None:
    """Check ptxas' report of registers and spills."""
    used = [int(n) for n in re.findall(r"Used (\d+) registers", text)]
    assert len(used) == functions and max(used) <= REGISTERS
    assert set(re.findall(r"(\d+) bytes spill", text)) == {"0"}
    assert "warning" not in text


@pytest.mark.skipif(compiler.find_nvrtc() is None, reason="no NVRTC: pip install nvidia-cuda-nvrtc")
@pytest.mark.parametrize("arch", ARCHS)
def test_nvrtc_compiles_for_every_architecture(arch):
    code, log = compiler.compile_with_nvrtc(arch, compiler.kernel_source(), "--ptxas-options=-v")
    check_report(log, len(KERNELS))
    assert code.startswith(b"\x7fELF")
    assert all(name.encode() in code for name in KERNELS)


@pytest.mark.skipif(compiler.find_nvrtc() is None, reason="no NVRTC: pip install nvidia-cuda-nvrtc")
def test_nvrtc_returns_machine_code():
    text = 'extern "C" __global__ void first() {}'
    assert compiler.compile_with_nvrtc("sm_87", text)[0].startswith(b"\x7fELF")


class Refused(Exception):
    """The driver rejects machine code."""


def take(code: bytes) -> bytes:
    """Load machine code of the right compiler; reject the rest."""
    if not code.startswith(b"good"):
        raise Refused("device kernel image is invalid")
    return code


def with_compilers(monkeypatch, tmp_path, **compilers) -> list[str]:
    """Install these compilers (name → code or error); return the names that are called."""
    calls: list[str] = []

    def made(name: str, answer):
        def compile_here(arch: str, text: str):
            calls.append(name)
            if isinstance(answer, Exception):
                raise answer
            return answer + arch.encode() + text.encode(), ""

        return name, compile_here

    found = [made(name, answer) for name, answer in compilers.items()]
    monkeypatch.setattr(compiler, "compilers", lambda: iter(found))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return calls


def test_load_module_caches_by_content(tmp_path, monkeypatch):
    calls = with_compilers(monkeypatch, tmp_path, nvcc=b"good")
    first = compiler.load_module("sm_87", take, Refused, "one")
    assert compiler.load_module("sm_87", take, Refused, "one") == first and calls == ["nvcc"]
    assert [path.suffix for path in (tmp_path / "kdc").iterdir()] == [".cubin"]
    for arch, text in (("sm_86", "one"), ("sm_87", "two")):
        assert compiler.load_module(arch, take, Refused, text) == f"good{arch}{text}".encode()
    assert calls == ["nvcc"] * 3


def test_load_module_tries_the_next_compiler(tmp_path, monkeypatch):
    old = InputError("Unsupported gpu architecture 'compute_89'")
    calls = with_compilers(monkeypatch, tmp_path, old=old, new=b"from another CUDA", right=b"good")
    assert compiler.load_module("sm_89", take, Refused, "one") == b"goodsm_89one"
    assert compiler.load_module("sm_89", take, Refused, "one") == b"goodsm_89one"
    assert calls == ["old", "new", "right"]


@pytest.mark.parametrize("damage", [b"", b"half of"])
def test_load_module_recompiles_rejected_code(tmp_path, monkeypatch, damage):
    calls = with_compilers(monkeypatch, tmp_path, nvcc=b"good")
    code = compiler.load_module("sm_87", take, Refused, "one")
    (kept,) = (tmp_path / "kdc").iterdir()
    kept.write_bytes(damage)
    assert compiler.load_module("sm_87", take, Refused, "one") == code == kept.read_bytes()
    assert calls == ["nvcc"] * 2


def test_load_module_names_every_failed_compiler(tmp_path, monkeypatch):
    old = InputError("Unsupported gpu architecture 'compute_89'")
    with_compilers(monkeypatch, tmp_path, old=old, new=b"from another CUDA")
    with pytest.raises(ValueError, match=r"old: Unsupported.*; new: device kernel image"):
        compiler.load_module("sm_89", take, Refused, "one")
    assert not list(tmp_path.rglob("*.cubin"))


@pytest.mark.skipif(compiler.find_nvrtc() is None, reason="no NVRTC: pip install nvidia-cuda-nvrtc")
def test_compile_with_nvrtc_shows_the_compiler_error():
    with pytest.raises(ValueError, match=r"for sm_87: (?s:.)*no storage class"):
        compiler.compile_with_nvrtc("sm_87", "junk")


def test_load_module_without_compiler(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    without_compilers(monkeypatch)
    with pytest.raises(ValueError, match="pip install nvidia-cuda-nvrtc"):
        compiler.load_module("sm_87", take, Refused)

"""kernels.cu compiles for every GPU that we name, within limits of registers and without spills."""

import re
import shutil
import subprocess

import pytest
from emulator import kernel_names

from kdc_core.cuda import compiler
from kdc_core.skeleton import CHANNELS, DIRECTED, OUT_EDGES

ARCHS = ("sm_75", "sm_80", "sm_86", "sm_87", "sm_89", "sm_90", "sm_120")
REGISTERS = 64  # 4 blocks of 256 threads then fit a multiprocessor
KERNELS = (
    "preprocess", "hough_splat", "find_maxima", "pick_peaks", "read_peaks", "refine_unmatched",
    "read_poses", "pool", "membership", "mean_shift", "paint",
)  # fmt: skip


def has_nvrtc() -> bool:
    return compiler._nvrtc() is not None


def test_names_and_tables_come_from_the_skeleton():
    text = compiler.kernel_source()
    assert tuple(kernel_names(text)) == KERNELS
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
    file.write_text(compiler.kernel_source(), encoding="utf-8")
    targets = [f"-gencode=arch=compute_{a[3:]},code={a}" for a in ARCHS]
    command = ["nvcc", "-fatbin", "--threads", "2", "-Xptxas", "-v", *compiler.OPTIONS, *targets]
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
    code, log = compiler.compile_with_nvrtc(arch, compiler.kernel_source(), "--ptxas-options=-v")
    check_report(log, len(KERNELS))
    assert code.startswith(b"\x7fELF")
    assert all(name.encode() in code for name in KERNELS)


@pytest.mark.skipif(not has_nvrtc(), reason="no NVRTC: pip install nvidia-cuda-nvrtc")
def test_nvrtc_makes_machine_code_of_any_text():
    text = 'extern "C" __global__ void first() {}'
    assert compiler.compile_with_nvrtc("sm_87", text)[0].startswith(b"\x7fELF")


class Refused(Exception):
    """As a driver says it."""


def take(code: bytes) -> bytes:
    """A driver that takes what the right compiler made."""
    if not code.startswith(b"good"):
        raise Refused("device kernel image is invalid")
    return code


def with_compilers(monkeypatch, tmp_path, **compilers) -> list[str]:
    """Install these compilers (name → code or error); return the names that are called."""
    asked: list[str] = []

    def made(name: str, answer):
        def compile_here(arch: str, text: str):
            asked.append(name)
            if isinstance(answer, Exception):
                raise answer
            return answer + arch.encode() + text.encode(), ""

        return name, compile_here

    found = [made(name, answer) for name, answer in compilers.items()]
    monkeypatch.setattr(compiler, "compilers", lambda: iter(found))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return asked


def test_machine_code_is_kept_by_content(tmp_path, monkeypatch):
    asked = with_compilers(monkeypatch, tmp_path, nvcc=b"good")
    first = compiler.load("sm_87", take, Refused, "one")
    assert compiler.load("sm_87", take, Refused, "one") == first and asked == ["nvcc"]
    assert [path.suffix for path in (tmp_path / "kdc").iterdir()] == [".cubin"]
    for arch, text in (("sm_86", "one"), ("sm_87", "two")):
        assert compiler.load(arch, take, Refused, text) == f"good{arch}{text}".encode()
    assert asked == ["nvcc"] * 3


def test_a_compiler_that_does_not_suit_gives_way_to_the_next(tmp_path, monkeypatch):
    old = ValueError("Unsupported gpu architecture 'compute_89'")
    asked = with_compilers(monkeypatch, tmp_path, old=old, new=b"from another CUDA", right=b"good")
    assert compiler.load("sm_89", take, Refused, "one") == b"goodsm_89one"
    assert compiler.load("sm_89", take, Refused, "one") == b"goodsm_89one"
    assert asked == ["old", "new", "right"]


@pytest.mark.parametrize("damage", [b"", b"half of"])
def test_kept_code_that_the_driver_refuses_is_made_again(tmp_path, monkeypatch, damage):
    asked = with_compilers(monkeypatch, tmp_path, nvcc=b"good")
    code = compiler.load("sm_87", take, Refused, "one")
    (kept,) = (tmp_path / "kdc").iterdir()
    kept.write_bytes(damage)
    assert compiler.load("sm_87", take, Refused, "one") == code == kept.read_bytes()
    assert asked == ["nvcc"] * 2


def test_when_no_compiler_suits_the_error_names_each(tmp_path, monkeypatch):
    old = ValueError("Unsupported gpu architecture 'compute_89'")
    with_compilers(monkeypatch, tmp_path, old=old, new=b"from another CUDA")
    with pytest.raises(ValueError, match=r"old: Unsupported.*; new: device kernel image"):
        compiler.load("sm_89", take, Refused, "one")
    assert not list(tmp_path.rglob("*.cubin"))


@pytest.mark.skipif(not has_nvrtc(), reason="no NVRTC: pip install nvidia-cuda-nvrtc")
def test_a_compiler_error_is_shown():
    with pytest.raises(ValueError, match=r"for sm_87: (?s:.)*no storage class"):
        compiler.compile_with_nvrtc("sm_87", "junk")


def test_without_a_compiler_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    without_compilers(monkeypatch)
    with pytest.raises(ValueError, match="pip install nvidia-cuda-nvrtc"):
        compiler.load("sm_87", take, Refused)


def without_compilers(monkeypatch) -> None:
    """As on a machine without nvcc and NVRTC."""
    monkeypatch.setattr(compiler.shutil, "which", lambda name: None)
    monkeypatch.setattr(compiler.os.path, "exists", lambda path: False)
    monkeypatch.setattr(compiler, "find_spec", lambda name: None)
    monkeypatch.setattr(
        compiler.ctypes, "CDLL", lambda name, mode=0: (_ for _ in ()).throw(OSError)
    )

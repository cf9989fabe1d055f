"""The kernels' source text and its compilation: nvcc if it is there, else NVRTC; cached on disk."""

from __future__ import annotations

import ctypes
import glob
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from importlib.util import find_spec
from pathlib import Path

from kdc_core.decode.assign import FINE
from kdc_core.decode.hough import ONE
from kdc_core.skeleton import MAX_DEGREE, OUT_EDGES, A, K, channel_slices

#: -fmad=false: a fused multiply-add rounds once where the NumPy twin rounds twice
OPTIONS = ("-fmad=false", "-std=c++17")
_FILE = Path(__file__).with_name("kernels.cu")


def source() -> str:
    """kernels.cu behind the constants and tables that it takes from the skeleton."""
    slices = channel_slices()
    values = {"A": A, "K": K, "DEGREE": MAX_DEGREE, "ONE": ONE, "FINE": FINE}
    heads = ("heat", "short", "mid", "anchor", "log_sigma", "vis")
    values |= {name.upper(): slices[name].start for name in heads}
    lines = [f"constexpr int {name} = {value};" for name, value in values.items()]
    for name, part, column in (("EDGE", "-1", 0), ("END", "-1", 1)):
        rows = [[str(pair[column]) for pair in out] for out in OUT_EDGES]
        table = ", ".join(cell for row in rows for cell in row + [part] * (MAX_DEGREE - len(row)))
        lines.append(f"__constant__ int {name}[A * DEGREE] = {{{table}}};")
    return "\n".join([*lines, '#line 1 "kernels.cu"', _FILE.read_text(encoding="utf-8")])


def kernel_names(text: str | None = None) -> list[str]:
    """Names of all kernels, in the order of the file."""
    text = _FILE.read_text(encoding="utf-8") if text is None else text
    return re.findall(r"__global__ void __launch_bounds__\(\d+\)\s*\n(\w+)\(", text)


def cubin(arch: str, text: str | None = None) -> bytes:
    """Machine code for one GPU generation, from the user's cache or compiled now.

    Args:
        arch: "sm_87" and the like.
        text: CUDA C++; None for the decoder's kernels.

    Raises:
        ValueError: neither nvcc nor NVRTC is installed, or the compiler refused.
    """
    text = source() if text is None else text
    key = hashlib.sha256("\0".join([text, arch, *OPTIONS]).encode()).hexdigest()[:20]
    path = cache_folder() / f"kernels-{arch}-{key}.cubin"
    if path.is_file():
        return path.read_bytes()
    compile_here = compile_with_nvcc if nvcc() else compile_with_nvrtc
    code, _ = compile_here(arch, text)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        file.write(code)
    os.replace(file.name, path)  # another process sees the whole file or none
    return code


def operations_per_second(arch: str, multiprocessors: int, kilohertz: int) -> float:
    """The card's float32 rate; a fused multiply-add, which the kernels do not use, counts once."""
    cores = 64 if arch in ("sm_75", "sm_80") else 128
    return 1e3 * cores * multiprocessors * kilohertz


def cache_folder() -> Path:
    """Where compiled kernels are kept."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kdc"


def compiler() -> str:
    """What will compile the kernels, in words.

    Raises:
        ValueError: neither nvcc nor NVRTC is installed.
    """
    path = nvcc()
    if path is None:
        _nvrtc()
    return path or "NVRTC"


def nvcc() -> str | None:
    """Path of the CUDA compiler, None if there is none."""
    usual = "/usr/local/cuda/bin/nvcc"
    return shutil.which("nvcc") or (usual if os.path.exists(usual) else None)


def compile_with_nvcc(arch: str, text: str) -> tuple[bytes, str]:
    """Cubin, and ptxas' report of registers and spills per kernel."""
    with tempfile.TemporaryDirectory() as folder:
        file, out = Path(folder, "kdc.cu"), Path(folder, "kdc.cubin")
        file.write_text(text, encoding="utf-8")
        command = [nvcc() or "nvcc", "-cubin", f"-arch={arch}", "-Xptxas", "-v", *OPTIONS]
        done = subprocess.run(
            [*command, "-o", str(out), str(file)], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise ValueError(f"nvcc could not compile the kernels for {arch}: {done.stderr[-800:]}")
        return out.read_bytes(), done.stderr


def compile_with_nvrtc(arch: str, text: str, *more: str) -> tuple[bytes, str]:
    """Cubin and log from the run-time compiler, which needs no toolkit and no GPU."""
    library = _nvrtc()
    program, size = ctypes.c_void_p(), ctypes.c_size_t()
    words = [word.encode() for word in (f"-arch={arch}", *OPTIONS, *more)]
    options = (ctypes.c_char_p * len(words))(*words)
    _check(library.nvrtcCreateProgram(
        ctypes.byref(program), text.encode(), b"kernels.cu", 0, None, None
    ))  # fmt: skip
    failed = library.nvrtcCompileProgram(program, len(options), options)
    library.nvrtcGetProgramLogSize(program, ctypes.byref(size))
    log = ctypes.create_string_buffer(size.value)
    library.nvrtcGetProgramLog(program, log)
    if failed:
        library.nvrtcDestroyProgram(ctypes.byref(program))
        raise ValueError(f"NVRTC could not compile the kernels for {arch}: {log.value.decode()}")
    _check(library.nvrtcGetCUBINSize(program, ctypes.byref(size)))
    code = ctypes.create_string_buffer(size.value)
    _check(library.nvrtcGetCUBIN(program, code))
    library.nvrtcDestroyProgram(ctypes.byref(program))
    return code.raw, log.value.decode()


def _check(status: int) -> None:
    if status:
        raise ValueError(f"NVRTC failed with status {status}: is its version right for this GPU?")


def _nvrtc() -> ctypes.CDLL:
    spec = find_spec("nvidia")
    folders = list(spec.submodule_search_locations or ()) if spec else []
    found = [
        path for folder in folders for path in glob.glob(f"{folder}/*/lib/libnvrtc.so.*")
        if "alt" not in path
    ]  # fmt: skip
    if found:  # its builtins are looked up by name: put them there first
        for path in glob.glob(f"{os.path.dirname(found[0])}/libnvrtc-builtins.so*"):
            ctypes.CDLL(path, mode=ctypes.RTLD_GLOBAL)
    for name in (*found, "libnvrtc.so", "libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so.11.2"):
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    raise ValueError(
        "CUDA kernels: no compiler found; install the CUDA toolkit (nvcc) "
        "or: pip install nvidia-cuda-nvrtc"
    )

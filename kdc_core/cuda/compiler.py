"""Compile kernels.cu with nvcc or NVRTC, and cache the machine code on disk."""

from __future__ import annotations

import contextlib
import ctypes
import glob
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TypeVar

from kdc_core.cuda.kernels import MAX_PEAKS, MAX_PEOPLE, TILE
from kdc_core.decode import (
    FINE,
    MEMBER,
    MIN_SURE,
    ONE,
    PERSON,
    REACH_SCALES,
    REACH_SIGMAS,
    SLACK,
    SURE_SCORE,
)
from kdc_core.errors import InputError
from kdc_core.io import atomic_write
from kdc_core.skeleton import MAX_DEGREE, OUT_EDGES, A, K, channel_slices

KERNEL_FILE = Path(__file__).with_name("kernels.cu")
#: -fmad=false: a fused multiply-add rounds once where the NumPy reference rounds twice
OPTIONS = ("-fmad=false", "-std=c++17")
NO_COMPILER = (
    "no compiler found; install the CUDA toolkit (nvcc) or run: pip install "
    "nvidia-cuda-nvrtc-cu12 (nvidia-cuda-nvrtc for a driver that supports CUDA 13)"
)
Module = TypeVar("Module")


def kernel_source() -> str:
    """Return kernels.cu behind the constants and tables that it shares with the Python code."""
    integers = {
        "A": A,
        "K": K,
        "DEGREE": MAX_DEGREE,
        "ONE": ONE,
        "FINE": FINE,
        "MIN_SURE": MIN_SURE,
        "MAX_PEOPLE": MAX_PEOPLE,
        "MAX_PEAKS": MAX_PEAKS,
        "TILE_X": TILE[0],
        "TILE_Y": TILE[1],
    }
    integers |= {name.upper(): where.start for name, where in channel_slices().items()}
    floats = {
        "SLACK": SLACK,
        "PERSON": PERSON,
        "MEMBER": MEMBER,
        "SURE_SCORE": SURE_SCORE,
        "REACH_SCALES": REACH_SCALES,
        "REACH_SIGMAS": REACH_SIGMAS,
    }
    lines = [f"constexpr int {name} = {value};" for name, value in integers.items()]
    lines += [f"constexpr float {name} = {float(value)!r}f;" for name, value in floats.items()]
    for name, part, column in (("EDGE", "-1", 0), ("END", "-1", 1)):
        rows = [[str(pair[column]) for pair in out] for out in OUT_EDGES]
        table = ", ".join(cell for row in rows for cell in row + [part] * (MAX_DEGREE - len(row)))
        lines.append(f"__constant__ int {name}[A * DEGREE] = {{{table}}};")
    return "\n".join([*lines, '#line 1 "kernels.cu"', KERNEL_FILE.read_text(encoding="utf-8")])


def load_module(
    arch: str,
    load_cubin: Callable[[bytes], Module],
    load_error: type[Exception],
    text: str | None = None,
) -> Module:
    """Load kernels from the cache, or compile them with the first compiler that works.

    A compiler may be too old for the GPU, or its machine code too new for the driver. Then the next
    compiler is tried.

    Args:
        arch: compute architecture, for example "sm_87".
        load_cubin: loads machine code into the driver.
        load_error: exception that ``load_cubin`` raises if the driver rejects the code.
        text: CUDA C++; None compiles the decoder's kernels.

    Raises:
        InputError: no compiler is installed, or the driver rejects the code of all compilers.
    """
    text = kernel_source() if text is None else text
    key = hashlib.sha256("\0".join([text, arch, *OPTIONS]).encode()).hexdigest()[:20]
    path = cache_folder() / f"kernels-{arch}-{key}.cubin"
    if path.is_file():
        with contextlib.suppress(load_error):  # damaged, or older than a change of the driver
            return load_cubin(path.read_bytes())
    reasons = []
    for name, compile_here in compilers():
        try:
            code, _ = compile_here(arch, text)
            module = load_cubin(code)
        except (InputError, load_error) as error:
            reasons.append(f"{name}: {error}")
            continue
        atomic_write(path, code)
        return module
    raise InputError(f"CUDA kernels: {'; '.join(reasons) or NO_COMPILER}")


def operations_per_second(arch: str, multiprocessors: int, kilohertz: int) -> float:
    """Return the GPU's float32 rate. A fused multiply-add (the kernels use none) counts once."""
    cores = 64 if arch in ("sm_75", "sm_80") else 128
    return 1e3 * cores * multiprocessors * kilohertz


def cache_folder() -> Path:
    """Return the folder of compiled kernels and engines, ``$XDG_CACHE_HOME/kdc``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kdc"


def compiler_name() -> str:
    """Return the name of the compiler that is tried first.

    Raises:
        InputError: neither nvcc nor NVRTC is installed.
    """
    name = next((name for name, _ in compilers()), None)
    if name is None:
        raise InputError(f"CUDA kernels: {NO_COMPILER}")
    return name


def compilers() -> Iterator[tuple[str, Callable[[str, str], tuple[bytes, str]]]]:
    """Yield name and function (arch, text → cubin, log) of every installed compiler."""
    default = "/usr/local/cuda/bin/nvcc"
    on_path = shutil.which("nvcc")
    for path in dict.fromkeys((on_path, default if os.path.exists(default) else None)):
        if path:
            yield path, partial(compile_with_nvcc, path)
    if find_nvrtc() is not None:
        yield "NVRTC", compile_with_nvrtc


def compile_with_nvcc(nvcc: str, arch: str, text: str) -> tuple[bytes, str]:
    """Return the machine code, and the report of registers and spills per kernel.

    Raises:
        InputError: nvcc cannot compile the text for ``arch``.
    """
    with tempfile.TemporaryDirectory() as folder:
        file, out = Path(folder, "kdc.cu"), Path(folder, "kdc.cubin")
        file.write_text(text, encoding="utf-8")
        command = [nvcc, "-cubin", f"-arch={arch}", "-Xptxas", "-v", *OPTIONS]
        done = subprocess.run(
            [*command, "-o", str(out), str(file)], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise InputError(f"could not compile the kernels for {arch}: {done.stderr[-800:]}")
        return out.read_bytes(), done.stderr


def compile_with_nvrtc(arch: str, text: str, *more: str) -> tuple[bytes, str]:
    """Return machine code and log of the run-time compiler, which needs no toolkit and no GPU.

    Raises:
        InputError: NVRTC is not installed or fails.
    """
    library = find_nvrtc()
    if library is None:
        raise InputError(f"CUDA kernels: {NO_COMPILER}")
    program, size = ctypes.c_void_p(), ctypes.c_size_t()
    words = [word.encode() for word in (f"-arch={arch}", *OPTIONS, *more)]
    options = (ctypes.c_char_p * len(words))(*words)
    _check_status(
        library.nvrtcCreateProgram(
            ctypes.byref(program), text.encode(), b"kernels.cu", 0, None, None
        )
    )
    failed = library.nvrtcCompileProgram(program, len(options), options)
    library.nvrtcGetProgramLogSize(program, ctypes.byref(size))
    log = ctypes.create_string_buffer(size.value)
    library.nvrtcGetProgramLog(program, log)
    if failed:
        library.nvrtcDestroyProgram(ctypes.byref(program))
        raise InputError(f"could not compile the kernels for {arch}: {log.value.decode()}")
    _check_status(library.nvrtcGetCUBINSize(program, ctypes.byref(size)))
    code = ctypes.create_string_buffer(size.value)
    _check_status(library.nvrtcGetCUBIN(program, code))
    library.nvrtcDestroyProgram(ctypes.byref(program))
    return code.raw, log.value.decode()


def _check_status(status: int) -> None:
    if status:
        raise InputError(f"NVRTC failed with status {status}; does its version support this GPU?")


def find_nvrtc() -> ctypes.CDLL | None:
    """Load NVRTC from a pip package or from the system; return None if there is none."""
    spec = find_spec("nvidia")
    folders = list(spec.submodule_search_locations or ()) if spec else []
    found = [
        path
        for folder in folders
        for path in glob.glob(f"{folder}/*/lib/libnvrtc.so.*")
        if "alt" not in path
    ]
    if found:  # NVRTC looks its builtins up by name, so they must be loaded first
        for path in glob.glob(f"{os.path.dirname(found[0])}/libnvrtc-builtins.so*"):
            ctypes.CDLL(path, mode=ctypes.RTLD_GLOBAL)
    for name in (*found, "libnvrtc.so", "libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so.11.2"):
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    return None

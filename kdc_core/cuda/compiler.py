"""The kernels' source text, compiled by nvcc or NVRTC, whichever the GPU takes; kept on disk."""

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

from kdc_core.decode import FINE, ONE
from kdc_core.errors import InputError
from kdc_core.io import atomic_write
from kdc_core.skeleton import MAX_DEGREE, OUT_EDGES, A, K, channel_slices

#: -fmad=false: a fused multiply-add rounds once where the NumPy twin rounds twice
OPTIONS = ("-fmad=false", "-std=c++17")
NO_COMPILER = (
    "no compiler found; install the CUDA toolkit (nvcc) or: pip install nvidia-cuda-nvrtc-cu12 "
    "(nvidia-cuda-nvrtc where the driver speaks CUDA 13)"
)
Module = TypeVar("Module")
_FILE = Path(__file__).with_name("kernels.cu")


def kernel_source() -> str:
    """kernels.cu behind the constants and tables that it takes from the skeleton."""
    values = {"A": A, "K": K, "DEGREE": MAX_DEGREE, "ONE": ONE, "FINE": FINE}
    values |= {name.upper(): where.start for name, where in channel_slices().items()}
    lines = [f"constexpr int {name} = {value};" for name, value in values.items()]
    for name, part, column in (("EDGE", "-1", 0), ("END", "-1", 1)):
        rows = [[str(pair[column]) for pair in out] for out in OUT_EDGES]
        table = ", ".join(cell for row in rows for cell in row + [part] * (MAX_DEGREE - len(row)))
        lines.append(f"__constant__ int {name}[A * DEGREE] = {{{table}}};")
    return "\n".join([*lines, '#line 1 "kernels.cu"', _FILE.read_text(encoding="utf-8")])


def load(
    arch: str, take: Callable[[bytes], Module], refused: type[Exception], text: str | None = None
) -> Module:
    """Give the driver machine code that it takes: kept from before, or by the first compiler.

    A compiler may be too old for the GPU, and its code too new for the driver; then the next one
    has its turn.

    Args:
        arch: "sm_87" and the like.
        take: loads a cubin.
        refused: what ``take`` raises when the driver refuses the code.
        text: CUDA C++; None for the decoder's kernels.

    Raises:
        ValueError: there is no compiler, or none whose code the driver takes.
    """
    text = kernel_source() if text is None else text
    key = hashlib.sha256("\0".join([text, arch, *OPTIONS]).encode()).hexdigest()[:20]
    path = cache_folder() / f"kernels-{arch}-{key}.cubin"
    if path.is_file():
        with contextlib.suppress(refused):  # damaged, or made before a change of the driver
            return take(path.read_bytes())
    reasons = []
    for name, compile_here in compilers():
        try:
            code, _ = compile_here(arch, text)
            module = take(code)
        except (ValueError, refused) as error:
            reasons.append(f"{name}: {error}")
            continue
        atomic_write(path, code)
        return module
    raise InputError(f"CUDA kernels: {'; '.join(reasons) or NO_COMPILER}")


def operations_per_second(arch: str, multiprocessors: int, kilohertz: int) -> float:
    """The card's float32 rate; a fused multiply-add, which the kernels do not use, counts once."""
    cores = 64 if arch in ("sm_75", "sm_80") else 128
    return 1e3 * cores * multiprocessors * kilohertz


def cache_folder() -> Path:
    """Where compiled kernels are kept."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kdc"


def compiler_name() -> str:
    """What will compile the kernels, in words.

    Raises:
        ValueError: neither nvcc nor NVRTC is installed.
    """
    name = next((name for name, _ in compilers()), None)
    if name is None:
        raise InputError(f"CUDA kernels: {NO_COMPILER}")
    return name


def compilers() -> Iterator[tuple[str, Callable[[str, str], tuple[bytes, str]]]]:
    """Name and function (arch, text → cubin, log) of every compiler that is installed."""
    usual = "/usr/local/cuda/bin/nvcc"
    on_path = shutil.which("nvcc")
    for path in dict.fromkeys((on_path, usual if os.path.exists(usual) else None)):
        if path:
            yield path, partial(compile_with_nvcc, path)
    if _nvrtc() is not None:
        yield "NVRTC", compile_with_nvrtc


def compile_with_nvcc(nvcc: str, arch: str, text: str) -> tuple[bytes, str]:
    """Cubin, and ptxas' report of registers and spills per kernel."""
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
    """Cubin and log from the run-time compiler, which needs no toolkit and no GPU."""
    library = _nvrtc()
    if library is None:
        raise InputError(f"CUDA kernels: {NO_COMPILER}")
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
        raise InputError(f"could not compile the kernels for {arch}: {log.value.decode()}")
    _check(library.nvrtcGetCUBINSize(program, ctypes.byref(size)))
    code = ctypes.create_string_buffer(size.value)
    _check(library.nvrtcGetCUBIN(program, code))
    library.nvrtcDestroyProgram(ctypes.byref(program))
    return code.raw, log.value.decode()


def _check(status: int) -> None:
    if status:
        raise InputError(f"NVRTC failed with status {status}: is its version right for this GPU?")


def _nvrtc() -> ctypes.CDLL | None:
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
    return None

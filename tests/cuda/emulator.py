"""Compile kernels.cu with g++ over cuda_emu.h, and run it behind a ``Driver``."""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
import time
from contextlib import nullcontext
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from kdc_core.cuda.compiler import kernel_source
from kdc_core.cuda.graph import GraphError

HEADER = Path(__file__).with_name("cuda_emu.h")
GUARD = 64  # guard bytes before and after each buffer
_BYTE = 0xA5


def kernel_names(text: str) -> list[str]:
    """Return the names of all kernels in the order of the file."""
    return re.findall(r"__global__ void __launch_bounds__\(\d+\)\s*\n(\w+)\(", text)


def build(folder: Path, kernels: str = "", watched: bool = False) -> ctypes.CDLL:
    """Compile kernels to a host library; ``watched`` adds the checks of hazards.h."""
    kernels = kernels or kernel_source()
    code, names = _host_source(kernels), kernel_names(kernels)
    text = f"""#include "{HEADER}"
{code}
extern "C" const char* emu_error() {{ return emu::error; }}
extern "C" void emu_order(int order) {{ emu::order = order; }}
extern "C" void emu_skip(int line) {{ emu::skipped = line; }}
extern "C" int emu_launch(const char* name, const unsigned* g, const unsigned* b, void** a) {{
    dim3 grid = {{g[0], g[1], g[2]}}, block = {{b[0], b[1], b[2]}};
{_dispatch("emu", names)}
}}
"""
    compiled = _compile_watched if watched else _compile
    loaded = ctypes.CDLL(str(compiled(text, folder / "kernels.so")))
    loaded.emu_error.restype = ctypes.c_char_p
    return loaded


def build_libcuda(folder: Path, wanted: list[str]) -> Path:
    """Build a libcuda.so.1 that runs the kernels on the host.

    Args:
        folder: folder of the library.
        wanted: functions that must exist; those not in fake_cuda.h return an error.
    """
    header = HEADER.with_name("fake_cuda.h")
    text = f"""#include "{header}"
{_host_source(kernel_source())}
static int fake::run(const char* name, dim3 grid, dim3 block, void** a) {{
{_dispatch("fake", kernel_names(kernel_source()))}
}}
"""
    there = set(re.findall(r"^int (cu\w+)\(", header.read_text(encoding="utf-8"), re.MULTILINE))
    missing = (f'extern "C" int {name}() {{ return 801; }}' for name in wanted if name not in there)
    text += "\n".join(missing)
    return _compile(text, folder / "libcuda.so.1", "-Wl,-soname,libcuda.so.1")


def libcuda_for_pycuda(folder: Path) -> Path | None:
    """Build a libcuda.so.1 with all functions that PyCUDA links; None without PyCUDA or g++."""
    spec = find_spec("pycuda")
    if spec is None or shutil.which("g++") is None:
        return None
    binary = next(Path(str(spec.origin)).parent.glob("_driver*.so"))
    symbols = subprocess.run(
        ["nm", "-D", "--undefined-only", str(binary)], capture_output=True, text=True, check=True
    ).stdout
    build_libcuda(folder, re.findall(r" U (cu\w+)", symbols))
    return folder


def _host_source(text: str) -> str:
    return text.replace('extern "C" __global__', "__global__")


def _dispatch(space: str, names: list[str]) -> str:
    cases = [
        f'    if (!strcmp(name, "{name}"))'
        f" return emu::launch([](void** a) {{ {space}::call({name}, a); }}, grid, block, a);"
        for name in names
    ]
    return "\n".join(
        [*cases, '    return snprintf(emu::error, sizeof emu::error, "no kernel %s", name), 1;']
    )


def _compile(text: str, library: Path, *flags: str) -> Path:
    """Compile with the rounding of the GPU: no contraction, no fast math."""
    path = library.with_suffix(".cpp")
    path.write_text(text, encoding="utf-8")
    options = ["-O1", "-std=c++17", "-ffp-contract=off", "-fPIC", "-shared", "-w", "-fwrapv"]
    subprocess.run(["g++", *options, *flags, "-o", str(library), str(path)], check=True)
    return library


def _compile_watched(text: str, library: Path) -> Path:
    """Compile with calls before every memory access, without the sanitizer's own library."""
    path = library.with_suffix(".cpp")
    path.write_text(text, encoding="utf-8")
    made = path.with_suffix(".o")
    flags = ["-O1", "-std=c++17", "-ffp-contract=off", "-fPIC", "-w", "-fwrapv", "-g0"]
    subprocess.run(
        ["g++", *flags, "-fsanitize=thread", "-c", "-o", str(made), str(path)], check=True
    )
    subprocess.run(["g++", "-shared", "-o", str(library), str(made)], check=True)
    return library


class Buffer:
    """Host memory with guards that stands for device memory; its content is undefined."""

    def __init__(self, shape: tuple[int, ...], dtype) -> None:
        self.shape, self.dtype = shape, np.dtype(dtype)
        self.size = int(np.prod(shape)) * self.dtype.itemsize
        self.memory = np.full(self.size + 2 * GUARD, _BYTE, np.uint8)
        self.bytes = self.memory[GUARD : GUARD + self.size]
        self.pointer = self.memory.ctypes.data + GUARD

    def intact(self) -> bool:
        """Return True if nothing was written outside the buffer."""
        return bool((self.memory[:GUARD] == _BYTE).all() and (self.memory[-GUARD:] == _BYTE).all())


class EmulatedDriver:
    """``kdc_core.cuda.driver.Driver`` on the host."""

    def __init__(self, library: ctypes.CDLL, order: int = 0, skipped_barrier: int = -1) -> None:
        self.library = library
        self.buffers: list[Buffer] = []
        library.emu_order(order)
        library.emu_skip(skipped_barrier)

    def allocate(self, shape, dtype) -> Buffer:
        self.buffers.append(Buffer(shape, dtype))
        return self.buffers[-1]

    def release(self, buffer: Buffer) -> None:
        self.buffers.remove(buffer)

    def address(self, buffer: Buffer) -> int:
        return buffer.pointer

    def clear(self, buffer: Buffer) -> None:
        buffer.bytes[:] = 0

    def upload(self, buffer: Buffer, array: np.ndarray) -> None:
        assert array.dtype == buffer.dtype and array.flags.c_contiguous
        buffer.bytes[: array.nbytes] = array.reshape(-1).view(np.uint8)

    def download(self, buffer: Buffer) -> np.ndarray:
        return buffer.bytes.view(buffer.dtype).reshape(buffer.shape).copy()

    def download_all(self, buffers) -> list[np.ndarray]:
        return [self.download(buffer) for buffer in buffers]

    def launch(self, name, grid, block, *args) -> None:
        values = [
            ctypes.c_void_p(arg.pointer)
            if isinstance(arg, Buffer)
            else ctypes.c_int(arg)
            if isinstance(arg, int | np.integer)
            else ctypes.c_float(arg)
            for arg in args
        ]
        pointers = (ctypes.c_void_p * len(values))(*(ctypes.addressof(v) for v in values))
        sides = [(ctypes.c_uint * 3)(*side, *[1] * (3 - len(side))) for side in (grid, block)]
        if self.library.emu_launch(name.encode(), *sides, pointers):
            raise RuntimeError(f"{name}: {self.library.emu_error().decode()}")
        if not all(buffer.intact() for buffer in self.buffers):
            raise RuntimeError(f"{name} wrote outside a buffer")

    def close(self) -> None:
        self.buffers.clear()


class EmulatedGpu(EmulatedDriver):
    """An emulated driver with the additional methods of ``PycudaDriver``."""

    name, stream = "emulated GPU (sm_90), no library", SimpleNamespace(handle=1)

    def __enter__(self):
        return self

    def __exit__(self, *error) -> None:
        pass

    def cleanup(self):
        return nullcontext()

    def record(self, queue) -> None:
        raise GraphError("the emulator has no graphs")

    def mark(self) -> float:
        return time.perf_counter()

    def milliseconds(self, start: float, end: float) -> float:
        return 1e3 * (end - start)

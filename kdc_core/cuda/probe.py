"""Whether the GPU path can be used here, and if not, what exactly is in the way.

Nothing is created on the GPU by asking.
"""

from __future__ import annotations

import ctypes
import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from kdc_core.cuda import install_hints
from kdc_core.cuda.compiler import compiler_name
from kdc_core.errors import InputError

MIN_COMPUTE_CAPABILITY = (7, 5)  # compute capability that the kernels are compiled and tested for
_DRIVER_ERRORS = {
    34: "only a stub of the driver is installed",
    35: "the driver is older than its library",
    100: "the driver finds no GPU",
    101: "the driver finds no GPU",
    803: "driver and its library do not fit: restart the machine after a driver update",
    804: "the compatibility library does not support this GPU",
    999: "the driver failed: is its kernel module loaded?",
}


@dataclass(frozen=True)
class Check:
    """One thing that the GPU path needs."""

    what: str
    ok: bool
    detail: str  # what was found; otherwise what is wrong, and what to do


def gpu_checks() -> Iterator[Check]:
    """The checks in the order in which they make sense; ends with the first that fails."""
    steps: tuple[tuple[str, Callable[[], str]], ...] = (
        ("driver", _driver), ("GPU", _device), ("TensorRT", _tensorrt), ("PyCUDA", _pycuda),
        ("kernels", compiler_name), ("onnx", _onnx),
    )  # fmt: skip
    for what, step in steps:
        try:
            yield Check(what, True, step())
        except ValueError as error:
            yield Check(what, False, " ".join(str(error).split()))
            return


def gpu_unavailable_reason() -> str:
    """Why the GPU path cannot be used, in one line; empty if it can."""
    last = list(gpu_checks())[-1]
    return "" if last.ok else f"{last.what}: {last.detail}"


def gpu_name() -> str:
    """Name and architecture of the first GPU, as engines are kept under.

    Raises:
        ValueError: there is no driver, or no GPU that the kernels run on.
    """
    _driver()
    return _device()


def _library() -> ctypes.CDLL:
    try:
        return ctypes.CDLL("libcuda.so.1")
    except OSError:
        raise InputError("no NVIDIA driver is installed (libcuda.so.1 is missing)") from None


def _driver() -> str:
    library, version = _library(), ctypes.c_int()
    if status := library.cuInit(0):
        raise InputError(_DRIVER_ERRORS.get(status, f"cuInit fails with CUDA error {status}"))
    library.cuDriverGetVersion(ctypes.byref(version))
    return f"speaks CUDA {version.value // 1000}.{version.value % 1000 // 10}"


def _device() -> str:
    library, count, chip = _library(), ctypes.c_int(), ctypes.c_int()
    status = library.cuDeviceGetCount(ctypes.byref(count))
    if status or not count.value or library.cuDeviceGet(ctypes.byref(chip), 0):
        raise InputError("the driver finds no GPU (is CUDA_VISIBLE_DEVICES set?)")
    name = ctypes.create_string_buffer(100)
    major, minor = ctypes.c_int(), ctypes.c_int()
    library.cuDeviceGetName(name, len(name), chip)
    library.cuDeviceComputeCapability(ctypes.byref(major), ctypes.byref(minor), chip)
    text = f"{name.value.decode()} (sm_{major.value}{minor.value})"
    if (major.value, minor.value) < MIN_COMPUTE_CAPABILITY:
        oldest = "sm_{}{}".format(*MIN_COMPUTE_CAPABILITY)
        raise InputError(f"{text} is too old: expected {oldest} or newer")
    return text


def _tensorrt() -> str:
    from kdc_core.cuda.trt_library import load_tensorrt

    trt = load_tensorrt()
    return f"{trt.__name__} {trt.__version__}"


def _pycuda() -> str:
    try:
        importlib.import_module("pycuda.driver")
        return str(importlib.import_module("pycuda").VERSION_TEXT)
    except ImportError as error:
        raise InputError(f"cannot be imported ({error}); {install_hints.PYCUDA}") from None


def _onnx() -> str:
    try:
        return str(importlib.import_module("onnx").__version__)
    except ImportError:
        raise InputError("is not installed; pip install onnx") from None

"""Check whether the GPU engine can be used; nothing is created on the GPU."""

from __future__ import annotations

import ctypes
import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from kdc_core.cuda import install_hints
from kdc_core.cuda.compiler import compiler_name
from kdc_core.cuda.trt_library import load_tensorrt
from kdc_core.errors import InputError

#: oldest compute capability for which the kernels are compiled and tested
MIN_COMPUTE_CAPABILITY = (7, 5)
_DRIVER_ERRORS = {
    34: "only a stub of the NVIDIA driver is installed",
    35: "the NVIDIA driver is older than its library",
    100: "the NVIDIA driver finds no GPU",
    101: "the NVIDIA driver finds no GPU",
    803: "the NVIDIA driver and its library have different versions; reboot after a driver update",
    804: "the CUDA compatibility library does not support this GPU",
    999: "the NVIDIA driver failed; is its kernel module loaded?",
}


@dataclass(frozen=True)
class Check:
    """Result of checking one requirement of the GPU engine."""

    name: str
    ok: bool
    detail: str  # version or name of what was found; otherwise the problem and its remedy


def gpu_checks() -> Iterator[Check]:
    """Yield the requirements of the GPU engine in order; stop after the first that is not met."""
    steps: tuple[tuple[str, Callable[[], str]], ...] = (
        ("driver", check_driver),
        ("GPU", check_device),
        ("TensorRT", check_tensorrt),
        ("PyCUDA", check_pycuda),
        ("compiler", compiler_name),
        ("onnx", check_onnx),
    )
    for name, step in steps:
        try:
            yield Check(name, True, step())
        except InputError as error:
            yield Check(name, False, " ".join(str(error).split()))
            return


def gpu_unavailable_reason() -> str:
    """Return why the GPU engine cannot be used, in one line; empty if it can be used."""
    last = list(gpu_checks())[-1]
    return "" if last.ok else f"{last.name}: {last.detail}"


def gpu_name() -> str:
    """Return name and architecture of the first GPU, which are part of an engine's cache key.

    Raises:
        InputError: there is no driver, or no GPU that the kernels support.
    """
    check_driver()
    return check_device()


def _library() -> ctypes.CDLL:
    try:
        return ctypes.CDLL("libcuda.so.1")
    except OSError:
        raise InputError("no NVIDIA driver is installed (libcuda.so.1 is missing)") from None


def check_driver() -> str:
    """Return the CUDA version that the NVIDIA driver supports."""
    library, version = _library(), ctypes.c_int()
    if status := library.cuInit(0):
        raise InputError(_DRIVER_ERRORS.get(status, f"cuInit failed with CUDA error {status}"))
    library.cuDriverGetVersion(ctypes.byref(version))
    return f"supports CUDA {version.value // 1000}.{version.value % 1000 // 10}"


def check_device() -> str:
    """Return name and architecture of the first GPU."""
    library, count, chip = _library(), ctypes.c_int(), ctypes.c_int()
    status = library.cuDeviceGetCount(ctypes.byref(count))
    if status or not count.value or library.cuDeviceGet(ctypes.byref(chip), 0):
        raise InputError("the NVIDIA driver finds no GPU; is CUDA_VISIBLE_DEVICES set?")
    name = ctypes.create_string_buffer(100)
    major, minor = ctypes.c_int(), ctypes.c_int()
    library.cuDeviceGetName(name, len(name), chip)
    library.cuDeviceComputeCapability(ctypes.byref(major), ctypes.byref(minor), chip)
    text = f"{name.value.decode()} (sm_{major.value}{minor.value})"
    if (major.value, minor.value) < MIN_COMPUTE_CAPABILITY:
        oldest = "sm_{}{}".format(*MIN_COMPUTE_CAPABILITY)
        raise InputError(f"{text} is too old; {oldest} or newer is needed")
    return text


def check_tensorrt() -> str:
    """Return module and version of TensorRT."""
    trt = load_tensorrt()
    return f"{trt.__name__} {trt.__version__}"


def check_pycuda() -> str:
    """Return the version of PyCUDA."""
    try:
        importlib.import_module("pycuda.driver")
        return str(importlib.import_module("pycuda").VERSION_TEXT)
    except ImportError as error:
        raise InputError(f"cannot be imported ({error}); run: {install_hints.PYCUDA}") from None


def check_onnx() -> str:
    """Return the version of onnx."""
    try:
        return str(importlib.import_module("onnx").__version__)
    except ImportError:
        raise InputError("not installed; run: pip install onnx") from None

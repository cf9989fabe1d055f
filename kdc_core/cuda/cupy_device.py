"""CuPy behind ``cuda.driver.Driver``, for machines that have it and not PyCUDA."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from kdc_core.cuda.source import load, operations_per_second


class CupyDriver:
    """The kernels on the GPU through CuPy; for one thread."""

    def __init__(self, device: int = 0) -> None:
        try:
            import cupy

            chip = cupy.cuda.Device(device)
            chip.use()
            self.arch = f"sm_{chip.compute_capability}"
            properties = cupy.cuda.runtime.getDeviceProperties(device)
        except ImportError as error:
            raise ValueError(f"GPU decoder: CuPy cannot be used ({error})") from None
        except cupy.cuda.runtime.CUDARuntimeError as error:
            raise ValueError(f"GPU decoder: no usable CUDA device {device}: {error}") from None
        self.cupy = cupy
        self.name = f"{properties['name'].decode()} ({self.arch}), CuPy {cupy.__version__}"
        self.operations_per_second = operations_per_second(
            self.arch, chip.attributes["MultiProcessorCount"], chip.attributes["ClockRate"]
        )
        self.stream = cupy.cuda.Stream(non_blocking=True)
        self._modules = [self._load()]
        self._functions: dict[str, Any] = {}

    def _load(self, text: str | None = None) -> Any:
        def take(code: bytes) -> Any:
            module = self.cupy.cuda.function.Module()
            module.load(code)
            return module

        return load(self.arch, take, self.cupy.cuda.driver.CUDADriverError, text)

    def extend(self, text: str) -> None:
        """Load more kernels from CUDA C++."""
        self._modules.append(self._load(text))

    def allocate(self, shape: tuple[int, ...], dtype: Any) -> Any:
        """A CuPy array."""
        array = self.cupy.empty(shape, dtype)
        self.cupy.cuda.Device().synchronize()
        return _Buffer(array)

    def release(self, buffer: Any) -> None:
        """Free one buffer, after the work that is queued."""
        self.stream.synchronize()
        buffer.array = None

    def address(self, buffer: Any) -> int:
        """Where a buffer begins on the device."""
        return int(buffer.array.data.ptr)

    def clear(self, buffer: Any) -> None:
        """Zero a buffer."""
        buffer.array.data.memset_async(0, buffer.size, self.stream)

    def upload(self, buffer: Any, array: np.ndarray) -> None:
        """Copy an array to the start of a buffer."""
        host = np.ascontiguousarray(array)
        buffer.array.data.copy_from_host_async(host.ctypes.data, host.nbytes, self.stream)
        self.stream.synchronize()

    def download(self, buffer: Any) -> np.ndarray:
        """Wait for the stream, and copy a buffer to a new array."""
        return self.download_all([buffer])[0]

    def download_all(self, buffers: Sequence[Any]) -> list[np.ndarray]:
        """``download`` of several buffers with one wait."""
        hosts = [np.empty(buffer.shape, buffer.dtype) for buffer in buffers]
        for buffer, host in zip(buffers, hosts, strict=True):
            buffer.array.data.copy_to_host_async(host.ctypes.data, host.nbytes, self.stream)
        self.stream.synchronize()
        return hosts

    def launch(self, name: str, grid: tuple[int, ...], block: tuple[int, ...], *args: Any) -> None:
        """Queue a kernel on the stream."""
        function = self._functions.get(name)
        if function is None:
            function = self._functions[name] = self._find(name)
        values = tuple(
            arg.array if isinstance(arg, _Buffer)
            else np.int32(arg) if isinstance(arg, int) else np.float32(arg)
            for arg in args
        )  # fmt: skip
        function(
            (*grid, *[1] * (3 - len(grid))), (*block, *[1] * (3 - len(block))), values,
            shared_mem=0, stream=self.stream,
        )  # fmt: skip

    def _find(self, name: str) -> Any:
        for module in self._modules:
            try:
                return module.get_function(name)
            except self.cupy.cuda.driver.CUDADriverError:
                continue
        raise ValueError(f"GPU decoder: there is no kernel {name!r}")

    def mark(self) -> Any:
        """An event at this place of the stream."""
        event = self.cupy.cuda.Event()
        event.record(self.stream)
        return event

    def milliseconds(self, start: Any, end: Any) -> float:
        """Wait for ``end``; time on the GPU between two marks."""
        end.synchronize()
        return float(self.cupy.cuda.get_elapsed_time(start, end))

    def synchronize(self) -> None:
        """Wait until the stream is empty."""
        self.stream.synchronize()

    def close(self) -> None:
        """Forget the kernels; CuPy frees arrays with their last reference."""
        self.stream.synchronize()
        self._functions.clear()
        self._modules.clear()


class _Buffer:
    """Device memory that a CuPy array owns."""

    def __init__(self, array: Any) -> None:
        self.array = array
        self.shape, self.dtype, self.size = array.shape, array.dtype, array.nbytes

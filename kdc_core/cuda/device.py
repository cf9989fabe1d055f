"""Implement ``driver.Driver`` with PyCUDA: one context, one stream, one lock."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from kdc_core.cuda import install_hints
from kdc_core.cuda.compiler import load_module, operations_per_second
from kdc_core.cuda.graph import Graph, GraphError
from kdc_core.errors import InputError

log = logging.getLogger(__name__)


@dataclass(eq=False)
class Buffer:
    """Device memory with the page-locked host memory for its copies."""

    shape: tuple[int, ...]
    dtype: np.dtype
    memory: Any  # pycuda.driver.DeviceAllocation
    host: Any  # page-locked array of the same shape; None until the first copy
    sent: Any  # event after the last upload; None before the first

    @property
    def size(self) -> int:
        """Size in bytes."""
        return int(np.prod(self.shape)) * self.dtype.itemsize


class PycudaDriver:
    """Kernels on the GPU through PyCUDA.

    ``with driver:`` takes the lock and pushes the context, so that any thread may call. Every
    method does this itself. The context is the device's primary context, which torch and TensorRT
    share. A CUDA error leaves the block as an ``InputError``. After an error other than lack of
    memory the driver is unusable, and every later call fails at once with the same message.

    Args:
        device: index of the GPU.

    Raises:
        InputError: PyCUDA is not installed, or there is no usable GPU.
    """

    def __init__(self, device: int = 0) -> None:
        try:
            import pycuda.driver as cuda
        except ImportError as error:
            raise InputError(
                f"GPU decoder: PyCUDA cannot be imported ({error}); "
                f"install an NVIDIA driver, then run: {install_hints.PYCUDA}"
            ) from None
        self.cuda = cuda
        self._lock = threading.RLock()
        self._failure = ""  # message of the error after which the GPU is unusable
        self._buffers: list[Buffer] = []
        self._functions: dict[tuple[str, str], Any] = {}
        self._modules: list[Any] = []
        self.stream: Any = None
        try:
            cuda.init()
            chip = cuda.Device(device)
            self._context = chip.retain_primary_context()
        except (cuda.Error, RuntimeError) as error:
            raise InputError(f"GPU decoder: no usable CUDA device {device}: {error}") from None
        self.arch = "sm_{}{}".format(*chip.compute_capability())
        self.name = f"{chip.name()} ({self.arch}), PyCUDA {_version()}"
        self.operations_per_second = operations_per_second(
            self.arch,
            chip.get_attribute(cuda.device_attribute.MULTIPROCESSOR_COUNT),
            chip.get_attribute(cuda.device_attribute.CLOCK_RATE),
        )
        try:
            with self:
                self.stream = cuda.Stream()
                self.load_kernels(None)
        except Exception:
            self.close()
            raise

    def __enter__(self) -> PycudaDriver:
        self._lock.acquire()
        try:
            if self._failure:
                raise InputError(self._failure)
            if self._context is None:
                raise ValueError("GPU decoder: used after close()")
            self._context.push()
        except self.cuda.Error as error:
            self._lock.release()
            raise self._fail(error) from error
        except Exception:
            self._lock.release()
            raise
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        try:
            self.cuda.Context.pop()
        except self.cuda.Error as late:  # from work that was queued earlier
            error = error or late
        finally:
            self._lock.release()
        if isinstance(error, self.cuda.MemoryError):
            raise InputError(
                f"GPU out of memory: {error}; choose a smaller --long-side, close other programs "
                "that use the GPU, or use --engine onnxruntime"
            ) from error
        if isinstance(error, self.cuda.Error):
            raise self._fail(error) from error

    def _fail(self, error: Exception) -> InputError:
        self._failure = f"GPU lost: {error}; restart the program, or use --engine onnxruntime"
        return InputError(self._failure)

    @contextmanager
    def cleanup(self) -> Iterator[None]:
        """Like ``with driver:``, for releasing resources: CUDA errors are logged, not raised."""
        with self._lock:
            pushed = self._context is not None and self._succeeds(self._context.push)
            try:
                yield
            except self.cuda.Error as error:
                self._log_cleanup_error(error)
            finally:
                if pushed:
                    self._succeeds(self.cuda.Context.pop)

    def _succeeds(self, step: Callable[[], object]) -> bool:
        try:
            step()
        except self.cuda.Error as error:
            self._log_cleanup_error(error)
            return False
        return True

    def _log_cleanup_error(self, error: Exception) -> None:
        # the loss of the GPU has been reported already
        level = logging.DEBUG if self._failure else logging.WARNING
        log.log(level, "GPU: %s while closing", error)

    def allocate(self, shape: tuple[int, ...], dtype: Any) -> Buffer:
        """Allocate a buffer that lives until ``close``."""
        buffer = Buffer(shape, np.dtype(dtype), None, None, None)
        with self:
            buffer.memory = self.cuda.mem_alloc(max(buffer.size, 1))
        self._buffers.append(buffer)
        return buffer

    def address(self, buffer: Buffer) -> int:
        """Return the device address of a buffer."""
        return int(buffer.memory)

    def clear(self, buffer: Buffer) -> None:
        """Fill a buffer with zeros."""
        with self:
            self.cuda.memset_d8_async(buffer.memory, 0, buffer.size, self.stream)

    def upload(self, buffer: Buffer, array: np.ndarray) -> None:
        """Copy an array to the start of a buffer. The caller may change the array afterwards."""
        with self:
            host = self._host(buffer).reshape(-1)[: array.size]
            if buffer.sent is None:
                buffer.sent = self.cuda.Event(self.cuda.event_flags.DISABLE_TIMING)
            else:
                buffer.sent.synchronize()  # the last copy may still read the host memory
            host[:] = array.reshape(-1)
            self.cuda.memcpy_htod_async(buffer.memory, host, self.stream)
            buffer.sent.record(self.stream)

    def download(self, buffer: Buffer) -> np.ndarray:
        """Wait for the stream and copy a buffer to a new array."""
        return self.download_all([buffer])[0]

    def download_all(self, buffers: Sequence[Buffer]) -> list[np.ndarray]:
        """Download several buffers with one wait."""
        with self:
            for buffer in buffers:
                self.cuda.memcpy_dtoh_async(self._host(buffer), buffer.memory, self.stream)
            self.stream.synchronize()
            return [np.array(buffer.host) for buffer in buffers]

    def release(self, buffer: Buffer) -> None:
        """Free one buffer after the queued work has finished."""
        with self:
            self.stream.synchronize()
            self._buffers.remove(buffer)
            self._free(buffer)

    def _free(self, buffer: Buffer) -> None:
        try:
            buffer.memory.free()
        except self.cuda.Error as error:
            log.debug("GPU: %s while freeing memory", error)
        buffer.memory = buffer.host = buffer.sent = None

    def _host(self, buffer: Buffer) -> np.ndarray:
        if buffer.host is None:
            buffer.host = self.cuda.pagelocked_empty(buffer.shape, buffer.dtype)
        host: np.ndarray = buffer.host
        return host

    def launch(self, name: str, grid: tuple[int, ...], block: tuple[int, ...], *args: Any) -> None:
        """Queue a kernel on the stream."""
        kinds = "".join(
            "P" if isinstance(arg, Buffer) else "i" if isinstance(arg, int) else "f" for arg in args
        )
        values = [self.address(arg) if isinstance(arg, Buffer) else arg for arg in args]
        with self:
            function = self._functions.get((name, kinds))
            if function is None:
                function = self._find(name).prepare(kinds)
                self._functions[name, kinds] = function
            sides = [(*side, *[1] * (3 - len(side))) for side in (grid, block)]
            function.prepared_async_call(sides[0], sides[1], self.stream, *values)

    def _find(self, name: str) -> Any:
        for module in self._modules:
            try:
                return module.get_function(name)
            except self.cuda.LogicError:
                continue
        raise ValueError(f"GPU decoder: no kernel is named {name!r}")

    def load_kernels(self, text: str | None) -> None:
        """Load kernels from CUDA C++ text; None loads the decoder's kernels."""
        with self:
            take = self.cuda.module_from_buffer
            self._modules.append(load_module(self.arch, take, self.cuda.Error, text))

    def record(self, queue: Callable[[], None]) -> Graph:
        """Capture the work that ``queue`` puts on the stream.

        The graph must be closed before the driver.

        Raises:
            GraphError: the work cannot be captured; the stream is unchanged.
        """
        with self:
            return Graph(self.stream.handle, queue)

    def replay(self, graph: Graph) -> None:
        """Launch a graph on the stream."""
        with self:
            try:
                graph.launch()
            except GraphError as error:
                raise self.cuda.Error(str(error)) from None

    def mark(self) -> Any:
        """Record an event on the stream."""
        with self:
            event = self.cuda.Event()
            event.record(self.stream)
            return event

    def milliseconds(self, start: Any, end: Any) -> float:
        """Wait for ``end`` and return the GPU time between two marks, milliseconds."""
        with self:
            end.synchronize()
            return float(end.time_since(start))

    def synchronize(self) -> None:
        """Wait until the stream is empty."""
        with self:
            self.stream.synchronize()

    def close(self) -> None:
        """Free all memory and the context. A second call does nothing."""
        if self._context is None:
            return
        with self.cleanup():
            if self.stream is not None and not self._failure:
                self.stream.synchronize()
        with self.cleanup():
            for buffer in self._buffers:
                self._free(buffer)
            self._buffers.clear()
            self._functions.clear()
            self._modules.clear()
            self.stream = None
        with self._lock:
            self._succeeds(self._context.detach)
            self._context = None


def _version() -> str:
    import pycuda

    return str(pycuda.VERSION_TEXT)

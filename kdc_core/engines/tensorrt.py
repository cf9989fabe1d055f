"""TensorRT on an NVIDIA GPU: the frame goes there as bytes, the network's two outputs come back."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import numpy as np

from kdc_core.config import HoughConfig
from kdc_core.cuda import (
    Kernels,
    Layout,
    PycudaDriver,
    gpu_name,
    gpu_unavailable_reason,
    load_tensorrt,
)
from kdc_core.engines.model_file import read_info
from kdc_core.engines.trt_build import build_cached, cached, engine_key
from kdc_core.errors import InputError
from kdc_core.letterbox import Letterbox
from kdc_core.types import Fields, Frame

log = logging.getLogger(__name__)

SIZES = 4  # frame sizes that buffers are kept for, some 15 MB each


class TensorrtEngine:
    """Frame → Fields; the engine file is built at the first opening and kept for the next."""

    def __init__(
        self, model: Path, threads: int = 0, long_side: int | None = None, precision: str = ""
    ):
        """Load the kept engine, or build one.

        Args:
            model: ONNX file.
            threads: has no meaning on a GPU.
            long_side: input pixels; default: the model's own.
            precision: one of ``PRECISIONS``, int8 only where ``kdc build-engine`` has built it;
                default: ``$KDC_PRECISION``, else fp16.

        Raises:
            ValueError: no GPU, TensorRT or PyCUDA, or one that cannot do it.
        """
        del threads
        if obstacle := gpu_unavailable_reason():
            raise InputError(f"engine tensorrt cannot be used: {obstacle}")
        precision = precision or os.environ.get("KDC_PRECISION") or "fp16"
        self.model, self.info = model, read_info(model).at(long_side)
        self.trt = load_tensorrt()
        self.driver = PycudaDriver()
        self.kernels: Kernels | None = None  # of the newest frame
        self._kept: dict[Layout, Kernels] = {}
        self._runtime: Any = None
        self._engine: Any = None
        self._context: Any = None
        self._graph: Any = None  # of the buffers that are bound
        self._runs = 0  # since they were bound
        self._open = True
        try:
            with self.driver:
                self._runtime = self._start()
                self._engine = self._load(Path(model), precision)
                self._context = self._make_context()
        except Exception:
            self.close()
            raise
        self.name = f"{self.trt.__name__} {self.trt.__version__} {precision}, {self.driver.name}"

    def _start(self) -> Any:
        try:
            return self.trt.Runtime(self.trt.Logger(self.trt.Logger.WARNING))
        except TypeError:  # the factory returned a null pointer
            raise InputError("TensorRT cannot start: it finds no usable GPU") from None

    def _load(self, model: Path, precision: str) -> Any:
        """The engine from the cache; one that TensorRT refuses is built again, once."""
        gpu = gpu_name()
        wanted = engine_key(self.trt, model, gpu, precision, self.info.longest)
        plan = cached(wanted)
        engine = self._runtime.deserialize_cuda_engine(plan) if plan else None
        if plan and engine is None:
            log.warning("the kept engine does not load on this machine: it is built again")
        if engine is None:
            plan = build_cached(self.trt, wanted, model)
            engine = self._runtime.deserialize_cuda_engine(plan)
        if engine is None:
            raise InputError(
                f"TensorRT {self.trt.__version__} cannot load the engine that it has just built "
                f"for {gpu}; is this GPU supported?"
            )
        return engine

    def _make_context(self) -> Any:
        options = []
        self._record = True
        if hasattr(self.trt, "CudaGraphStrategy"):  # TensorRT for RTX makes its own graphs
            settings = self._engine.create_runtime_config()
            settings.cuda_graph_strategy = self.trt.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
            options, self._record = [settings], False
        context = self._engine.create_execution_context(*options)
        if context is None:
            raise InputError("TensorRT: the GPU's memory does not suffice for the engine")
        return context

    def __call__(self, frame: Frame) -> Fields:
        """One forward pass, the fields copied to the host."""
        with self.driver:
            kernels = self.prepare(frame.size, HoughConfig())
            self.submit(frame)
            fields, seg = self.driver.download_all((kernels.fields, kernels.seg))
        return Fields.from_tensors(
            fields[None], seg[None, None], self.info.radius, kernels.layout.letterbox
        )

    def prepare(self, frame_size: tuple[int, int], hough: HoughConfig) -> Kernels:
        """Buffers for frames of a size; those of a few sizes are kept, one per kind of camera."""
        info = self.info
        letterbox = Letterbox.fit(frame_size, info.longest, info.multiple)
        layout = Layout(letterbox, info.stride, info.seg_stride, info.radius, hough)
        if self.kernels is not None and self.kernels.layout == layout:
            return self.kernels
        self.kernels = None  # until the engine knows the other's buffers
        kernels = self._kept.pop(layout, None)
        if kernels is None:
            if len(self._kept) == SIZES:
                self._kept.pop(next(iter(self._kept))).close()
            kernels = Kernels(self.driver, layout)
        self._kept[layout] = kernels  # the newest is the last to go
        self._bind(kernels)
        self.kernels = kernels
        return kernels

    def _bind(self, kernels: Kernels) -> None:
        with self.driver:
            self._forget_graph()
            if not self._context.set_input_shape("image", kernels.image.shape):
                raise InputError(
                    f"TensorRT: the engine does not take inputs of {kernels.image.shape}"
                )
            for name in ("image", "fields", "seg"):
                buffer = getattr(kernels, name)
                self._check(name, buffer)
                self._context.set_tensor_address(name, self.driver.address(buffer))

    def submit(self, frame: Frame) -> None:
        """Queue a frame's way to the kernels' ``fields`` and ``seg``, after ``prepare``."""
        if self.kernels is None:
            raise InputError("TensorRT: expected prepare() before submit()")
        self.kernels.load_frame(frame.image)
        self.kernels.preprocess()
        self.run()

    def run(self) -> None:
        """Queue the network: the kernels' ``image`` to their ``fields`` and ``seg``.

        The first run after a change of buffers is a plain one, in which TensorRT makes up its mind
        for the new shapes; the second is recorded, and all later ones repeat the record.
        """
        with self.driver:
            self._runs += 1
            if self._record and self._runs == 2:
                try:
                    self._graph = self.driver.record(self._enqueue)
                except ValueError as error:
                    self._record = False
                    log.info("TensorRT: no CUDA graph of the engine (%s)", error)
            if self._graph is not None:
                self.driver.replay(self._graph)
            else:
                self._enqueue()

    def _enqueue(self) -> None:
        if not self._context.execute_async_v3(self.driver.stream.handle):
            raise InputError("TensorRT could not run the engine; its log says why")

    def _forget_graph(self) -> None:
        self._runs = 0
        if self._graph is not None:
            self.driver.synchronize()  # it may be at work
            self._graph.close()
            self._graph = None

    def _check(self, name: str, buffer: Any) -> None:
        """The engine writes what it likes where we say: sizes and types must be as we think."""
        shape = tuple(self._context.get_tensor_shape(name))
        kind = self._engine.get_tensor_dtype(name)
        # not trt.nptype: that of TensorRT 8.5 fails with every NumPy from 1.24 on
        if kind != self.trt.DataType.FLOAT or int(np.prod(shape)) * 4 != buffer.size:
            raise InputError(
                f"TensorRT: expected {name} to be {buffer.shape} {buffer.dtype}, got {shape} {kind}"
            )

    def close(self) -> None:
        """Give the GPU's memory back; a second call does nothing."""
        if not self._open:
            return
        self._open = False
        with self.driver.cleanup():  # these objects free their memory in their context
            if self._graph is not None:
                self._graph.close()
            self._graph = self._context = self._engine = self._runtime = None
        self.kernels = None
        self._kept.clear()
        self.driver.close()

"""TensorRT on an NVIDIA GPU. The frame is uploaded as bytes and letterboxed on the GPU."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import numpy as np

from kdc_core.config import HoughConfig
from kdc_core.cuda import (
    GraphError,
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

MAX_LAYOUTS = 4  # frame sizes whose buffers stay allocated, about 15 MB each


class TensorrtEngine:
    """Run an ONNX file with TensorRT. The TensorRT engine is built once and then cached.

    Calls from several threads wait for one another.
    """

    def __init__(
        self, model: Path, threads: int = 0, long_side: int | None = None, precision: str = ""
    ):
        """Load the cached TensorRT engine, or build one, which takes minutes.

        Args:
            model: a float32 file written by ``kdc export``.
            threads: ignored; other engines have this argument.
            long_side: longest side of the network's input, pixels; None uses the model's own value.
            precision: one of ``PRECISIONS``; int8 needs an engine that ``kdc build-engine`` has
                built. Empty uses ``$KDC_PRECISION``, or fp16 if it is not set.

        Raises:
            InputError: GPU, TensorRT or PyCUDA are missing, or cannot run the model.
        """
        del threads
        if obstacle := gpu_unavailable_reason():
            raise InputError(f"engine tensorrt cannot be used: {obstacle}")
        precision = precision or os.environ.get("KDC_PRECISION") or "fp16"
        self.model, self.info = model, read_info(model).at(long_side)
        self.trt = load_tensorrt()
        self.driver = PycudaDriver()
        self.kernels: Kernels | None = None  # of the current layout
        self._by_layout: dict[Layout, Kernels] = {}  # least recently used first
        self._runtime: Any = None
        self._engine: Any = None
        self._context: Any = None
        self._graph: Any = None  # of the bound buffers
        self._runs = 0  # since the buffers were bound
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
        """Load the cached engine. An engine that TensorRT rejects is rebuilt once."""
        gpu = gpu_name()
        key = engine_key(self.trt, model, gpu, precision, self.info.longest)
        plan = cached(key)
        engine = self._runtime.deserialize_cuda_engine(plan) if plan else None
        if plan and engine is None:
            log.warning("rebuilding the cached engine: it does not load on this machine")
        if engine is None:
            plan = build_cached(self.trt, key, model)
            engine = self._runtime.deserialize_cuda_engine(plan)
        if engine is None:
            raise InputError(
                f"TensorRT {self.trt.__version__} cannot load the engine that it has just built "
                f"for {gpu}; does it support this GPU?"
            )
        return engine

    def _make_context(self) -> Any:
        options = []
        self._capture = True
        if hasattr(self.trt, "CudaGraphStrategy"):  # TensorRT for RTX captures its own graphs
            settings = self._engine.create_runtime_config()
            settings.cuda_graph_strategy = self.trt.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
            options, self._capture = [settings], False
        context = self._engine.create_execution_context(*options)
        if context is None:
            raise InputError("TensorRT: the GPU has too little free memory for the engine")
        return context

    def __call__(self, frame: Frame) -> Fields:
        """Run one forward pass and copy the fields to the host."""
        with self.driver:
            kernels = self.prepare(frame.size, HoughConfig())
            self.submit(frame)
            fields, seg = self.driver.download_all((kernels.fields, kernels.seg))
        return Fields.from_tensors(
            fields[None], seg[None, None], self.info.radius, kernels.layout.letterbox
        )

    def prepare(self, frame_size: tuple[int, int], hough: HoughConfig) -> Kernels:
        """Return the buffers for frames of a size and bind them to the engine.

        Buffers of the last ``MAX_LAYOUTS`` layouts stay allocated, so that cameras of different
        sizes can take turns.

        Args:
            frame_size: (width, height), pixels.
            hough: settings that determine the sizes of the vote buffers.
        """
        info = self.info
        letterbox = Letterbox.fit(frame_size, info.longest, info.multiple)
        layout = Layout(letterbox, info.stride, info.seg_stride, info.radius, hough)
        if self.kernels is not None and self.kernels.layout == layout:
            return self.kernels
        self.kernels = None  # until the buffers are bound
        kernels = self._by_layout.pop(layout, None)
        if kernels is None:
            if len(self._by_layout) == MAX_LAYOUTS:
                self._by_layout.pop(next(iter(self._by_layout))).close()
            kernels = Kernels(self.driver, layout)
        self._by_layout[layout] = kernels
        self._bind(kernels)
        self.kernels = kernels
        return kernels

    def _bind(self, kernels: Kernels) -> None:
        with self.driver:
            self._drop_graph()
            if not self._context.set_input_shape("image", kernels.image.shape):
                raise InputError(
                    f"TensorRT: the engine does not accept inputs of shape {kernels.image.shape}"
                )
            for name in ("image", "fields", "seg"):
                buffer = getattr(kernels, name)
                self._check(name, buffer)
                self._context.set_tensor_address(name, self.driver.address(buffer))

    def submit(self, frame: Frame) -> None:
        """Queue upload, letterbox and network for a frame. ``prepare`` must be called before.

        The outputs are the kernels' ``fields`` and ``seg``.
        """
        if self.kernels is None:
            raise ValueError("TensorRT: expected prepare() before submit()")
        self.kernels.load_frame(frame.image)
        self.kernels.preprocess()
        self.run()

    def run(self) -> None:
        """Queue the network, from the kernels' ``image`` to their ``fields`` and ``seg``.

        TensorRT prepares itself for new shapes in the first run after a change of buffers. The
        second run is captured as a CUDA graph, which all later runs launch.
        """
        with self.driver:
            self._runs += 1
            if self._capture and self._runs == 2:
                try:
                    self._graph = self.driver.record(self._enqueue)
                except GraphError as error:
                    self._capture = False
                    log.info("TensorRT: running without a CUDA graph (%s)", error)
            if self._graph is not None:
                self.driver.replay(self._graph)
            else:
                self._enqueue()

    def _enqueue(self) -> None:
        if not self._context.execute_async_v3(self.driver.stream.handle):
            raise InputError("TensorRT could not run the engine; see its messages above")

    def _drop_graph(self) -> None:
        self._runs = 0
        if self._graph is not None:
            self.driver.synchronize()  # it may be running
            self._graph.close()
            self._graph = None

    def _check(self, name: str, buffer: Any) -> None:
        """Check type and size of a buffer: TensorRT does not check where it writes."""
        shape = tuple(self._context.get_tensor_shape(name))
        kind = self._engine.get_tensor_dtype(name)
        # trt.nptype of TensorRT 8.5 fails with NumPy 1.24 and newer
        if kind != self.trt.DataType.FLOAT or int(np.prod(shape)) * 4 != buffer.size:
            raise InputError(
                f"TensorRT: expected {name} to be {buffer.shape} {buffer.dtype}, got {shape} {kind}"
            )

    def close(self) -> None:
        """Release the GPU's memory. A second call does nothing."""
        if not self._open:
            return
        self._open = False
        with self.driver.cleanup():  # these objects need the context to free their memory
            if self._graph is not None:
                self._graph.close()
            self._graph = self._context = self._engine = self._runtime = None
        self.kernels = None
        self._by_layout.clear()
        self.driver.close()

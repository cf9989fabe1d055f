"""TensorRT on an NVIDIA GPU: the frame goes there as bytes, the network's two outputs come back."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from kdc_core.config import HoughConfig, ModelInfo
from kdc_core.cuda.device import PycudaDriver
from kdc_core.cuda.kernels import Kernels, Layout
from kdc_core.engines.build import build_kept, kept, load_tensorrt, recipe
from kdc_core.letterbox import Letterbox
from kdc_core.types import Fields, Frame

log = logging.getLogger(__name__)


class TensorrtEngine:
    """Frame → Fields; the engine file is built at the first opening and kept for the next."""

    def __init__(
        self, model: Path, threads: int = 0, long_side: int | None = None,
        precision: str = "fp16", images: Iterable[np.ndarray] = (),
    ):  # fmt: skip
        """``threads`` has no meaning on a GPU. ``images``: calibration inputs for int8."""
        del threads
        self.info = read_info(model)
        self.longest = long_side or self.info.longest
        self.trt = load_tensorrt()
        self.driver = PycudaDriver()
        self.kernels: Kernels | None = None
        self._runtime: Any = None
        self._engine: Any = None
        self._context: Any = None
        self._open = True
        try:
            with self.driver:
                self._runtime = self.trt.Runtime(self.trt.Logger(self.trt.Logger.WARNING))
                self._engine = self._load(Path(model), precision, images)
                self._context = self._engine.create_execution_context()
        except Exception:
            self.close()
            raise
        self.name = f"{self.trt.__name__} {self.trt.__version__} {precision}, {self.driver.name}"

    def _load(self, model: Path, precision: str, images: Iterable[np.ndarray]) -> Any:
        """The engine from the cache; one that TensorRT refuses is built again, once."""
        gpu = f"{self.driver.name.split(',')[0]}"
        wanted = recipe(self.trt, model, gpu, precision, self.longest)
        plan = kept(wanted)
        engine = self._runtime.deserialize_cuda_engine(plan) if plan else None
        if plan and engine is None:
            log.warning("the kept engine does not load on this machine: it is built again")
        if engine is None:
            plan = build_kept(self.trt, wanted, model, images)
            engine = self._runtime.deserialize_cuda_engine(plan)
        if engine is None:
            raise ValueError(
                f"TensorRT {self.trt.__version__} cannot load the engine that it has just built "
                f"for {gpu}; is this GPU supported?"
            )
        return engine

    def __call__(self, frame: Frame) -> Fields:
        """One forward pass; buffers are made anew only when the frame's size changes."""
        with self.driver:
            kernels = self._prepared(Letterbox.fit(frame.size, self.longest))
            kernels.load_frame(frame.image)
            kernels.preprocess()
            self.run()
            fields, seg = self.driver.download(kernels.fields), self.driver.download(kernels.seg)
        return Fields.from_tensors(
            fields[None], seg[None, None], self.info.radius, kernels.layout.letterbox
        )

    def run(self) -> None:
        """Queue the network: the kernels' ``image`` to their ``fields`` and ``seg``."""
        if not self._context.execute_async_v3(self.driver.stream.handle):
            raise ValueError("TensorRT could not run the engine; its log says why")

    def _prepared(self, letterbox: Letterbox) -> Kernels:
        if self.kernels is not None:
            if self.kernels.layout.letterbox == letterbox:
                return self.kernels
            self.kernels.close()
        info = self.info
        layout = Layout(letterbox, info.stride, info.seg_stride, info.radius, HoughConfig())
        self.kernels = kernels = Kernels(self.driver, layout)
        if not self._context.set_input_shape("image", kernels.image.shape):
            raise ValueError(f"TensorRT: the engine does not take inputs of {kernels.image.shape}")
        for name in ("image", "fields", "seg"):
            self._check(name, getattr(kernels, name))
            self._context.set_tensor_address(name, int(getattr(kernels, name).memory))
        return kernels

    def _check(self, name: str, buffer: Any) -> None:
        """The engine writes what it likes where we say: sizes and types must be as we think."""
        count = int(np.prod(tuple(self._context.get_tensor_shape(name))))
        kind = np.dtype(self.trt.nptype(self._engine.get_tensor_dtype(name)))
        if count * kind.itemsize != buffer.size or kind != buffer.dtype:
            raise ValueError(
                f"TensorRT: expected {name} to be {buffer.shape} {buffer.dtype}, "
                f"got {tuple(self._context.get_tensor_shape(name))} {kind}"
            )

    def close(self) -> None:
        """Give the GPU's memory back; a second call does nothing."""
        if not self._open:
            return
        self._open = False
        with self.driver:  # TensorRT's objects free their memory in the context they were made in
            self._context = self._engine = self._runtime = None
        self.kernels = None
        self.driver.close()


def read_info(model: Path) -> ModelInfo:
    """What the ONNX file says of itself.

    Raises:
        ValueError: not an ONNX file, or not one of ours.
    """
    import onnx

    try:
        properties = onnx.load(model, load_external_data=False).metadata_props
    except Exception as error:  # protobuf has its own family of exceptions
        raise ValueError(f"{model}: expected an ONNX file, cannot read it: {error}") from None
    try:
        return ModelInfo.from_metadata({p.key: p.value for p in properties})
    except ValueError as error:
        raise ValueError(f"{model}: {error}") from None

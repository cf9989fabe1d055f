"""Engines run the network on a frame and return its fields."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kdc_core.lazy import lazy_exports

if TYPE_CHECKING:
    from kdc_core.engines import trt_build
    from kdc_core.engines.base import Engine
    from kdc_core.engines.engine_factory import (
        ENGINES,
        check_long_side,
        choose_engine,
        default_model,
        open_engine,
    )
    from kdc_core.engines.flip import FlipEngine
    from kdc_core.engines.model_file import read_info
    from kdc_core.engines.network_input import preprocess
    from kdc_core.engines.onnxruntime import OnnxRuntimeEngine
    from kdc_core.engines.precision import PRECISIONS, to_int8_for_cpu
    from kdc_core.engines.tensorrt import TensorrtEngine
    from kdc_core.engines.torch import load_checkpoint
    from kdc_core.engines.trt_progress import ProgressCallback

__getattr__, __all__ = lazy_exports(
    __name__,
    {
        "base": ("Engine",),
        "engine_factory": (
            "ENGINES",
            "check_long_side",
            "choose_engine",
            "default_model",
            "open_engine",
        ),
        "flip": ("FlipEngine",),
        "model_file": ("read_info",),
        "network_input": ("preprocess",),
        "onnxruntime": ("OnnxRuntimeEngine",),
        "precision": (
            "PRECISIONS",
            "to_int8_for_cpu",
        ),
        "tensorrt": ("TensorrtEngine",),
        "torch": ("load_checkpoint",),
        "trt_build": (),
        "trt_progress": ("ProgressCallback",),
    },
)

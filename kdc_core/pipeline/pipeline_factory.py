"""Choose the pipeline that suits an engine."""

from __future__ import annotations

import sys

from kdc_core.config import DecodeConfig
from kdc_core.engines import Engine
from kdc_core.pipeline.pipeline import Pipeline


def open_pipeline(engine: Engine, config: DecodeConfig | None = None) -> Pipeline:
    """Return a pipeline for ``engine``: with TensorRT the decoder runs on the GPU as well."""
    tensorrt = sys.modules.get("kdc_core.engines.tensorrt")  # not loaded: no such engine is open
    if tensorrt is not None and isinstance(engine, tensorrt.TensorrtEngine):
        from kdc_core.pipeline.gpu_pipeline import GpuPipeline

        return GpuPipeline(engine, config)
    return Pipeline(engine, config)

"""Run an engine and a decoder on frames."""

from kdc_core.pipeline.pipeline import Pipeline
from kdc_core.pipeline.pipeline_factory import open_pipeline

__all__ = ["Pipeline", "open_pipeline"]

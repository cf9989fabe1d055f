"""The interface of an engine."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from kdc_core.config import ModelInfo
from kdc_core.types import Fields, Frame


class Engine(Protocol):
    """Runs the network on one frame.

    Engines for ONNX Runtime, OpenVINO, torch and TensorRT implement this interface.
    """

    @property
    def info(self) -> ModelInfo:
        """Strides, radius and input size of the model."""
        ...

    @property
    def name(self) -> str:
        """Name, version and precision, for logs and diagnostics."""
        ...

    @property
    def model(self) -> Path | None:
        """The model file; None if the fields do not come from a file."""
        ...

    def __call__(self, frame: Frame) -> Fields:
        """Run the network on one frame and return its fields on the host."""
        ...

    def close(self) -> None:
        """Release memory and devices. A second call does nothing."""
        ...

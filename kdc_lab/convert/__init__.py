"""Convert networks between PyTorch and ONNX."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kdc_core.lazy import lazy_exports

if TYPE_CHECKING:
    from kdc_lab.convert.from_onnx import batch_norms, read_exported
    from kdc_lab.convert.to_onnx import export

__getattr__, __all__ = lazy_exports(
    __name__,
    {
        "from_onnx": (
            "batch_norms",
            "read_exported",
        ),
        "to_onnx": ("export",),
    },
)

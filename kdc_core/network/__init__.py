"""The network in PyTorch: backbones, neck and heads. Only training and export need it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kdc_core.lazy import lazy_exports

if TYPE_CHECKING:
    from kdc_core.network.backbones import load_published, load_tensors, load_torch_file
    from kdc_core.network.model import (
        LONGEST,
        Inference,
        KdcNet,
        NetworkConfig,
        for_inference,
        preset,
    )

__getattr__, __all__ = lazy_exports(
    __name__,
    {
        "backbones": (
            "load_tensors",
            "load_published",
            "load_torch_file",
        ),
        "model": (
            "Inference",
            "KdcNet",
            "LONGEST",
            "NetworkConfig",
            "for_inference",
            "preset",
        ),
    },
)

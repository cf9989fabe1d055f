"""The network in PyTorch: backbones, neck and heads. Needs ``torch``; inference does not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kdc_core.lazy import lazy_exports

if TYPE_CHECKING:
    from kdc_core.network.backbones import fill, load_published, read_file
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
            "fill",
            "load_published",
            "read_file",
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

"""The decoder on an NVIDIA GPU: kernels.cu and its host code. Importing it does not touch a GPU."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kdc_core.lazy import lazy_exports

if TYPE_CHECKING:
    from kdc_core.cuda import install_hints
    from kdc_core.cuda.compiler import cache_folder
    from kdc_core.cuda.device import PycudaDriver
    from kdc_core.cuda.gpu_decoder import find_poses
    from kdc_core.cuda.graph import GraphError
    from kdc_core.cuda.kernels import MAX_PEAKS, MAX_PEOPLE, Kernels, Layout
    from kdc_core.cuda.probe import Check, gpu_checks, gpu_name, gpu_unavailable_reason
    from kdc_core.cuda.trt_library import MODULES, load_tensorrt

__getattr__, __all__ = lazy_exports(
    __name__,
    {
        "install_hints": (),
        "compiler": ("cache_folder",),
        "device": ("PycudaDriver",),
        "gpu_decoder": ("find_poses",),
        "graph": ("GraphError",),
        "kernels": (
            "Kernels",
            "Layout",
            "MAX_PEOPLE",
            "MAX_PEAKS",
        ),
        "trt_library": ("MODULES", "load_tensorrt"),
        "probe": (
            "Check",
            "gpu_name",
            "gpu_checks",
            "gpu_unavailable_reason",
        ),
    },
)

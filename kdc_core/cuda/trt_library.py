"""Import the TensorRT bindings that are installed."""

from __future__ import annotations

import importlib
from typing import Any

from kdc_core.cuda import install_hints
from kdc_core.errors import InputError

#: bindings in the order of preference; the last is TensorRT for RTX without its meta package
MODULES = ("tensorrt", "tensorrt_rtx", "tensorrt_rtx_bindings")


def load_tensorrt() -> Any:
    """The TensorRT module that is installed.

    Raises:
        ValueError: there is none, or its libraries do not load.
    """
    reasons = []
    for name in MODULES:
        try:
            return importlib.import_module(name)
        except (ImportError, OSError) as error:  # OSError: a library that is missing
            reasons.append(f"{name}: {error}")
    raise InputError(f"TensorRT cannot be used ({'; '.join(reasons)}); {install_hints.TENSORRT}")

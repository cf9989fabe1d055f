"""Import the installed TensorRT bindings."""

from __future__ import annotations

import importlib
from typing import Any

from kdc_core.cuda import install_hints
from kdc_core.errors import InputError

#: modules in order of preference; the last is TensorRT for RTX without its meta package
MODULES = ("tensorrt", "tensorrt_rtx", "tensorrt_rtx_bindings")


def load_tensorrt() -> Any:
    """Return the first TensorRT module that can be imported.

    Raises:
        InputError: no module is installed, or its libraries do not load.
    """
    reasons = []
    for name in MODULES:
        try:
            return importlib.import_module(name)
        except (ImportError, OSError) as error:  # OSError: a shared library is missing
            reasons.append(f"{name}: {error}")
    raise InputError(
        f"TensorRT cannot be imported ({'; '.join(reasons)}); run: {install_hints.TENSORRT}"
    )

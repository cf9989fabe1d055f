"""Talk to the operating system: CPU features, signals, worker processes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kdc_core.lazy import lazy_exports

if TYPE_CHECKING:
    from kdc_core.system import cpu
    from kdc_core.system.signals import deferred, end_in_order
    from kdc_core.system.worker_pool import Processes, each

__getattr__, __all__ = lazy_exports(
    __name__,
    {
        "cpu": (),
        "signals": (
            "deferred",
            "end_in_order",
        ),
        "worker_pool": (
            "Processes",
            "each",
        ),
    },
)

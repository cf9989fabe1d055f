"""Training: from annotated images to weights. It needs torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kdc_core.lazy import lazy_exports

if TYPE_CHECKING:
    from kdc_lab.training.batch import MAX_PEOPLE, OVERLAP, POSE_UNKNOWN, SEG_UNKNOWN, Batch
    from kdc_lab.training.data import is_tuning_image
    from kdc_lab.training.targets import oracle_fields

__getattr__, __all__ = lazy_exports(
    __name__,
    {
        "batch": (
            "Batch",
            "MAX_PEOPLE",
            "OVERLAP",
            "POSE_UNKNOWN",
            "SEG_UNKNOWN",
        ),
        "data": ("is_tuning_image",),
        "targets": ("oracle_fields",),
    },
)

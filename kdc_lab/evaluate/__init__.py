"""Evaluate people against annotations: COCO metrics, ablations, the occlusion benchmark, plots."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kdc_core.lazy import lazy_exports

if TYPE_CHECKING:
    from kdc_lab.evaluate import coco_variants, identity_metrics, occlusion, studies
    from kdc_lab.evaluate.ablation import ablate, markdown
    from kdc_lab.evaluate.annotated_images import Dataset, load
    from kdc_lab.evaluate.bootstrap import average_precision
    from kdc_lab.evaluate.clip_metrics import SEEN
    from kdc_lab.evaluate.coco_metrics import Results, as_rle, coco_results, oks, predictions
    from kdc_lab.evaluate.composed_clips import ComposedFrame
    from kdc_lab.evaluate.conditions import figures, protocol
    from kdc_lab.evaluate.cutouts import cut_out, rendered
    from kdc_lab.evaluate.error_analysis import Errors, error_table, errors
    from kdc_lab.evaluate.failure_gallery import FailureGallery
    from kdc_lab.evaluate.ground_truth_engine import GroundTruthEngine
    from kdc_lab.evaluate.plots import Bar, Series, curves, histogram, timeline
    from kdc_lab.evaluate.scenarios import SIZE, Cast, drawn, real

__getattr__, __all__ = lazy_exports(
    __name__,
    {
        "coco_variants": (),
        "identity_metrics": (),
        "occlusion": (),
        "studies": (),
        "ablation": (
            "ablate",
            "markdown",
        ),
        "annotated_images": (
            "Dataset",
            "load",
        ),
        "bootstrap": ("average_precision",),
        "clip_metrics": ("SEEN",),
        "coco_metrics": (
            "Results",
            "as_rle",
            "coco_results",
            "oks",
            "predictions",
        ),
        "composed_clips": ("ComposedFrame",),
        "conditions": (
            "figures",
            "protocol",
        ),
        "cutouts": (
            "cut_out",
            "rendered",
        ),
        "error_analysis": (
            "Errors",
            "error_table",
            "errors",
        ),
        "failure_gallery": ("FailureGallery",),
        "ground_truth_engine": ("GroundTruthEngine",),
        "plots": (
            "Bar",
            "Series",
            "curves",
            "histogram",
            "timeline",
        ),
        "scenarios": (
            "Cast",
            "SIZE",
            "drawn",
            "real",
        ),
    },
)

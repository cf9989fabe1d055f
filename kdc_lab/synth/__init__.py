"""Synthetic people with exact masks, keypoints, visibility and ids: rendered or simply drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kdc_core.lazy import lazy_exports

if TYPE_CHECKING:
    from kdc_lab.synth.coco_truth import CATEGORY, annotate
    from kdc_lab.synth.drawn import (
        HIP_CENTRE,
        STANDING,
        STRIDE,
        draw_body,
        draw_people,
        label_visibility,
        write_walking_clip,
    )
    from kdc_lab.synth.generator import clip, still
    from kdc_lab.synth.inputs import background_for, backgrounds_in, image_seed
    from kdc_lab.synth.rendered_frame import HIDDEN, SEEN, RenderedFrame
    from kdc_lab.synth.synth_config import SynthConfig
    from kdc_lab.synth.synthetic_stills import write_stills

__getattr__, __all__ = lazy_exports(
    __name__,
    {
        "coco_truth": (
            "CATEGORY",
            "annotate",
        ),
        "drawn": (
            "HIP_CENTRE",
            "STANDING",
            "STRIDE",
            "draw_body",
            "draw_people",
            "label_visibility",
            "write_walking_clip",
        ),
        "generator": (
            "clip",
            "still",
        ),
        "inputs": (
            "background_for",
            "backgrounds_in",
            "image_seed",
        ),
        "rendered_frame": (
            "HIDDEN",
            "SEEN",
            "RenderedFrame",
        ),
        "synth_config": ("SynthConfig",),
        "synthetic_stills": ("write_stills",),
    },
)

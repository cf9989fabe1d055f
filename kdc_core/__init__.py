"""Keypoints as Dynamic Centroids: masks, skeletons and ids of all people in a camera image.

::

    import kdc_core

    model = kdc_core.load()
    people = model("street.jpg")
    for frame, people in model.track("video.mp4"):
        view = kdc_core.draw(frame.image, people)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kdc_core.lazy import lazy_exports

if TYPE_CHECKING:
    from kdc_core.api import Model, draw, load
    from kdc_core.config import CentroidMode, DecodeConfig
    from kdc_core.errors import InputError
    from kdc_core.io import to_supervision
    from kdc_core.pipeline import Pipeline
    from kdc_core.session import Result, Session
    from kdc_core.types import Frame, People, Person, Phase

__version__ = "0.1.0"
__all__ = [
    "CentroidMode",
    "DecodeConfig",
    "Frame",
    "InputError",
    "Model",
    "People",
    "Person",
    "Phase",
    "Pipeline",
    "Result",
    "Session",
    "__version__",
    "draw",
    "load",
    "to_supervision",
]

__getattr__, _ = lazy_exports(
    __name__,
    {
        "api": ("Model", "draw", "load"),
        "config": ("CentroidMode", "DecodeConfig"),
        "errors": ("InputError",),
        "io": ("to_supervision",),
        "pipeline": ("Pipeline",),
        "session": ("Result", "Session"),
        "types": ("Frame", "People", "Person", "Phase"),
    },
)


def __dir__() -> list[str]:
    return __all__

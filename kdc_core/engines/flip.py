"""Flip test: average the fields of an image and of its mirror image."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from kdc_core.engines.base import Engine
from kdc_core.errors import InputError
from kdc_core.letterbox import Letterbox
from kdc_core.skeleton import DIRECTED, FIELDS, FLIP, K
from kdc_core.types import Fields, Frame

#: index of the mirrored directed edge
_FLIP_EDGES = np.array([DIRECTED.index((FLIP[a], FLIP[b])) for a, b in DIRECTED])
_MIRROR = np.array([-1, 1], np.float32)[None, :, None, None]  # x offsets change their sign


class FlipEngine:
    """Run two forward passes of another engine for each frame: twice the time, less noise.

    Closing this engine closes the other one.
    """

    def __init__(self, engine: Engine) -> None:
        """Wrap ``engine``.

        Raises:
            InputError: the engine's long side is not a multiple of its ``info.multiple``, so that
                cells of the mirror image would lie between cells.
        """
        info = engine.info
        if info.longest % info.multiple:
            raise InputError(
                f"flip test: expected a long side that is a multiple of {info.multiple}, "
                f"got {info.longest}"
            )
        self.engine, self.info, self.model = engine, info, engine.model
        self.name = f"{engine.name}, flip test"

    def __call__(self, frame: Frame) -> Fields:
        """Return the mean fields of the frame and of its mirror image."""
        letterbox = Letterbox.fit(frame.size, self.info.longest, self.info.multiple)
        # the canvas has a whole number of cells, so that cells are mirrored onto cells
        canvas = letterbox.image(frame.image)
        plain = self.engine(replace(frame, image=canvas))
        flipped = self.engine(replace(frame, image=np.ascontiguousarray(canvas[:, ::-1])))
        back = mirror(flipped)
        means = {name: (getattr(plain, name) + getattr(back, name)) / 2 for name in FIELDS}
        return replace(plain, letterbox=letterbox, **means)

    def close(self) -> None:
        """Close the wrapped engine."""
        self.engine.close()


def mirror(fields: Fields) -> Fields:
    """Return the fields of the mirrored image; left and right keypoints are swapped.

    The image must fill the network's input, without padding.
    """
    return replace(
        fields,
        heat=fields.heat[FLIP, :, ::-1],
        short=fields.short[FLIP, :, :, ::-1] * _MIRROR,
        mid=fields.mid[_FLIP_EDGES, :, :, ::-1] * _MIRROR,
        anchor=fields.anchor[FLIP, :, :, ::-1] * _MIRROR,
        log_sigma=fields.log_sigma[:, ::-1],
        vis=fields.vis[FLIP[:K], :, ::-1],
        seg=fields.seg[:, ::-1],
    )

"""Flip test: the mean of what a network says of a picture and of its mirror image."""

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
_MIRROR = np.array([-1, 1], np.float32)[None, :, None, None]  # an offset points the other way in x


class FlipEngine:
    """Two forward passes of another engine for each frame: twice the time, steadier fields."""

    def __init__(self, engine: Engine) -> None:
        """Wraps it.

        Raises:
            ValueError: mirrored cells would not lie on cells.
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
        """Fields of the frame, each the mean of two."""
        letterbox = Letterbox.fit(frame.size, self.info.longest, self.info.multiple)
        canvas = letterbox.image(frame.image)  # of whole cells, so that the mirror's cells fit
        plain = self.engine(replace(frame, image=canvas))
        flipped = self.engine(replace(frame, image=np.ascontiguousarray(canvas[:, ::-1])))
        back = mirror(flipped)
        means = {name: (getattr(plain, name) + getattr(back, name)) / 2 for name in FIELDS}
        return replace(plain, letterbox=letterbox, **means)

    def close(self) -> None:
        """Close the other engine."""
        self.engine.close()


def mirror(fields: Fields) -> Fields:
    """The fields of the mirrored picture, from those of the picture: left and right change places.

    The picture fills the network's input, without padding.
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

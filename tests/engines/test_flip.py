"""The flip test: mirrored fields are the fields of the mirrored image."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest

from kdc_core.config import DecodeConfig
from kdc_core.decode import decode
from kdc_core.engines import open_engine
from kdc_core.engines.flip import FlipEngine, mirror
from kdc_core.skeleton import FLIP, K
from kdc_core.types import Fields, Frame
from tools.gpu_check.crowd_fields import crowd

HEADS = ("heat", "short", "mid", "anchor", "log_sigma", "vis", "seg")


def test_mirror_mirrors_people():
    fields, _ = crowd(3, np.random.default_rng(2), (320, 224), 320, noise=0.0)
    there, back = decode(fields, DecodeConfig()), decode(mirror(fields), DecodeConfig())
    assert len(there) == len(back) == 3
    width = fields.letterbox.frame_size[0]
    order = [np.argmin(np.abs(back.score - score)) for score in there.score]
    mirrored = back.keypoints[order][:, FLIP[:K]]
    mirrored[:, :, 0] = width - 1 - mirrored[:, :, 0]
    np.testing.assert_allclose(mirrored, there.keypoints, atol=0.05)
    assert (back.labels[:, ::-1] > 0).sum() == pytest.approx((there.labels > 0).sum(), rel=0.01)


def test_mirror_twice_is_the_identity():
    made, _ = crowd(2, np.random.default_rng(2), (96, 160), 160, noise=0.3)
    twice = mirror(mirror(made))
    for name in HEADS:
        np.testing.assert_array_equal(getattr(twice, name), getattr(made, name), name)
    assert {f.name for f in fields(Fields)} == {
        *HEADS,
        "stride",
        "seg_stride",
        "radius",
        "letterbox",
    }


@pytest.mark.parametrize("size", [(181, 117), (117, 181)])
def test_flip_engine_is_symmetric(models, size):
    """Portrait images are padded on the right, their mirror images on the left."""
    rng = np.random.default_rng(3)
    image = rng.integers(0, 256, (size[1], size[0], 3), np.uint8)
    engine = FlipEngine(open_engine("onnxruntime", models.onnx, threads=1, long_side=192))
    plain = engine(Frame(image))
    canvas = plain.letterbox.image(image)
    one = engine(Frame(canvas))
    other = mirror(engine(Frame(np.ascontiguousarray(canvas[:, ::-1]))))
    for name in HEADS:
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), atol=1e-5)
        np.testing.assert_allclose(getattr(plain, name), getattr(one, name), atol=1e-5)
    assert plain.letterbox.frame_size == size
    assert replace(engine.info, longest=0) == replace(engine.engine.info, longest=0)
    engine.close()


def test_flip_engine_refuses_odd_long_side(models):
    engine = open_engine("onnxruntime", models.onnx, threads=1, long_side=200)
    with pytest.raises(ValueError, match="multiple of 32, got 200"):
        FlipEngine(engine)

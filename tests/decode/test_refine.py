"""Refinement of anchors without a peak, which happens on the person's own pixels only."""

from dataclasses import replace

import numpy as np
import pytest

from kdc_core.config import DecodeConfig, GroupConfig
from kdc_core.decode import find_poses
from kdc_core.decode.refine import refine_unmatched
from kdc_core.letterbox import Letterbox
from kdc_core.skeleton import CENTRE
from kdc_core.types import Fields
from tests.scenes import Scene, draw

pytest.importorskip("torch", reason="targets are made in torch: pip install -e '.[train]'")

LEGS = [13, 14, 15, 16]


def legless(scene: Scene, stretch: float) -> Fields:
    """Fields without peaks of the legs; offsets to anchors are multiplied by ``stretch``."""
    fields = scene.fields()
    fields.heat[LEGS] = 0.01
    return replace(fields, anchor=fields.anchor * np.float32(stretch))


def legs_miss(scene: Scene, fields: Fields, steps: int) -> np.ndarray:
    """Errors (4,) of the first person's legs, pixels."""
    config = DecodeConfig(group=GroupConfig(unmatched_steps=steps))
    poses, _ = find_poses(fields, config)
    nearest = np.linalg.norm(poses.xy[:, 0] - scene.keypoints[0, 0, :2], axis=1).argmin()
    return np.linalg.norm(poses.xy[nearest, LEGS] - scene.keypoints[0, LEGS, :2], axis=1)


@pytest.mark.parametrize("stretch", [0.8, 0.9])
def test_refine_unmatched_removes_most_of_the_error_per_step(stretch):
    scene = draw([(300, 450)], [360])
    fields = legless(scene, stretch)
    before, once, twice = (legs_miss(scene, fields, steps) for steps in (0, 1, 2))
    assert before.max() > 10  # pixels
    assert (once < 0.5 * before + 0.5).all()
    assert twice.max() < 2


def test_refine_unmatched_off_the_person_moves_nothing():
    scene = draw([(300, 450)], [360])
    fields = legless(scene, 0.8)
    fields = replace(fields, seg=np.zeros_like(fields.seg))
    np.testing.assert_array_equal(legs_miss(scene, fields, 0), legs_miss(scene, fields, 2))


def test_refine_unmatched_on_a_neighbour_moves_nothing():
    """There the field fits the neighbour best."""
    scene = draw([(300, 450), (380, 450)], [360, 360])
    poses, _ = find_poses(scene.fields(), DecodeConfig())
    first, second = poses.xy[:, CENTRE, 0].argsort()
    ankle = 15
    matched, xy = poses.matched.copy(), poses.xy.copy()
    matched[first, ankle] = False
    for there, moves in ((poses.xy[second, ankle], False), (poses.xy[first, ankle] + 3, True)):
        xy[first, ankle] = there
        pose = replace(poses, matched=matched, xy=xy)
        refined = refine_unmatched(scene.fields(), pose, GroupConfig())
        assert bool((refined.xy != xy).any()) == moves


def test_refine_unmatched_below_the_image_stays_bounded():
    """The field ends at the border: outside, the offsets of the border's cell are used."""
    scene = draw([(300, 450)], [360])
    whole, rows = scene.fields(), 36  # the image ends at 288, the knees are at 350 pixels
    cut = {name: getattr(whole, name)[..., :rows, :] for name in
           ("heat", "short", "mid", "anchor", "log_sigma", "vis")}  # fmt: skip
    seg = whole.seg[: rows * whole.stride // whole.seg_stride]
    width = whole.heat.shape[2] * whole.stride
    letterbox = Letterbox.fit((width, rows * whole.stride), width, 32)
    fields = replace(whole, **cut, seg=seg, letterbox=letterbox)
    assert scene.keypoints[0, LEGS, 1].min() > 320
    assert legs_miss(scene, fields, 2).max() < 3

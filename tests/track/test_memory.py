"""Silhouettes and the last labels say whose pixels are likely whose; who left is forgotten."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="perfect fields are made by the training targets")

from kdc_core.track import PixelConfig, VideoDecoder
from kdc_core.track.pixel_prior import PixelPrior, shape_factors
from kdc_lab.evaluate.composed_clips import Clip, Drawn
from tests.track.clips import fields_of, play, stamps

FIELDS = fields_of(Clip(()).at(0.0))  # 320 x 240 pixels, 40 x 32 cells of 8 pixels
IDS = np.array([1, 2])


@pytest.fixture
def memory():
    """Two boxes of 40 x 80 pixels far from each other, learned."""
    memory, labels = PixelPrior(PixelConfig(label_inertia=0.2)), np.zeros((240, 320), np.uint16)
    labels[80:160, 40:80], labels[80:160, 240:280] = 1, 2
    memory.update(labels, IDS, np.array([[60.0, 120], [260, 120]]), np.full(2, 40.0), FIELDS, 0.0)
    return memory


def test_a_silhouette_moves_and_grows_with_its_body(memory):
    place, scale = np.array([[160.0, 120], [160, 120]]), np.array([40.0, 80.0])
    shares = memory.occupancy(IDS, place, scale, FIELDS)
    area = (shares > 0.5).sum(axis=(1, 2)) * 64
    assert abs(area[0] - 3200) < 700 and abs(area[1] - 4 * 3200) < 1500
    assert shares[0, 15, 20] == 1 and shares[0, 15, 5] == 0
    assert np.isnan(memory.occupancy(np.array([9]), place[:1], scale[:1], FIELDS)).all()


def test_where_only_one_of_two_usually_is_the_other_counts_less(memory):
    place, scale = np.array([[160.0, 120], [180, 120]]), np.full(2, 40.0)
    factor = shape_factors(memory.occupancy(IDS, place, scale, FIELDS), 0.3)
    left, both, right = factor[:, 15, 18], factor[:, 15, 21], factor[:, 15, 24]
    np.testing.assert_allclose(left, [1, np.exp(-0.3)], rtol=1e-5)
    np.testing.assert_allclose(right, [np.exp(-0.3), 1], rtol=1e-5)
    assert (both == 1).all() and (factor[:, 15, 2] == 1).all()


def test_cells_of_the_last_frame_are_favoured_where_the_body_went(memory):
    place = np.array([[76.0, 120], [260, 120]])  # two cells to the right
    factor = memory.label_factors(IDS, place, FIELDS)
    assert factor[0, 15, 11] == np.float32(1.2) and factor[0, 15, 5] == 1
    assert factor[1, 15, 32] == np.float32(1.2) and factor[1, 15, 11] == 1


def test_while_people_touch_their_silhouettes_stay(memory):
    place, scale = np.array([[150.0, 120], [170, 120]]), np.full(2, 40.0)
    before = memory.occupancy(IDS, place, scale, FIELDS)
    memory.update(np.full((240, 320), 2, np.uint16), IDS, place, scale, FIELDS, 0.5)
    np.testing.assert_array_equal(memory.occupancy(IDS, place, scale, FIELDS), before)


def test_the_forgotten_leave_nothing(memory):
    memory.keep(np.array([2]))
    place, scale = np.array([[60.0, 120], [260, 120]]), np.full(2, 40.0)
    shares = memory.occupancy(IDS, place, scale, FIELDS)
    assert np.isnan(shares[0]).all() and not np.isnan(shares[1]).any()


def out_and_in(t):
    """Feet of somebody who walks out on the right, and in again four seconds later."""
    return (250 + 150 * min(t, 1.0) - 150 * float(np.clip(t - 4.0, 0, 1)), 220.0)


@pytest.mark.parametrize(("hides", "same"), [(False, False), (True, True)])
def test_who_hides_for_three_seconds_is_known_again_but_not_who_left(hides, same):
    curtain = [(0.0, 0.0, 320.0, 240.0)]
    clip = Clip(
        (Drawn((lambda t: (160.0, 220.0)) if hides else out_and_in, 150),),
        pillars=lambda t: curtain if hides and 0.5 <= t < 3.5 else [],
    )
    ids = [
        people.ids.tolist()
        for _, shot, people in play(clip, stamps(5.2, 15), VideoDecoder())
        if (shot.owner == 1).sum() > 3000
    ]
    assert ids[0] == [1]
    assert (ids[-1] == [1]) == same

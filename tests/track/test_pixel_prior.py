"""Silhouettes and last labels as priors, and how long people are remembered."""

from __future__ import annotations

import numpy as np
import pytest

from kdc_core.track import PixelConfig
from kdc_core.track.pixel_prior import PixelPrior, shape_factors
from tests.track.steps import observation, pointing

FIELDS = pointing(observation())  # 320 x 240 pixels, 40 x 30 cells of 8 pixels
IDS = np.array([1, 2])


@pytest.fixture
def prior():
    """A prior that has learned two boxes of 40 x 80 pixels, far from each other."""
    prior, labels = PixelPrior(PixelConfig(label_inertia=0.2)), np.zeros((240, 320), np.uint16)
    labels[80:160, 40:80], labels[80:160, 240:280] = 1, 2
    prior.update(labels, IDS, np.array([[60.0, 120], [260, 120]]), np.full(2, 40.0), FIELDS, 0.0)
    return prior


def test_occupancy_moves_and_grows_with_the_body(prior):
    place, scale = np.array([[160.0, 120], [160, 120]]), np.array([40.0, 80.0])
    shares = prior.occupancy(IDS, place, scale, FIELDS)
    area = (shares > 0.5).sum(axis=(1, 2)) * 64
    assert abs(area[0] - 3200) < 700 and abs(area[1] - 4 * 3200) < 1500
    assert shares[0, 15, 20] == 1 and shares[0, 15, 5] == 0
    assert np.isnan(prior.occupancy(np.array([9]), place[:1], scale[:1], FIELDS)).all()


def test_shape_factors_are_lower_where_another_person_usually_is(prior):
    place, scale = np.array([[160.0, 120], [180, 120]]), np.full(2, 40.0)
    factor = shape_factors(prior.occupancy(IDS, place, scale, FIELDS), 0.3)
    left, both, right = factor[:, 15, 18], factor[:, 15, 21], factor[:, 15, 24]
    np.testing.assert_allclose(left, [1, np.exp(-0.3)], rtol=1e-5)
    np.testing.assert_allclose(right, [np.exp(-0.3), 1], rtol=1e-5)
    assert (both == 1).all() and (factor[:, 15, 2] == 1).all()


def test_label_factors_move_with_the_body(prior):
    place = np.array([[76.0, 120], [260, 120]])  # two cells to the right
    factor = prior.label_factors(IDS, place, FIELDS)
    assert factor[0, 15, 11] == np.float32(1.2) and factor[0, 15, 5] == 1
    assert factor[1, 15, 32] == np.float32(1.2) and factor[1, 15, 11] == 1


def test_pixel_prior_update_keeps_silhouettes_of_people_who_touch(prior):
    place, scale = np.array([[150.0, 120], [170, 120]]), np.full(2, 40.0)
    before = prior.occupancy(IDS, place, scale, FIELDS)
    prior.update(np.full((240, 320), 2, np.uint16), IDS, place, scale, FIELDS, 0.5)
    np.testing.assert_array_equal(prior.occupancy(IDS, place, scale, FIELDS), before)


def test_pixel_prior_keep_deletes_the_others(prior):
    prior.keep(np.array([2]))
    place, scale = np.array([[60.0, 120], [260, 120]]), np.full(2, 40.0)
    shares = prior.occupancy(IDS, place, scale, FIELDS)
    assert np.isnan(shares[0]).all() and not np.isnan(shares[1]).any()


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize(
    ("low", "offset", "inside"),
    [(True, -0.5, 1), (True, -1.5, 0), (False, 0.5, 1), (False, 1.5, 0)],
)
def test_pixel_prior_learns_up_to_the_borders_of_the_image(axis, low, offset, inside):
    """The image is full of the person; points of a silhouette of scale 16 are a pixel apart."""
    prior, scale = PixelPrior(), np.array([16.0])
    origin = np.array([[160.0, 120.0]])
    origin[0, axis] = 0.1 if low else (318.9, 238.9)[axis]
    labels = np.ones((240, 320), np.uint16)
    prior.update(labels, np.array([1]), origin, scale, FIELDS, 0.0)
    there = np.array([[163.5, 123.5]])  # a cell in the middle
    there[0, axis] -= offset
    shares = prior.occupancy(np.array([1]), there, scale, FIELDS)
    assert shares[0, 15, 20] == inside

"""One coordinate convention: frame ↔ input ↔ grid."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdc_core.config import ModelInfo
from kdc_core.geometry import length
from kdc_core.letterbox import PAD_VALUE, Letterbox, cell_centres, to_grid


@pytest.mark.parametrize(
    ("frame", "longest", "expected"),
    [((640, 480), 576, (576, 448)), ((768, 576), 640, (640, 512)), ((640, 360), 640, (640, 384)),
     ((333, 500), 640, (448, 640)), ((401, 401), 401, (448, 448)), ((1, 1), 640, (640, 640))],
)  # fmt: skip
def test_input_size_is_a_multiple(frame, longest, expected):
    assert Letterbox.fit(frame, longest, 64).input_size == expected


@pytest.mark.parametrize(
    ("octaves", "expected"), [(1, (768, 448)), (2, (768, 448)), (3, (768, 512))]
)
def test_the_smallest_octave_is_of_whole_cells_of_the_backbone(octaves, expected):
    info = ModelInfo(octaves=octaves)
    assert Letterbox.fit((1280, 720), 768, info.multiple).input_size == expected


@given(st.integers(1, 4000), st.integers(1, 4000), st.floats(0, 1), st.floats(0, 1))
def test_there_and_back(width, height, x, y):
    letterbox = Letterbox.fit((width, height), 640, 64)
    point = np.array([x * (width - 1), y * (height - 1)])
    there = letterbox.to_input(point)
    assert (there >= -0.5).all()
    assert (there <= np.array(letterbox.input_size) - 0.5).all()
    np.testing.assert_allclose(letterbox.to_frame(there), point, atol=2e-3 * max(width, height))


def test_padding_is_grey_and_right_or_below():
    image = np.full((300, 200, 3), 10, np.uint8)
    boxed = Letterbox.fit((200, 300), 300, 64).image(image)
    assert boxed.shape == (320, 256, 3)
    assert (boxed[:300, :200] == 10).all()
    assert (boxed[300:] == PAD_VALUE).all()
    assert (boxed[:, 200:] == PAD_VALUE).all()


def test_a_block_of_pixels_lands_on_its_centre():
    # the middle of a 2×2 block in a frame that is doubled is the middle of a 4×4 block
    letterbox = Letterbox.fit((320, 240), 640, 64)
    np.testing.assert_allclose(letterbox.to_input(np.array([10.5, 20.5])), [21.5, 41.5])


def test_cells_and_grid_are_inverse():
    cells = cell_centres(4, 6, 8)
    assert cells.shape == (4, 6, 2)
    assert tuple(cells[0, 0]) == (3.5, 3.5)
    assert tuple(cells[2, 5]) == (43.5, 19.5)
    np.testing.assert_allclose(to_grid(cells[2, 5], 8), [5, 2])


def test_length_is_the_norm_to_the_bit():
    for kind in (np.float32, np.float64):
        vectors = np.random.default_rng(0).normal(0, 100, (40, 7, 2)).astype(kind)
        np.testing.assert_array_equal(length(vectors), np.linalg.norm(vectors, axis=2))

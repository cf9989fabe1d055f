"""Colour descriptors, and people who are told apart by them."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from kdc_core.track import AssociationConfig, VideoDecoder, appearance
from kdc_lab.evaluate.composed_clips import Clip, Drawn
from tests.track.clips import fields_of, id_of, stamps

RED, BLUE = (40, 40, 180), (170, 60, 40)  # BGR


def colours(*bgr: tuple[int, int, int], cells: int = 60) -> np.ndarray:
    """Descriptors (n, 2, 24) of people in one noisy colour each."""
    rng = np.random.default_rng(0)
    found = []
    for colour in bgr:
        pixels = np.clip(rng.normal(colour, 8, (1, 2 * cells, 3)), 0, 255).astype(np.uint8)
        lab = cv2.cvtColor(pixels, cv2.COLOR_BGR2LAB)[0]
        found.append(appearance.histograms(lab, np.arange(2 * cells) % 2, 2))
    return np.stack(found)


def distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return appearance.descriptor_distance(a, b, AssociationConfig().colour_range)


def test_descriptor_distance_of_clothes_exceeds_that_of_light():
    darker = tuple(round(0.8 * value) for value in RED)
    away = distance(colours(RED), colours(RED, darker, BLUE))
    assert away[0, 0] < 0.05
    assert away[0, 1] < 0.5
    assert away[0, 2] == 1


def test_descriptors_ignore_unknown_halves():
    known = colours(RED, BLUE)
    half = known.copy()
    half[:, 1] = np.nan  # legs are hidden
    assert np.allclose(distance(half, half), [[0, 1], [1, 0]], atol=1e-6)
    assert np.isnan(distance(known, appearance.unknown_descriptors(3))).all()
    few = appearance.histograms(np.full((5, 3), 128, np.uint8), np.zeros(5, int), 1)
    assert np.isnan(few).all()
    learnt = appearance.update_descriptors(half, known, np.array([0.5, 0.5]))
    assert np.array_equal(learnt[:, 1], known[:, 1])
    assert np.array_equal(
        appearance.update_descriptors(known, appearance.unknown_descriptors(2), np.ones(2)), known
    )


def test_histograms_have_mass_one():
    rng = np.random.default_rng(1)
    lab = rng.integers(0, 256, (400, 3), dtype=np.uint8)
    found = appearance.histograms(lab, rng.integers(0, 5, 400), 6).reshape(6, 3, appearance.BINS)
    assert np.allclose(found[:5].sum(axis=2), 1) and (found[:5] >= 0).all()
    assert np.isnan(found[5]).all()


@pytest.mark.parametrize(("with_picture", "kept"), [(True, True), (False, False)])
def test_video_decoder_recognises_people_by_their_clothes(with_picture, kept):
    pytest.importorskip("torch", reason="perfect fields are made by the training targets")

    def turning(x: float, speed: float):
        return lambda t: (x + speed * (1.6 - abs(t - 1.6)), 215.0)  # there and back again

    # two people of one build meet behind a wall; by their speed they should have passed each other
    clip = Clip(
        (Drawn(turning(40, 70), 150, colour=RED), Drawn(turning(280, -70), 150, colour=BLUE)),
        pillars=lambda t: [(95.0, 0.0, 225.0, 240.0)],
    )
    decoder, ids = VideoDecoder(), [set(), set()]
    for t in stamps(3.2).tolist():
        shot = clip.at(t)
        people = decoder(fields_of(shot), t, shot.image if with_picture else None)
        for figure in np.flatnonzero(shot.share > 0.6):
            ids[figure].add(id_of(shot, people, figure))
    assert (ids == [{1}, {2}]) is kept

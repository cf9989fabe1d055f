"""Who gets which keypoint when people are close to one another."""

import numpy as np
import pytest

from kdc_core.config import EXACT, DecodeConfig
from kdc_core.decode import decode
from kdc_core.types import Fields
from tests.scenes import Scene, draw

pytest.importorskip("torch", reason="targets are made in torch: pip install -e '.[train]'")

LEFT_HIP, LEFT_KNEE, LEFT_ANKLE = 11, 13, 15


def misses(scene: Scene, config: DecodeConfig, fields: Fields | None = None) -> np.ndarray:
    """Pixels (P, 17) between the drawn keypoints and those of the person found nearest to them."""
    people = decode(fields or scene.fields(), config)
    away = people.keypoints[None, :, :, :2] - scene.keypoints[:, None, :, :2]
    away = np.linalg.norm(away, axis=3)
    return away[np.arange(len(away)), away.mean(axis=2).argmin(axis=1)]


@pytest.mark.parametrize("x", range(300, 306))  # who is begun with, is different
def test_a_neighbours_keypoint_is_not_taken_for_one_that_is_missing(x):
    """The neighbour's ankle is next to the own knee, but its shank leads to another knee."""
    scene = draw([(x + 22, 374), (x, 450)], [390, 300])
    apart = scene.keypoints[0, LEFT_ANKLE, :2] - scene.keypoints[1, LEFT_KNEE, :2]
    assert np.linalg.norm(apart) < 35  # pixels; a match may be 45 away
    scene.keypoints[1, LEFT_ANKLE] = 0
    away = misses(scene, DecodeConfig())
    assert away[0].max() < 0.5  # keeps its ankle
    assert np.delete(away[1], LEFT_ANKLE).max() < 0.5


@pytest.mark.parametrize("hidden", [0, 5, LEFT_HIP, LEFT_ANKLE])
def test_a_hidden_keypoint_without_a_peak_is_where_the_seen_ones_say(hidden):
    """At hidden keypoints, the anchor field tells of whoever is in front: 15 to 45 pixels off."""
    scene = draw([(300, 430), (350, 450)], [300, 380])
    assert scene.keypoints[0, hidden, 2] == 1
    fields = scene.fields()
    fields.heat[hidden] = 0.01  # nobody's is found
    assert misses(scene, DecodeConfig(), fields).max() < 3  # pixels


@pytest.mark.parametrize("apart", [10, 14])
def test_exact_fields_tell_people_apart_whom_learned_fields_do_not(apart):
    scene = draw([(300, 450), (300 + apart, 454)], [220, 210])
    assert misses(scene, EXACT).max() < 0.5  # pixels
    assert misses(scene, DecodeConfig()).max() > 10

"""Keypoints of people who are close to one another."""

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


@pytest.mark.parametrize("x", range(300, 306))  # the person who is grown first differs
def test_group_does_not_match_a_neighbours_keypoint(x):
    """The neighbour's ankle is close to the person's knee, but its shank leads to another knee."""
    scene = draw([(x + 22, 374), (x, 450)], [390, 300])
    apart = scene.keypoints[0, LEFT_ANKLE, :2] - scene.keypoints[1, LEFT_KNEE, :2]
    assert np.linalg.norm(apart) < 35  # pixels; a match may be 45 away
    scene.keypoints[1, LEFT_ANKLE] = 0
    away = misses(scene, DecodeConfig())
    assert away[0].max() < 0.5  # keeps its ankle
    assert np.delete(away[1], LEFT_ANKLE).max() < 0.5


@pytest.mark.parametrize("hidden", [0, 5, LEFT_HIP, LEFT_ANKLE])
def test_group_completes_a_hidden_keypoint_from_visible_ones(hidden):
    """At hidden keypoints, the anchor field is that of the person in front: 15 to 45 pixels off."""
    scene = draw([(300, 430), (350, 450)], [300, 380])
    assert scene.keypoints[0, hidden, 2] == 1
    fields = scene.fields()
    fields.heat[hidden] = 0.01  # there is no peak
    assert misses(scene, DecodeConfig(), fields).max() < 3  # pixels


@pytest.mark.parametrize("apart", [10, 14])
def test_exact_config_separates_people_that_the_default_merges(apart):
    scene = draw([(300, 450), (300 + apart, 454)], [220, 210])
    assert misses(scene, EXACT).max() < 0.5  # pixels
    assert misses(scene, DecodeConfig()).max() > 10

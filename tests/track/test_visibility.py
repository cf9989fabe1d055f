"""The primary anchor is stable while confidences flicker, and moves fast when it is hidden."""

from __future__ import annotations

import numpy as np
import pytest

from kdc_core.decode.centroid import SEEN_CENTRE
from kdc_core.skeleton import ANCHORS, CENTRE, K
from kdc_core.track import VisibilityConfig
from kdc_core.track import visibility as v
from kdc_lab.synth import STANDING

PEOPLE, SECONDS = 20, 60.0
#: where the anchors of a standing person are, in scales
SHAPE = np.repeat(np.concatenate([STANDING, [[0, -0.5]]])[None] * 1.8, PEOPLE, axis=0)


def flicker(rate, rng, correlation=0.15):
    """Return confidences (n, T, 18) with noise of 0.1 and 15 occlusions a minute, and the truth."""
    n, step = round(SECONDS * rate), np.exp(-1 / rate / correlation)
    base = rng.uniform(0.75, 0.95, (PEOPLE, 17))
    noise = np.zeros((n, PEOPLE, 17))
    noise[0] = rng.normal(0, 0.1, (PEOPLE, 17))
    for i in range(1, n):
        noise[i] = step * noise[i - 1] + np.sqrt(1 - step**2) * rng.normal(0, 0.1, (PEOPLE, 17))
    hidden = np.zeros((n, PEOPLE, 17), bool)
    for person in range(PEOPLE):
        t = rng.exponential(3)
        while t < SECONDS:
            span = rng.uniform(0.3, 2)
            parts = rng.choice(17, rng.integers(4, 13), replace=False)
            hidden[int(t * rate) : int((t + span) * rate), person, parts] = True
            t += span + rng.exponential(2.5)
    seen = np.where(hidden, 0.1, base) + noise
    return np.concatenate([seen.clip(0, 1), np.full((n, PEOPLE, 1), 0.9)], axis=2), hidden


@pytest.mark.parametrize("rate", [15.0, 30.0, 60.0])
def test_primary_switches_about_as_often_as_something_is_hidden(rate):
    config = VisibilityConfig()
    confidence, hidden = flicker(rate, np.random.default_rng(4))
    state, switched, blind = v.initial_visibility(confidence[0], config), 0, 0
    for now, away in zip(confidence[1:], hidden[1:], strict=True):
        before, state = state, v.update_visibility(state, now, SHAPE, 1 / rate, config)
        switched += np.count_nonzero(before.primary != state.primary)
        carried = np.flatnonzero(state.primary != CENTRE)
        blind += np.count_nonzero(away[carried, state.primary[carried]])
    literal = np.count_nonzero(np.diff(confidence[..., :17].argmax(axis=2), axis=0))
    assert switched / PEOPLE <= 20  # a minute
    assert literal / PEOPLE > 300  # what argmax in every frame would do
    assert blind / hidden[..., 0].size < 0.01


def test_primary_leaves_a_hidden_keypoint_within_a_fifth_of_a_second():
    config, seen = VisibilityConfig(), np.full((1, 18), 0.8)
    seen[0, 5] = 0.95
    state = v.initial_visibility(seen, config)
    assert state.primary[0] == 5
    seen[0, 5] = 0.05
    for _ in range(6):
        state = v.update_visibility(state, seen, SHAPE[:1], 1 / 30, config)
    assert state.primary[0] != 5
    assert state.weight[0, 5] == 0  # what is hidden lets go at once
    kept = state.primary[0]
    for _ in range(30):
        state = v.update_visibility(state, seen, SHAPE[:1], 1 / 30, config)
    assert state.primary[0] == kept


def test_keypoint_is_not_visible_after_one_good_frame():
    config, seen = VisibilityConfig(), np.full((1, 18), 0.8)
    seen[0, 9] = 0.0
    state = v.initial_visibility(seen, config)
    seen[0, 9] = 1.0
    state = v.update_visibility(state, seen, SHAPE[:1], 1 / 30, config)
    seen[0, 9] = 0.0
    state = v.update_visibility(state, seen, SHAPE[:1], 1 / 30, config)
    assert not state.on[0, 9] and state.weight[0, 9] == 0


def test_primary_is_the_centre_without_keypoints():
    config = VisibilityConfig()
    state = v.initial_visibility(np.full((1, 18), 0.9), config)
    for _ in range(30):
        state = v.update_visibility(state, np.full((1, 18), 0.1), SHAPE[:1], 1 / 30, config)
    assert state.primary[0] == CENTRE and state.weight[0, CENTRE] > 0.5


def test_weights_fade_in_and_their_sum_never_vanishes():
    config, rng = VisibilityConfig(), np.random.default_rng(0)
    state = v.initial_visibility(rng.random((50, 18)), config)
    for _ in range(100):
        before = state.weight
        state = v.update_visibility(state, rng.random((50, 18)), SHAPE[[0] * 50], 1 / 30, config)
        change = state.weight - before
        assert change[:, :K].max() < 0.35 and change[:, CENTRE].max() < 0.35 * SEEN_CENTRE
        assert (state.weight >= 0).all() and (state.weight.sum(axis=1) > 0).all()


def test_find_switches_states_the_reason():
    config, seen = VisibilityConfig(), np.full((1, 18), 0.8)
    seen[0, 5] = 0.95
    before = after = v.initial_visibility(seen, config)
    seen[0, 5], seen[0, 0] = 0.0, 0.9
    while after.primary[0] == 5:
        before, after = after, v.update_visibility(after, seen, SHAPE[:1], 1 / 30, config)
    (event,) = v.find_switches(before, after, np.array([7]), 1.25)
    assert (event.id, event.before, event.stamp) == (7, 5, 1.25)
    assert event.reason.startswith("left_shoulder 0.") and ANCHORS[event.after] in event.reason
    with pytest.raises(AttributeError):
        event.id = 8


def test_primary_moves_far_from_hidden_keypoints():
    config, seen = VisibilityConfig(), np.full((1, 18), 0.8)
    seen[0, 11] = 0.95  # the left hip carries …
    state = v.initial_visibility(seen, config)
    seen[0, 11:17] = 0.0  # … and the legs are hidden, the other hip first to follow
    while state.primary[0] == 11:
        state = v.update_visibility(state, seen, SHAPE[:1], 1 / 30, config)
    assert state.primary[0] in range(5)  # the head

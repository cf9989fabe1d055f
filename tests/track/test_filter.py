"""Kalman and One-Euro filters: independent of the frame rate, and less noisy than their input."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from kdc_core.track import SmoothingConfig, kalman, one_euro
from kdc_core.track.kalman import BODY, POINTS


def some(people=3, seed=0):
    rng = np.random.default_rng(seed)
    motion = kalman.initiate(
        rng.uniform(0, 300, (people, POINTS, 2)), rng.uniform(1, 5, (people, POINTS)),
        rng.uniform(10, 90, (people, POINTS)),
    )  # fmt: skip
    return kalman.predict(motion, 0.1, np.full((people, POINTS), 900.0))


@settings(max_examples=50, deadline=None)
@given(cuts=st.lists(st.floats(0.001, 0.2), min_size=1, max_size=6))
def test_kalman_predict_many_short_steps_equal_a_long_one(cuts):
    motion = stepped = some()
    density = np.full((3, POINTS), 900.0)
    for dt in cuts:
        stepped = kalman.predict(stepped, dt, density)
    once = kalman.predict(motion, sum(cuts), density)
    np.testing.assert_allclose(stepped.xy, once.xy, rtol=1e-9)
    np.testing.assert_allclose(stepped.variance, once.variance, rtol=1e-6)


def test_kalman_learns_a_walk_from_noisy_positions():
    rng, speed = np.random.default_rng(1), np.array([120.0, -30.0])
    motion = kalman.initiate(np.zeros((1, POINTS, 2)), np.full((1, POINTS), 3.0),
                          np.full((1, POINTS), 80.0))  # fmt: skip
    for i in range(1, 46):
        motion = kalman.predict(motion, 1 / 30, np.full((1, POINTS), 50.0**2 / 10))
        seen = speed * i / 30 + rng.normal(0, 3, (1, POINTS, 2))
        motion = kalman.correct(motion, seen, np.full((1, POINTS), 3.0))
    error = np.linalg.norm(motion.xy[0] - speed * 1.5, axis=1)
    assert np.sqrt((error**2).mean()) < 3.0  # raw: 3 · √2
    assert np.linalg.norm(motion.velocity[0] - speed, axis=1).mean() < 20


def test_kalman_correct_keeps_variances_positive_and_unmeasured_points():
    motion = some()
    noise = np.full((3, POINTS), 1e-3)
    noise[:, 4] = np.inf
    after = kalman.correct(motion, motion.xy + 5, noise)
    pp, pv, vv = np.moveaxis(after.variance, -1, 0)
    assert (pp > 0).all() and (pp * vv - pv**2 >= 0).all()
    np.testing.assert_array_equal(after.xy[:, 4], motion.xy[:, 4])
    np.testing.assert_allclose(after.xy[:, 5], motion.xy[:, 5] + 5, atol=1e-3)


def test_kalman_coast_slows_down_and_keeps_the_shape():
    motion = some()
    motion.velocity[:] = 100.0
    shape = np.random.default_rng(3).uniform(-50, 50, (3, 18, 2))
    for _ in range(60):
        motion = kalman.predict(motion, 1 / 30, np.zeros((3, POINTS)))
        body = motion.xy[:, BODY, None] + shape
        motion = kalman.coast(motion, body, 1 / 30, joint_return=0.2, coast_time=2.0)
    np.testing.assert_allclose(motion.velocity, 100 * np.exp(-1.0), rtol=1e-6)
    np.testing.assert_allclose(motion.xy[:, :18], body, atol=0.1)


def test_one_euro_shakes_less_and_follows_a_quick_arm():
    rng, rate = np.random.default_rng(0), 30
    still = rng.normal(0, 0.02, (90, 1, 18, 2))
    state, shown = one_euro.initial_state(still[0]), []
    for value in still[1:]:
        state = one_euro.filter_keypoints(state, value, 1 / rate, SmoothingConfig())
        shown.append(state.value)
    shake = np.diff(np.array(shown)[20:], n=2, axis=0).std() / np.diff(still, n=2, axis=0).std()
    assert shake < 0.35
    state = one_euro.initial_state(np.zeros((1, 18, 2)))
    for i in range(1, 16):  # half a second at 3 scales a second
        state = one_euro.filter_keypoints(
            state, np.full((1, 18, 2), 3 * i / rate), 1 / rate, SmoothingConfig()
        )
    assert abs(state.value - 1.5).max() < 0.2

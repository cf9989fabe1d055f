"""HOTA, IDF1 and CLEAR switches on sequences whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from kdc_lab.evaluate.identity_metrics import ALPHAS, Frame, has_people, hota, idf1, switches


def frames(answers, similarity=0.9):
    """Two people for the whole time; ``answers`` are their ids frame by frame."""
    return [
        Frame(np.array([0, 1]), np.array(ids), np.where(np.eye(2) > 0, similarity, 0.05))
        for ids in answers
    ]


def test_metrics_of_a_perfect_prediction_are_one():
    perfect = frames([(7, 8)] * 10, similarity=1.0)
    assert hota(perfect) == {"HOTA": 1.0, "DetA": 1.0, "AssA": 1.0}
    assert idf1(perfect) == (1.0, {0: 7, 1: 8})
    assert switches(perfect) == []


def test_metrics_of_a_swap_half_way():
    swapped = frames([(7, 8)] * 5 + [(8, 7)] * 5, similarity=1.0)
    assert idf1(swapped)[0] == pytest.approx(0.5)
    assert switches(swapped) == [(5, 0), (5, 1)]
    # every pair agrees in 5 frames and lies in the union of 15: AssA = 1/3
    assert hota(swapped)["AssA"] == pytest.approx(1 / 3)
    assert hota(swapped)["HOTA"] == pytest.approx(np.sqrt(1 / 3))


def test_hota_counts_a_poor_mask_at_low_thresholds():
    poor = frames([(7, 8)] * 4, similarity=0.5)
    assert hota(poor)["HOTA"] == pytest.approx(np.mean(ALPHAS <= 0.5 + 1e-9))


def test_metrics_of_missed_and_false_people():
    seen = Frame(np.array([0]), np.array([7, 9]), np.array([[1.0, 0.0]]))
    missed = Frame(np.array([0]), np.zeros(0, int), np.zeros((1, 0)))
    value, naming = idf1([seen, missed])
    assert value == pytest.approx(2 / (2 + 2)) and naming == {0: 7}
    assert hota([seen, missed])["DetA"] == pytest.approx(1 / 3)
    assert hota([missed])["HOTA"] == 0.0


def test_metrics_without_people():
    empty = Frame(np.zeros(0, int), np.zeros(0, int), np.zeros((0, 0)))
    ghost = Frame(np.zeros(0, int), np.array([7]), np.zeros((0, 1)))
    assert not has_people([empty, empty]) and has_people([empty, ghost])
    assert hota([ghost]) == hota([empty]) == {"HOTA": 0.0, "DetA": 0.0, "AssA": 0.0}
    assert idf1([ghost])[0] == idf1([empty])[0] == 0.0


def test_metrics_agree_with_the_trackers_library():
    """Numbers of trackers 2.6.1 (its compute_{hota,identity,clear}_metrics) for the same frames."""
    rng = np.random.default_rng(0)
    ids, played = np.arange(6), []
    for _ in range(60):
        if rng.random() < 0.1:
            rng.shuffle(ids)
        truth = np.sort(rng.choice(6, rng.integers(1, 6), replace=False))
        kept = rng.random(len(truth)) < 0.85
        similarity = 0.3 * rng.random((len(truth), kept.sum()))
        similarity[np.flatnonzero(kept), np.arange(kept.sum())] = rng.uniform(0.3, 1, kept.sum())
        played.append(Frame(truth, ids[truth[kept]] + 10, similarity))
    assert hota(played) == pytest.approx(
        {"HOTA": 0.2732611743071601, "DetA": 0.5209196044219879, "AssA": 0.14406608810754984}
    )
    assert idf1(played)[0] == pytest.approx(0.29461756373937675)
    assert len(switches(played)) == 26

"""People who are reported, by scores that are set by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from kdc_core.track.score_gate import REMEMBERED, ScoreGate
from tests.people import two_people


def scored(seven: float, three: float):
    """Id 7 has pixels and is known by its mask, id 3 by its skeleton."""
    return replace(
        two_people(), score=np.array([0.0, three], np.float32),
        mask_score=np.array([seven, 0.0], np.float32),
    )  # fmt: skip


def test_score_gate_removes_row_and_pixels_below_min_score():
    got = ScoreGate()(scored(0.2, 0.9), 0.5)
    assert got.ids.tolist() == [3] and not got.labels.any()
    got = ScoreGate()(scored(0.9, 0.2), 0.5)
    assert got.ids.tolist() == [7] and (got.labels == 7).sum() == 40
    assert len(ScoreGate()(scored(0.2, 0.2), 0.5)) == 0


def test_score_gate_keeps_people_who_passed_once():
    gate = ScoreGate()
    assert len(gate(scored(0.9, 0.2), 0.5)) == 1
    got = gate(scored(0.1, 0.2), 0.5)
    assert got.ids.tolist() == [7] and (got.labels == 7).any()
    assert gate(scored(0.1, 0.6), 0.5).ids.tolist() == [7, 3]


def test_score_gate_applies_a_new_min_score_to_all():
    gate = ScoreGate()
    assert len(gate(scored(0.6, 0.8), 0.5)) == 2
    assert gate(scored(0.6, 0.8), 0.7).ids.tolist() == [3]
    assert len(gate(scored(0.6, 0.8), 0.5)) == 2


def test_score_gate_remembers_people_who_stay():
    gate = ScoreGate()
    for k in range(5 * REMEMBERED):
        first = 0.1 if k else 0.9
        got = gate(replace(scored(first, 1.0), ids=np.array([7, 8 + k])), 0.5)
        assert 7 in got.ids


def test_score_gate_memory_is_bounded():
    gate = ScoreGate()
    for k in range(5 * REMEMBERED):
        gate(replace(scored(1.0, 1.0), ids=np.array([7, 8 + k])), 0.5)
    assert gate.remembered <= 2 * REMEMBERED + 2

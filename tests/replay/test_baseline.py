"""The guard of ``--baseline``: which figures may fall, and by how much."""

from __future__ import annotations

import json

import pytest

from kdc_core.errors import InputError
from kdc_lab.replay import baseline

FIGURES = [
    ("segm", "AP", "mask AP"),
    ("keypoints", "AP", "keypoint AP"),
    ("same_person", "share", "mask and skeleton by the same prediction"),
    ("tracks", "HOTA", "HOTA"),
    ("tracks", "IDF1", "IDF1"),
]


def summary(section: str, key: str, value: float | None) -> dict:
    return {"truth": {section: {key: value}}}


@pytest.mark.parametrize(("section", "key", "name"), FIGURES)
@pytest.mark.parametrize(
    ("after", "margin", "reported"),
    [
        (0.7501, 0.05, False),  # just inside the margin
        (0.7499, 0.05, True),  # just outside
        (0.8, 0.0, False),  # equal
        (0.7999, 0.0, True),
        (0.9, 0.0, False),  # better
        (None, 0.05, True),  # the figure is missing now
    ],
)
def test_fallen_margin(section, key, name, after, margin, reported):
    lines = baseline.fallen(summary(section, key, after), summary(section, key, 0.8), margin)
    assert len(lines) == reported
    assert all(line.startswith(f"{name}: 0.8000 -> ") for line in lines)


def test_fallen_ignores_figures_that_the_baseline_lacks():
    assert baseline.fallen(summary("segm", "AP", 0.1), summary("segm", "AP", None), 0.0) == []
    assert baseline.fallen(summary("segm", "AP", 0.1), {"truth": {"tracks": None}}, 0.0) == []


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[" * 100_000,
        b"[]",
        b"{}",
        b'{"truth": 1}',
        b'{"truth": {"segm": 1}}',
        b'{"truth": {"segm": {"AP": "high"}}}',
        b'{"truth": {"segm": {"AP": NaN}}}',
    ],
)
def test_read_refuses_other_files(content, tmp_path):
    (tmp_path / "summary.json").write_bytes(content)
    with pytest.raises(InputError, match=r"summary\.json: expected a summary\.json"):
        baseline.read(tmp_path)


def test_read_refuses_summary_without_truth(tmp_path):
    (tmp_path / "summary.json").write_text(json.dumps({"truth": None}))
    with pytest.raises(InputError, match="no figures against a ground truth"):
        baseline.read(tmp_path)

"""Tables and files."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from kdc_core.io.files import sha256, table, write_json
from kdc_lab.evaluate.conditions import figures


def test_table_aligns_and_rounds() -> None:
    text = table(["mode", "AP"], [["static", 0.12345], ["x", None], ["n", 3]])
    assert text.splitlines() == [
        "| mode   | AP    |",
        "|--------|-------|",
        "| static | 0.123 |",
        "| x      | -     |",
        "| n      | 3     |",
    ]


def test_figures_name_both_parts_and_their_intervals() -> None:
    names = ("AP", "AP50", "AP75", "APS", "APM", "APL", "AR100", "AR")
    values = {name: 0.5 for name in names}
    same = {"share": 0.9, "same": 9, "found_both_ways": 10, "people": 12}
    text = figures(
        {"segm": {**values, "AP_95": [0.4, 0.6]}, "keypoints": values, "same_person": same}
    )
    assert "masks" in text
    assert "keypoints" in text
    assert "95 % interval of mask AP over images: 0.400 to 0.600" in text
    assert "9 of the 10 people" in text


def test_sha256_and_json(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a.json"
    write_json(path, {"a": [1, None]})
    assert json.loads(path.read_text()) == {"a": [1, None]}
    assert sha256(path) == hashlib.sha256(path.read_bytes()).hexdigest()

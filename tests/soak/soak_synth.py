"""Synthetic people in numbers: what their truth decodes to, and how many pictures a second."""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import replace

import pytest

pytest.importorskip("anny", reason="renders people: pip install -e '.[synth]'")
pytest.importorskip("warp", reason="renders people: pip install -e '.[synth]'")

from kdc_core.config import EXACT, ModelInfo
from kdc_core.pipeline import Pipeline
from kdc_core.system.worker_pool import Processes
from kdc_lab.evaluate.annotated_images import load
from kdc_lab.evaluate.coco_metrics import predictions
from kdc_lab.evaluate.ground_truth_engine import GroundTruthEngine
from kdc_lab.synth import SynthConfig
from kdc_lab.synth.synthetic_stills import render_jpeg, write_stills

CPU = SynthConfig(device="cpu")
PICTURES, WARM_UP, PACED = 40, 8, 120


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("change", "floors"),
    [({}, (0.91, 0.97)), ({"people": (1, 4)}, (0.95, 0.97)), ({"crowding": 1.0}, (0.69, 0.94))],
)
def test_fields_made_from_the_truth_decode_to_it(change, floors, tmp_path, row):
    """People in front of one another measure the grid more than the truth: see the finer one."""
    config = replace(CPU, **change)
    made = write_stills(tmp_path, PICTURES, 5, config, [])
    pictures = load(tmp_path / "images", tmp_path / "annotations.json")
    found = {}
    for longest in (640, 1280):
        pipeline = Pipeline(GroundTruthEngine(pictures, ModelInfo(longest=longest)), EXACT)
        result = found[longest] = predictions(pictures, pipeline).summary()
        row(
            f"{PICTURES} pictures, {made['people']} people, {change or 'as by default'}, "
            f"longest side {longest}",
            f"mask AP {result['segm']['AP']}", f"keypoint AP {result['keypoints']['AP']}",
        )  # fmt: skip
    for result in found.values():
        for kind, floor in zip(("segm", "keypoints"), floors, strict=True):
            assert result[kind]["AP"] >= floor
    assert found[1280]["segm"]["AP"] > found[640]["segm"]["AP"]


@pytest.mark.timeout(900)
def test_pictures_a_second(row):
    """480 x 360, five people each, two processes; the figure counts on two quiet cores."""
    five = replace(CPU, people=(5, 5))
    with contextlib.closing(Processes(2)) as processes:
        jobs = [processes.submit(render_jpeg, 0, five, [], index) for index in range(WARM_UP)]
        assert all(job.result() for job in jobs)
        load_before, start = os.getloadavg()[0], time.perf_counter()
        jobs = [processes.submit(render_jpeg, 1, five, [], index) for index in range(PACED)]
        people = sum(len(job.result()[0]) for job in jobs)
        pace = PACED / (time.perf_counter() - start)
    row(f"pictures a second, {people / PACED:.1f} people each, two processes",
        f"{pace:.1f}", f"load before {load_before:.1f}")  # fmt: skip
    assert people >= 4 * PACED

"""Measure synthetic people: the accuracy of decoding their truth, and the rendering speed."""

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
IMAGES, WARM_UP, TIMED = 40, 8, 120


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("change", "floors"),
    [({}, (0.91, 0.97)), ({"people": (1, 4)}, (0.95, 0.97)), ({"crowding": 1.0}, (0.69, 0.94))],
)
def test_truth_survives_targets_and_decoder(change, floors, tmp_path, row):
    """Overlapping people measure the resolution of the grid, as the finer one shows."""
    config = replace(CPU, **change)
    made = write_stills(tmp_path, IMAGES, 5, config, [])
    dataset = load(tmp_path / "images", tmp_path / "annotations.json")
    found = {}
    for longest in (640, 1280):
        pipeline = Pipeline(GroundTruthEngine(dataset, ModelInfo(longest=longest)), EXACT)
        result = found[longest] = predictions(dataset, pipeline).summary()
        row(
            f"{IMAGES} images, {made['people']} people, {change or 'default settings'}, "
            f"longest side {longest}",
            f"mask AP {result['segm']['AP']}", f"keypoint AP {result['keypoints']['AP']}",
        )  # fmt: skip
    for result in found.values():
        for kind, floor in zip(("segm", "keypoints"), floors, strict=True):
            assert result[kind]["AP"] >= floor
    assert found[1280]["segm"]["AP"] > found[640]["segm"]["AP"]


@pytest.mark.timeout(900)
def test_rendered_images_per_second(row):
    """480 x 360 pixels, five people, two processes; the figure is valid on two idle cores."""
    five = replace(CPU, people=(5, 5))
    with contextlib.closing(Processes(2)) as processes:
        jobs = [processes.submit(render_jpeg, 0, five, [], index) for index in range(WARM_UP)]
        assert all(job.result() for job in jobs)
        load_before, start = os.getloadavg()[0], time.perf_counter()
        jobs = [processes.submit(render_jpeg, 1, five, [], index) for index in range(TIMED)]
        people = sum(len(job.result()[0]) for job in jobs)
        pace = TIMED / (time.perf_counter() - start)
    row(f"images per second, {people / TIMED:.1f} people each, two processes",
        f"{pace:.1f}", f"load before {load_before:.1f}")  # fmt: skip
    assert people >= 4 * TIMED

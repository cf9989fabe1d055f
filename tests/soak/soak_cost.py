"""Measure the CPU time of a frame by the number of people, with the network between the frames."""

from __future__ import annotations

import time

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="perfect fields are made by the training targets")
pytest.importorskip("onnxruntime")

import cv2  # noqa: E402

from kdc_core.engines import open_engine  # noqa: E402
from kdc_core.track import VideoDecoder  # noqa: E402
from kdc_core.types import Fields, Frame  # noqa: E402
from kdc_lab.evaluate.composed_clips import Clip, Drawn, line  # noqa: E402
from tests.track.clips import fields_of, stamps  # noqa: E402

PEOPLE = (1, 10, 20)
FRAMES, WARM_UP = 40, 10
GROWTH = 1.25  # limit for a whole frame on one thread, from the fewest to the most people
TRACKING = 0.06  # limit as a share of the network's time on one thread, at 10 people


def crowd(people: int) -> list[tuple[float, Fields, np.ndarray]]:
    """Return two rows of people who walk to and fro, as fields of a good network."""
    rng = np.random.default_rng(people)
    figures = tuple(
        Drawn(
            line(40.0 + 60 * (i % 10) + 20 * (i // 10), 225.0 + 230 * (i // 10), 8.0 * (-1) ** i),
            190,
        )
        for i in range(people)
    )
    clip = Clip(figures, (640, 480))
    shots = [(t, clip.at(t)) for t in stamps(FRAMES / 30).tolist()]
    return [(t, fields_of(shot, rng), shot.image) for t, shot in shots]


def test_frame_cost_hardly_grows_with_people(row):
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    engine = open_engine("onnxruntime", threads=1)
    frame = Frame(np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8))
    clips, costs = {people: crowd(people) for people in PEOPLE}, {}
    for people, clip in clips.items():
        decoder, spent = VideoDecoder(), []
        for t, fields, image in clip:
            laps = {"start": time.process_time()}
            engine(frame)
            laps["network"] = time.process_time()
            found = decoder(
                fields, t, image,
                lambda stage, laps=laps: laps.update({stage: time.process_time()}),
            )  # fmt: skip
            assert len(found) == people
            spent.append(np.diff([*laps.values()]) * 1e3)
        stages = [*laps][1:]
        costs[people] = dict(zip(stages, np.median(spent[WARM_UP:], axis=0), strict=True))
        row(
            f"{people} people, ms of CPU",
            *(f"{name} {ms:.1f}" for name, ms in costs[people].items()),
        )
    network = np.median([cost["network"] for cost in costs.values()])
    total = {
        people: network + sum(cost.values()) - cost["network"] for people, cost in costs.items()
    }
    growth, tracking = total[PEOPLE[-1]] / total[PEOPLE[0]], costs[10]["track"] / network
    row("whole frame", f"{growth - 1:+.0%} with {PEOPLE[-1]} people", f"tracking {tracking:.1%}")
    assert growth < GROWTH
    assert tracking < TRACKING

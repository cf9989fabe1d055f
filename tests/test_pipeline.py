"""Frame to people through a fake network."""

from __future__ import annotations

import numpy as np
import pytest

from kdc_core.config import ModelInfo
from kdc_core.decode import decode
from kdc_core.io.source import Source
from kdc_core.letterbox import Letterbox
from kdc_core.pipeline import Pipeline
from kdc_core.session import Session
from kdc_core.skeleton import CHANNELS
from kdc_core.types import Fields, Frame, People
from tests.fake_engines import ClipEngine, EmptyEngine


@pytest.mark.parametrize("size", [(640, 480), (1, 1), (33, 7), (7, 900)])
def test_every_frame_size_gives_a_label_image_of_its_size(size: tuple[int, int]) -> None:
    pipeline = Pipeline(EmptyEngine(ModelInfo(longest=64)))
    people = pipeline(Frame(np.zeros((size[1], size[0], 3), np.uint8)))
    assert len(people) == 0
    assert people.labels.shape == (size[1], size[0])
    assert not people.labels.any()


def columns(people: People) -> dict[int, float]:
    """Where each id's middle is, pixels."""
    return dict(zip(people.ids.tolist(), people.boxes[:, ::2].mean(axis=1).tolist(), strict=True))


@pytest.mark.parametrize("kind, stills, holds", [
    ("video", False, True), ("camera", False, True), ("video", True, False),
    ("folder", False, False),
])  # fmt: skip
def test_ids_last_where_the_source_moves(kind: str, stills: bool, holds: bool) -> None:
    engine = ClipEngine()
    stamps = np.arange(0, 3.0, 0.1).tolist()
    moving = Source("walkers", kind, lambda: iter(())).moving
    session = Session(Pipeline(engine), tracking=moving and not stills)
    before, *_, after = (columns(session(engine.frame(stamp, stamp)).people) for stamp in stamps)
    assert set(before) == set(after) == {1, 2}
    left = min(before, key=before.__getitem__)
    assert (max(after, key=after.__getitem__) == left) == holds, "who was left is right now"


def test_timings_name_every_stage_of_the_last_frame() -> None:
    pipeline = Pipeline(EmptyEngine(ModelInfo(longest=64)))
    assert pipeline.timings == {}
    frame = Frame(np.zeros((48, 64, 3), np.uint8))
    pipeline(frame)
    first = pipeline.timings
    assert tuple(first) == ("network", "hough", "group", "select", "assign", "score")
    assert all(milliseconds >= 0 for milliseconds in first.values())
    pipeline(frame)
    assert pipeline.timings is not first


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
@pytest.mark.parametrize("name", ["fields", "seg"])
def test_what_is_not_finite_is_no_answer_of_a_network(wrong: float, name: str) -> None:
    letterbox = Letterbox.fit((64, 48), 64, 32)
    parts = {
        "fields": np.zeros((1, CHANNELS, 8, 8), np.float32),
        "seg": np.zeros((1, 1, 32, 32), np.float32),
    }
    parts[name][0, 0, 3, 4] = wrong
    with pytest.raises(ValueError, match="expected finite numbers, got NaN or infinity"):
        Fields.from_tensors(parts["fields"], parts["seg"], 32.0, letterbox)


def test_people_are_those_of_the_decoder() -> None:
    torch = pytest.importorskip("torch", reason="targets need torch: extra `train`")
    del torch
    from kdc_lab.training.batch import Batch
    from kdc_lab.training.targets import oracle_fields
    from tests.coco_files import two_scenes

    scene = two_scenes()[0]
    fields = oracle_fields(_batch(Batch, scene), ModelInfo(), scene.letterbox)
    engine = EmptyEngine(ModelInfo())
    pipeline = Pipeline(engine)
    pipeline.engine = lambda frame: fields  # type: ignore[assignment]
    people = pipeline(Frame(np.zeros((240, 320, 3), np.uint8)))
    assert len(people) == 2
    np.testing.assert_array_equal(people.labels, decode(fields, pipeline.config).labels)


def test_closing_the_pipeline_closes_the_engine() -> None:
    engine = EmptyEngine(ModelInfo())
    Pipeline(engine).close()
    assert engine.closed


def _batch(kind, scene):
    import torch

    height, width = scene.letterbox.input_size[::-1]
    owner = np.zeros((height, width), np.uint8)
    owner[: scene.owner.shape[0], : scene.owner.shape[1]] = scene.owner
    area = [float(scene.mask(j).sum()) for j in range(len(scene.keypoints))]
    return kind(
        image=torch.zeros(1, 3, height, width, dtype=torch.uint8),
        owner=torch.from_numpy(owner)[None],
        ignore=torch.zeros(1, height, width, dtype=torch.uint8),
        keypoints=torch.from_numpy(scene.keypoints)[None],
        area=torch.tensor([area]),
        mask_weight=torch.ones(1, len(area)),
    )

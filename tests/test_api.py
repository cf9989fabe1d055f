"""The Python API: load, Model, People, Person, draw, and the command line that does the same."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

import kdc_core
from kdc_core.cli import main
from kdc_core.io import open_source
from kdc_core.labels import run_lengths
from kdc_core.pipeline import Pipeline
from kdc_core.session import DEFAULT_MIN_SCORE, Session
from kdc_core.types import Frame, InstanceMap, People, Person, Phase
from tests.clips_of_people import PHOTOGRAPH, write_clip
from tests.fake_engines import ClipEngine, EmptyEngine
from tests.people import two_people

ROOT = Path(__file__).parents[1]
IMAGE = np.zeros((48, 64, 3), np.uint8)


@pytest.fixture(scope="module")
def model():
    with kdc_core.load(engine="onnxruntime", long_side=320) as model:
        yield model


@pytest.fixture
def empty() -> kdc_core.Model:
    return kdc_core.Model(Pipeline(EmptyEngine()))


def test_front_door_lists_its_names() -> None:
    assert dir(kdc_core) == kdc_core.__all__
    for name in kdc_core.__all__:
        assert getattr(kdc_core, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'picture'"):
        _ = kdc_core.picture


def test_model_takes_an_array_a_path_and_a_frame(model, tmp_path: Path) -> None:
    image = cv2.imread(str(PHOTOGRAPH))
    people = model(image)
    assert len(people) >= 2
    assert (people.phase == Phase.UNTRACKED).all()
    assert people.ids.min() >= 1
    for same in (PHOTOGRAPH, str(PHOTOGRAPH), Frame(image), Frame(image, 3.0, "a")):
        assert model(same) == people


def test_model_reports_from_min_score(model) -> None:
    assert model.min_score == DEFAULT_MIN_SCORE == 0.25
    image = cv2.imread(str(PHOTOGRAPH))
    people = model(image)
    assert (np.maximum(people.score, people.mask_score) >= 0.25).all()
    assert set(np.unique(people.labels)) <= {0, *people.ids}
    try:
        model.min_score = 0.0
        everyone = model(image)
    finally:
        model.min_score = 0.25
    assert len(everyone) > len(people)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((4, 4), np.uint8), r"expected a \(H, W, 3\) uint8 BGR image, got \(4, 4\) uint8"),
        (np.zeros((4, 4, 4), np.uint8), r"got \(4, 4, 4\) uint8"),
        (np.zeros((0, 4, 3), np.uint8), r"got \(0, 4, 3\) uint8"),
        (np.zeros((4, 4, 3)), r"got \(4, 4, 3\) float64"),
        ([[1, 2, 3]], r"expected a \(H, W, 3\) uint8 BGR array, got list"),
        (None, "got NoneType"),
        ("gone.jpg", "gone.jpg: no such image"),
    ],
)
def test_model_refuses_what_is_no_image(empty, image, message: str) -> None:
    with pytest.raises(kdc_core.InputError, match=message):
        empty(image)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"model": "gone.onnx"}, "gone.onnx"),
        ({"engine": "abacus"}, "abacus"),
        ({"long_side": 5}, "64 to 4096"),
        ({"min_score": 2}, "min_score: expected 0 to 1, got 2"),
        ({"threads": -1}, "threads"),
    ],
)
def test_load_refuses_wrong_arguments(arguments: dict, message: str) -> None:
    with pytest.raises(kdc_core.InputError, match=message):
        kdc_core.load(**{"engine": "onnxruntime", **arguments})


def test_load_passes_its_arguments_on() -> None:
    config = kdc_core.DecodeConfig()
    with kdc_core.load(engine="onnxruntime", long_side=96, min_score=0.5, config=config) as model:
        assert model.pipeline.engine.info.longest == 96
        assert model.pipeline.config is config
        assert model.min_score == 0.5
        assert repr(model).startswith("Model(onnxruntime ")


def test_model_is_closed_at_the_end_of_its_block(empty) -> None:
    with empty as model:
        model(IMAGE)
    assert model.pipeline.engine.closed
    model.close()
    assert repr(model) == "Model(closed, min_score 0.25)"
    for use in (lambda: model(IMAGE), lambda: model.track([IMAGE]), model.session):
        with pytest.raises(kdc_core.InputError, match="the model is closed: load it again"):
            use()


def test_model_session_keeps_the_settings(empty) -> None:
    empty.min_score = 0.4
    session = empty.session()
    assert isinstance(session, Session)
    assert session.min_score == 0.4 and session.tracking
    assert not empty.session(tracking=False).tracking


def stamps(model, source, **options) -> list[float]:
    return [frame.stamp for frame, _ in model.track(source, **options)]


def test_track_keeps_ids_through_frames_with_stamps() -> None:
    engine = ClipEngine()
    model = kdc_core.Model(Pipeline(engine))
    times = [0.1 * i for i in range(12)]
    results = list(model.track(engine.frame(t, t) for t in times))
    assert [frame.stamp for frame, _ in results] == times
    assert all(sorted(people.ids) == [1, 2] for _, people in results)
    assert all((people.phase == Phase.CONFIRMED).all() for _, people in results)
    again = next(iter(model.track([engine.frame(0.0, 0.0)])))[1]
    assert sorted(again.ids) == [1, 2], "ids start at 1 in every call"


def test_track_leaves_out_late_and_repeated_frames(empty) -> None:
    frames = [Frame(IMAGE, stamp) for stamp in (1.0, 1.0, 0.5, 1.1)]
    assert stamps(empty, frames) == [1.0, 1.1]


def test_track_stamps_arrays_by_fps_or_by_arrival(empty, monkeypatch) -> None:
    assert stamps(empty, [IMAGE] * 3, fps=20) == [0.0, 0.05, 0.1]
    assert stamps(empty, [Frame(IMAGE, 7.0)] * 3, fps=4) == [0.0, 0.25, 0.5]
    clock = iter((5.0, 5.5, 7.0))
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    assert stamps(empty, [IMAGE] * 3) == [5.0, 5.5, 7.0]


def test_track_reads_sources(empty, tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.avi", frames=3)
    assert stamps(empty, clip) == stamps(empty, str(clip)) == stamps(empty, open_source(str(clip)))
    assert stamps(empty, PHOTOGRAPH) == [0.0]
    with pytest.raises(kdc_core.InputError, match="camera 99: cannot be opened"):
        empty.track(99)


def test_track_of_a_folder_tracks_only_with_fps(tmp_path: Path) -> None:
    engine = ClipEngine(lambda frame: int(frame.frame_id.removesuffix(".png")) / 10)
    for i in range(4):
        cv2.imwrite(str(tmp_path / f"{i}.png"), engine.frame(i / 10, None).image)
    model = kdc_core.Model(Pipeline(engine))
    assert {p.phase for _, people in model.track(tmp_path) for p in people} == {Phase.UNTRACKED}
    tracked = list(model.track(tmp_path, fps=10))
    assert {p.phase for _, people in tracked for p in people} == {Phase.CONFIRMED}
    assert [frame.stamp for frame, _ in tracked] == [0.0, 0.1, 0.2, 0.3]


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        ("gone.mp4", {}, "gone.mp4: no such file, folder or camera"),
        ("", {}, "got an empty text"),
        (IMAGE, {}, "expected a source of several frames, got one image"),
        (Frame(IMAGE), {}, "expected a source of several frames, got one image"),
        ([IMAGE], {"fps": 0}, "fps: expected a number above 0, got 0"),
        ([IMAGE], {"fps": float("nan")}, "fps: expected a number above 0, got nan"),
        (str(PHOTOGRAPH), {"fps": 10}, "fps is for folders and arrays, not for a"),
    ],
)
def test_track_refuses_wrong_sources_at_once(empty, source, options, message: str) -> None:
    with pytest.raises(kdc_core.InputError, match=message):
        empty.track(source, **options)


def test_track_min_score_acts_on_the_next_frame() -> None:
    engine = ClipEngine()
    model = kdc_core.Model(Pipeline(engine))
    counts = []
    for i, (_, people) in enumerate(model.track(engine.frame(t, t) for t in (0.0, 0.1, 0.2))):
        counts.append(len(people))
        model.min_score = 1.0 if i == 0 else 0.25
    assert counts == [2, 0, 2]


def test_three_lines_equal_kdc_run_on_a_clip(tmp_path: Path, monkeypatch, capsys) -> None:
    """Ids, boxes and masks of the library are those of ``kdc run --save-masks``."""
    clip = write_clip(tmp_path / "clip.avi", frames=12)
    from_command: list[People] = []
    process = Session.process

    def record(session, frame, timing):
        result = process(session, frame, timing)
        from_command.append(result.people)
        return result

    with monkeypatch.context() as patch:
        patch.setattr(Session, "process", record)
        assert main(["run", str(clip), "--save-masks", str(tmp_path / "masks")]) == 0

    model = kdc_core.load()
    results = list(model.track(clip))
    model.close()

    assert len(results) == 12
    assert [people for _, people in results] == from_command
    assert sum(len(people) for _, people in results) >= 24
    for frame, people in results:
        mask = cv2.imread(str(tmp_path / "masks" / f"{frame.frame_id}.png"), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(people.labels, mask)


def test_one_image_equals_kdc_run(tmp_path: Path, capsys) -> None:
    assert main(["run", str(PHOTOGRAPH), "--save-masks", str(tmp_path)]) == 0
    printed = re.findall(r"^person (\d+): .* box ([\d ]+),", capsys.readouterr().out, re.M)
    with kdc_core.load() as model:
        people = model(PHOTOGRAPH)
    assert [(int(number), box) for number, box in printed] == [
        (person.id, " ".join(f"{side:.0f}" for side in person.box)) for person in people
    ]
    labels = cv2.imread(str(tmp_path / "overlay.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(people.labels, labels)


def test_readme_python_block_runs(tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.S)
    assert blocks
    shutil.copy(PHOTOGRAPH, tmp_path / "street.jpg")
    write_clip(tmp_path / "video.mp4", frames=3)
    for block in blocks:
        done = subprocess.run(
            [sys.executable, "-c", block],
            cwd=tmp_path,
            env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=240,
        )
        assert done.returncode == 0, done.stderr


def test_people_yield_person_views() -> None:
    people = two_people()
    seven, three = people
    assert isinstance(seven, Person)
    assert [person.id for person in people] == [7, 3]
    assert (seven.score, seven.mask_score) == (0.25, 0.5)
    assert seven.phase is Phase.CONFIRMED and three.phase is Phase.OCCLUDED
    assert seven.centroid_name == "centre" and three.centroid_name == "left_ankle"
    np.testing.assert_array_equal(seven.box, [5, 10, 9, 20])
    np.testing.assert_array_equal(seven.centroid, [6.5, 14.5])
    np.testing.assert_array_equal(three.keypoints, people.keypoints[1])
    np.testing.assert_array_equal(three.visible, people.visible[1])
    assert seven.mask.dtype == bool and seven.mask.sum() == 40 and not three.mask.any()
    np.testing.assert_array_equal(people.mask(0), seven.mask)


def test_people_are_selected_by_number_slice_and_mask() -> None:
    people = two_people()
    assert people[1].id == 3 and people[-1].id == 3 and people[np.int64(0)].id == 7
    assert people[1:].ids.tolist() == [3]
    assert people[people.score < 0.5].ids.tolist() == [7]
    assert people[np.array([1, 0])].ids.tolist() == [3, 7]
    assert people[1:].labels is people.labels
    for wrong in (2, -3):
        with pytest.raises(IndexError):
            _ = people[wrong]


def test_people_repr() -> None:
    people = two_people()
    assert repr(people) == "People(2 in 64x48: 7 (0.25), 3 (0.75 occluded))"
    assert repr(people[0]) == (
        "Person(id 7, score 0.25, mask_score 0.50, box 5 10 9 20, confirmed)"
    )
    assert repr(People.empty((64, 48))) == "People(0 in 64x48)"


def test_people_empty_has_the_types_of_the_decoder(empty) -> None:
    nothing, found = People.empty((64, 48)), empty(IMAGE)
    assert nothing == found
    assert nothing.size == (64, 48) and len(nothing) == 0 and list(nothing) == []
    assert nothing.labels.dtype == np.uint16 and nothing.labels.shape == (48, 64)
    assert nothing.to_coco(1) == []


def test_people_equality_compares_all_arrays() -> None:
    people = two_people()
    assert people == two_people()
    assert people != people[1:] and people != "people"
    for name in ("ids", "score", "boxes", "labels", "phase"):
        other = getattr(people, name).copy()
        other.flat[0] += 1
        assert people != replace(people, **{name: other}), name
    with pytest.raises(TypeError):
        hash(people)


@pytest.mark.parametrize("name", ["score", "keypoints", "boxes", "labels"])
def test_people_of_wrong_shape_are_a_bug_and_not_a_user_error(name: str) -> None:
    people = two_people()
    with pytest.raises(ValueError, match="expected") as caught:
        replace(people, **{name: np.zeros((3, 1, 1))})
    assert not isinstance(caught.value, kdc_core.InputError)


def test_label_images_are_uint16() -> None:
    with pytest.raises(ValueError, match=r"expected \(H, W\) uint16, got \(4, 4\) uint8"):
        InstanceMap(np.zeros((4, 4), np.uint8), np.zeros(0, int), np.zeros(0))
    with pytest.raises(ValueError, match=r"expected \(H, W\) uint16, got \(4,\) uint16"):
        InstanceMap(np.zeros(4, np.uint16), np.zeros(0, int), np.zeros(0))


def test_people_to_coco_is_json_that_pycocotools_reads(tmp_path: Path) -> None:
    coco = pytest.importorskip("pycocotools.coco", reason="extra `train`")
    rle = pytest.importorskip("pycocotools.mask")
    people = two_people()
    entries = json.loads(json.dumps(people.to_coco(image_id=5, category_id=2)))
    assert [entry["track_id"] for entry in entries] == [7, 3]
    assert [(entry["image_id"], entry["category_id"]) for entry in entries] == [(5, 2)] * 2
    assert [entry["score"] for entry in entries] == [0.25, 0.75]
    assert [entry["mask_score"] for entry in entries] == [0.5, 0.0]
    assert entries[0]["bbox"] == [5, 10, 4, 10]
    np.testing.assert_array_equal(entries[1]["keypoints"], people.keypoints[1].ravel())
    for entry, person in zip(entries, people, strict=True):
        np.testing.assert_array_equal(rle.decode(entry["segmentation"]), person.mask)
    dataset = coco.COCO()
    dataset.dataset = {"images": [{"id": 5}], "annotations": [], "categories": [{"id": 2}]}
    dataset.createIndex()
    assert len(dataset.loadRes(entries).anns) == 2


@pytest.mark.parametrize("kind", ["empty", "full", "noise", "first pixel", "last pixel", "columns"])
def test_run_lengths_equal_those_of_pycocotools(kind: str) -> None:
    rle = pytest.importorskip("pycocotools.mask", reason="extra `train`")
    mask = np.zeros((37, 53), bool)
    if kind == "full":
        mask[:] = True
    elif kind == "noise":
        mask = np.random.default_rng(0).random(mask.shape) < 0.5
    elif kind == "columns":
        mask[:, 3:50:7] = True
    elif kind != "empty":
        mask.flat[0 if kind == "first pixel" else -1] = True
    expected = rle.encode(np.asfortranarray(mask, np.uint8))
    assert run_lengths(mask) == {"size": [37, 53], "counts": expected["counts"].decode()}


def test_draw_leaves_the_image_and_draws_on_a_copy() -> None:
    people = two_people()
    drawn = kdc_core.draw(IMAGE, people)
    assert drawn.shape == IMAGE.shape and drawn.any() and not IMAGE.any()
    np.testing.assert_array_equal(kdc_core.draw(Frame(IMAGE), people), drawn)
    np.testing.assert_array_equal(kdc_core.draw(IMAGE, People.empty((64, 48))), IMAGE)
    with pytest.raises(kdc_core.InputError, match="overlay"):
        kdc_core.draw(IMAGE[:40], people)


def test_to_supervision_gives_the_same_people() -> None:
    sv = pytest.importorskip("supervision", reason="extra `supervision`")
    people = two_people()
    detections, key_points = kdc_core.to_supervision(people)
    assert isinstance(detections, sv.Detections) and isinstance(key_points, sv.KeyPoints)
    np.testing.assert_array_equal(detections.xyxy, people.boxes)
    np.testing.assert_array_equal(detections.confidence, [0.5, 0.75])
    np.testing.assert_array_equal(detections.tracker_id, [7, 3])
    np.testing.assert_array_equal(detections.mask, [people.mask(0), people.mask(1)])
    assert detections.class_id.tolist() == [0, 0]
    assert detections["class_name"].tolist() == ["person"] * 2
    np.testing.assert_array_equal(key_points.xy, people.keypoints[..., :2])
    np.testing.assert_array_equal(key_points.keypoint_confidence, people.keypoints[..., 2])
    np.testing.assert_array_equal(key_points.visible, people.visible)
    np.testing.assert_array_equal(key_points.detection_confidence, [0.5, 0.75])
    image = sv.MaskAnnotator().annotate(IMAGE.copy(), detections)
    assert image[15, 7].any() and not image[0, 0].any()
    assert sv.EdgeAnnotator().annotate(IMAGE.copy(), key_points).shape == IMAGE.shape


def test_to_supervision_without_tracking_has_no_tracker_ids() -> None:
    pytest.importorskip("supervision", reason="extra `supervision`")
    people = replace(two_people(), phase=np.full(2, Phase.UNTRACKED, np.uint8))
    assert kdc_core.to_supervision(people)[0].tracker_id is None
    detections, key_points = kdc_core.to_supervision(People.empty((64, 48)))
    assert len(detections) == len(key_points) == 0


def test_to_supervision_without_the_package_is_a_user_error(monkeypatch) -> None:
    from kdc_core.errors import is_user_error, one_line

    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(ModuleNotFoundError) as caught:
        kdc_core.to_supervision(two_people())
    assert is_user_error(caught.value)
    assert one_line(caught.value) == "supervision is not installed: pip install supervision"

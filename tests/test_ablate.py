"""``kdc ablate``'s studies on drawn people, and the annotation formats they are fed with."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("pycocotools", reason="figures need pycocotools")
pytest.importorskip("torch", reason="perfect fields need torch")

from kdc_core.cli import main
from kdc_core.config import DecodeConfig, ModelInfo
from kdc_core.engines import default_model
from kdc_core.skeleton import KEYPOINTS
from kdc_lab.evaluate import coco_variants, studies
from kdc_lab.evaluate.annotated_images import load
from kdc_lab.evaluate.field_noise import noisy
from kdc_lab.evaluate.ground_truth_engine import GroundTruthEngine
from tests.coco_files import annotation, perfect, two_scenes, write
from tests.scenes import draw

CONFIG = DecodeConfig()


@pytest.fixture
def scenes():
    return two_scenes()


@pytest.fixture
def coco(tmp_path, scenes):
    return write(tmp_path, scenes)


@pytest.fixture
def oracle(coco):
    dataset = load(*coco)
    return dataset, GroundTruthEngine(dataset, ModelInfo(longest=320))


# the formats


def ochuman(file: Path, scenes) -> None:
    """As OCHuman's own file: 19 keypoints in its order, visibility 0 to 3, polygons in and out."""
    names = [
        "right_shoulder", "right_elbow", "right_wrist", "left_shoulder", "left_elbow",
        "left_wrist", "right_hip", "right_knee", "right_ankle", "left_hip", "left_knee",
        "left_ankle", "head", "neck", "right_ear", "left_ear", "nose", "right_eye", "left_eye",
    ]  # fmt: skip
    images = []
    for index, scene in enumerate(scenes):
        width, height = scene.size
        people = []
        for person, points in enumerate(scene.keypoints):
            flat = []
            for name in names:
                x, y, v = (7, 7, 1) if name not in KEYPOINTS else points[KEYPOINTS.index(name)]
                flat += [float(x), float(y), {0: 0, 1: 3, 2: 1}[int(v)]]
            outer, inner = polygons(scene.mask(person))
            x, y, w, h = annotation(scene, person)["bbox"]
            people.append({
                "bbox": [x, y, x + w, y + h], "keypoints": flat, "max_iou": 0.6,
                "segms": {"outer": outer, "inner": inner, "height": height, "width": width},
            })  # fmt: skip
        people.append({"bbox": [1, 2, 5, 8], "keypoints": None, "segms": None, "max_iou": 0.5})
        images.append({
            "image_id": f"{index:06d}", "file_name": f"{index}.png", "width": width,
            "height": height, "annotations": people,
        })  # fmt: skip
    visible = {"missing": 0, "vis": 1, "self_occluded": 2, "others_occluded": 3}
    content = {"keypoint_names": names, "keypoint_visible": visible, "images": images}
    file.write_text(json.dumps(content))


def polygons(mask: np.ndarray) -> tuple[list, list]:
    found, tree = cv2.findContours(
        mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE
    )  # a hole's border lies on the pixels around it
    outer = [c.ravel().tolist() for c, t in zip(found, tree[0], strict=True) if t[3] < 0]
    inner = [c.ravel().tolist() for c, t in zip(found, tree[0], strict=True) if t[3] >= 0]
    return ([p for p in outer if len(p) > 4], [p for p in inner if len(p) > 4])


def crowdpose(file: Path, scenes) -> None:
    """As CrowdPose: 14 keypoints with head and neck, no masks, a crowd index per image."""
    names = ["left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist",
             "right_wrist", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle",
             "right_ankle", "head", "neck"]  # fmt: skip
    images, annotations = [], []
    for index, scene in enumerate(scenes):
        width, height = scene.size
        images.append({"id": index + 1, "file_name": f"{index}.png", "width": width,
                       "height": height, "crowdIndex": 0.42})  # fmt: skip
        for person, points in enumerate(scene.keypoints):
            flat = []
            for name in names:
                flat += (
                    [5, 5, 2] if name not in KEYPOINTS else points[KEYPOINTS.index(name)].tolist()
                )
            annotations.append({
                "id": len(annotations) + 1, "image_id": index + 1, "category_id": 1, "iscrowd": 0,
                "keypoints": flat, "num_keypoints": 14, "bbox": annotation(scene, person)["bbox"],
            })  # fmt: skip
    categories = [{"id": 1, "name": "person", "keypoints": names, "skeleton": []}]
    file.write_text(
        json.dumps({"images": images, "annotations": annotations, "categories": categories})
    )


def test_load_reads_coco_unchanged(coco):
    dataset, kind = coco_variants.load(*coco)
    assert kind == "COCO" and dataset.people == load(*coco).people


def test_load_reads_subsets_of_pose2seg(coco, tmp_path):
    """COCO without info, licences and areas' small people; categories with keypoint names."""
    content = json.loads(coco[1].read_text())
    content["categories"][0] |= {"keypoints": list(KEYPOINTS), "supercategory": "person"}
    content["annotations"] = content["annotations"][1:]
    file = tmp_path / "person_keypoints_val2017_pose2seg.json"
    file.write_text(json.dumps(content))
    dataset, kind = coco_variants.load(coco[0], file)
    assert (kind, dataset.file) == ("COCO", file)
    assert [len(people) for people in dataset.people.values()] == [1, 1, 0]


def test_load_converts_ochuman(coco, scenes, tmp_path):
    file = tmp_path / "ochuman.json"
    ochuman(file, scenes)
    dataset, kind = coco_variants.load(coco[0], file)
    assert (kind, dataset.file) == ("OCHuman", file)
    for scene, people in zip(scenes, dataset.people.values(), strict=True):
        assert len(people) == len(scene.keypoints) + 1  # and one without keypoints and mask
        assert people[-1]["segmentation"] == [] and people[-1]["num_keypoints"] == 0
        assert people[-1]["bbox"] == [1, 2, 4, 6]
        for person, entry in enumerate(people[:-1]):
            expected = scene.keypoints[person].copy()
            expected[expected[:, 2] == 0] = 0
            assert np.allclose(np.reshape(entry["keypoints"], (17, 3)), expected, atol=1e-4)
            got = studies.annotation_mask(entry, scene.owner.shape)
            true = scene.mask(person)
            assert (got & true).sum() / (got | true).sum() > 0.9
            assert entry["bbox"] == annotation(scene, person)["bbox"]


def test_load_converts_crowdpose(coco, scenes, tmp_path):
    file = tmp_path / "crowdpose_val.json"
    crowdpose(file, scenes)
    dataset, kind = coco_variants.load(coco[0], file)
    assert kind == "CrowdPose"
    for scene, people in zip(scenes, dataset.people.values(), strict=True):
        for person, entry in enumerate(people):
            points = np.reshape(entry["keypoints"], (17, 3))
            assert not points[:5].any()  # faces are not labelled
            expected = scene.keypoints[person, 5:].copy()
            expected[expected[:, 2] == 0] = 0
            assert np.allclose(points[5:], expected, atol=1e-4)
            assert entry["segmentation"] == [] and entry["area"] > 0


@pytest.mark.parametrize("text, complaint", [
    ('{"keypoint_names": [], "images": 3}', "expected an OCHuman file"),
    ('{"keypoint_names": [], "images": [{"image_id": 1}]}', "the format of OCHuman: KeyError"),
    ("[]", "expected a COCO"),
])  # fmt: skip
def test_load_refuses_other_formats(coco, tmp_path, text, complaint):
    file = tmp_path / "wrong.json"
    file.write_text(text)
    with pytest.raises(ValueError, match=complaint):
        coco_variants.load(coco[0], file)


# the studies


def rows_of(table) -> dict:
    return {row[0] if row[0] != "" else "": row for row in table.rows}


def test_sigma_has_a_row_for_every_sigma(oracle):
    dataset, engine = oracle

    class Noisy(GroundTruthEngine):
        """With errors: perfect offsets would end in the centroid whatever sigma is."""

        def __call__(self, frame):
            return noisy(super().__call__(frame), np.random.default_rng(0), 3.0)

    table = studies.sigma(dataset, Noisy(dataset, engine.info), CONFIG, 20)
    rows = rows_of(table)
    assert len(rows) == len(studies.IGO) + len(studies.FIXED) + 1
    assert rows["Gaussian 0"][1:] == rows["Gaussian 0.1"][1:] == rows["eq. 3, learned"][1:]
    assert rows["eq. 3, learned"][1] > rows["eq. 3, 0.1 s"][1] + 0.05
    assert rows["Gaussian 0"][2] <= rows["Gaussian 0"][1] <= rows["Gaussian 0"][3]
    assert table.plot.startswith("<svg")


def test_given_keypoints_equal_perfect_ones(oracle):
    rows = rows_of(studies.given_keypoints(*oracle, CONFIG, 0))
    assert rows["predicted"][1] == pytest.approx(rows["from annotations"][1], abs=0.1)
    assert rows["from annotations"][1] > 0.8


def test_from_keypoints_finds_people_that_the_network_misses(oracle):
    dataset, engine = oracle
    image, frame = next(dataset.frames())
    fields = engine(frame)
    blind = replace(fields, heat=np.zeros_like(fields.heat))
    from kdc_core.decode import decode

    assert len(decode(blind, CONFIG)) == 0
    found = studies.from_keypoints(blind, dataset.people[image], CONFIG)
    truth = two_scenes()[0]
    for person in range(2):
        own, true = found.mask(person), truth.mask(person)
        assert (own & true).sum() / (own | true).sum() > 0.8
    assert np.allclose(found.keypoints[..., :2], truth.keypoints[..., :2], atol=0.01)


def test_small_counts_small_people_in_one_protocol_only(tmp_path):
    scenes = [draw([(100, 210), (250, 110)], [180, 40], size=(320, 240))]
    dataset = load(*write(tmp_path, scenes))
    assert dataset.people[1][1]["area"] < coco_variants.SMALL

    large = replace(dataset, people={image: found[:1] for image, found in dataset.people.items()})
    table = studies.small(dataset, GroundTruthEngine(large, ModelInfo(longest=320)), CONFIG, 0)
    ap = {(row[0], row[1]): row[2] for row in table.rows}
    assert ap["without small people", "masks"] > ap["all people", "masks"] + 0.3
    assert len(ap) == 4


def test_covered_hides_the_given_share():
    scene = draw([(120, 210), (230, 230)], [180, 200], size=(320, 240))
    image = np.full((240, 320, 3), 90, np.uint8)
    masks = [scene.mask(0)]
    for share in (0.3, 0.5, 0.7, 0.9):
        for seed in range(4):
            rng = np.random.default_rng(seed)
            picture, (rest,) = studies.covered(image, masks, share, rng)
            left = rest.sum() / masks[0].sum()
            assert left == pytest.approx(1 - share, abs=0.06)
            assert (picture[rest] == 90).all()  # what is left is as it was
            assert (picture[masks[0] & ~rest] != 90).any(axis=1).mean() > 0.9
    same, (whole,) = studies.covered(image, masks, 0.0, np.random.default_rng(0))
    assert (same == image).all() and (whole == masks[0]).all()


def test_hiding_of_perfect_predictions(oracle):
    dataset, engine = oracle
    table = studies.hiding(dataset, engine, CONFIG, 20)
    iou = {(row[0], row[1]): row[3] for row in table.rows}
    real = {row[1]: (row[2], row[7]) for row in table.rows}
    assert real[0.0] == (0.0, 0) and all(real[s][0] >= s - 0.06 for s in studies.HIDDEN)
    assert iou["weighted", 0.0] > 0.85
    # this engine answers with the whole person, so the visible rest is a share of it
    assert iou["weighted", 0.5] == pytest.approx(0.5 * iou["weighted", 0.0], abs=0.12)
    assert iou["weighted", 0.9] < 0.25
    assert len(table.rows) == 15 and table.plot.startswith("<svg")


def test_hiding_reports_the_share_that_covers_of_neighbours_add(oracle, monkeypatch):
    def hide(image, masks, share, rng):
        """Three quarters of everybody, and the first of two wholly."""
        rest = [mask & (np.cumsum(mask).reshape(mask.shape) % 4 == 0) for mask in masks]
        return image, [rest[0] & False, rest[1]] if len(rest) == 2 else rest

    monkeypatch.setattr(studies, "covered", hide)
    row = studies.hiding(*oracle, CONFIG, 0).rows[1]
    assert row[:2] == ["static", 0.3] and row[7] == 1
    assert row[2] == pytest.approx(0.75, abs=0.01)


def test_best_overlaps_match_each_person_with_one_prediction():
    scene = two_scenes()[0]
    assert studies.best_overlaps([scene.mask(0), scene.mask(1)], perfect(scene)) == [1.0, 1.0]
    assert studies.best_overlaps([scene.mask(0)], perfect(two_scenes()[2])) == [0.0]


# the command


@pytest.mark.skipif(not default_model().is_file(), reason="no weights in the tree")
def test_command_writes_tables_plots_and_csv(coco, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(studies, "SIDES", (96, 160))
    out = tmp_path / "out"
    argv = ["ablate", "--images", str(coco[0]), "--annotations", str(coco[1]), "--study", "all",
            "--bootstrap", "5", "--out", str(out), "--engine", "onnxruntime", "--threads", "1",
            "--long-side", "160"]  # fmt: skip
    assert main(argv) == 0
    text = (out / "ablation.md").read_text()
    assert text in capsys.readouterr().out
    for title in (
        "Sigma (figure 5)",
        "AP against time (figure 4)",
        "Source of the keypoints (table III)",
        "Two protocols (table I)",
        "Hidden parts",
        "Centroids (table IV)",
    ):
        assert f"## {title}" in text
    content = json.loads((out / "ablation.json").read_text())
    assert sorted(content["tables"]) == ["hiding", "keypoints", "sigma", "small", "time"]
    assert content["protocol"]["format"] == "COCO"
    for name in ("sigma", "time", "keypoints", "small", "hiding", "modes"):
        with (out / f"{name}.csv").open() as file:
            assert len(list(csv.reader(file))) > 2
    assert sorted(p.name for p in out.glob("*.svg")) == ["hiding.svg", "sigma.svg", "time.svg"]
    sides = [row[0] for row in content["tables"]["time"]["rows"]]
    assert sides == [96, 160]

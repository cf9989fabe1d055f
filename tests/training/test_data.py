from __future__ import annotations

import json
import math
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.training_set import annotation, entry, write_set

torch = pytest.importorskip("torch", reason="training needs torch")
pytest.importorskip("pycocotools", reason="reading annotations needs pycocotools")

from kdc_lab.training.batch import OVERLAP, POSE_UNKNOWN, SEG_UNKNOWN  # noqa: E402
from kdc_lab.training.coco_reader import CROWDED_FROM, LoadReport, read_coco, read_negatives  # noqa: E402
from kdc_lab.training.data import Pack, Pool, epoch_order, is_tuning_image  # noqa: E402
from kdc_lab.training.losses import scale_pseudo  # noqa: E402
from kdc_lab.training.pack import main as pack_main  # noqa: E402
from kdc_lab.training.pack import read_all  # noqa: E402


def read_one(folder: Path, labels: list[dict], **more) -> tuple[Pack, np.ndarray, LoadReport]:
    report = LoadReport()
    pack = read_coco(write_set(folder, [entry(1, **more)], labels), report)
    return pack, pack.decode(0)[1], report


def test_read_coco_masks_own_pixels_and_mark_overlap(tmp_path):
    # boxes of 56 x 118 and 56 x 118 pixels at x = 72…128 and 112…168: 16 columns in common
    labels = [annotation(1, 1, (100, 80), 1.0), annotation(2, 1, (140, 80), 1.0)]
    _, (owner, ignore), report = read_one(tmp_path, labels)
    assert report.people == 2 and not report.problems
    assert owner[80, 80] in (1, 2) and owner[80, 160] in (1, 2) and owner[80, 80] != owner[80, 160]
    assert owner[80, 120] == OVERLAP and owner[80, 20] == 0
    assert not ignore.any()


def test_read_coco_missing_mask_is_unknown(tmp_path):
    label = annotation(1, 1, (100, 80), 1.0, segmentation=[])
    pack, (owner, ignore), _ = read_one(tmp_path, [label])
    assert not owner.any() and pack.mask_weight[0] == 0
    x, y, w, h = (round(v) for v in label["bbox"])
    assert (ignore[y + 1 : y + h - 1, x + 1 : x + w - 1] == SEG_UNKNOWN).all()
    assert not ignore[:, : x - 1].any()
    assert (pack.keypoints[0, :, 2] == 2).all()  # the pose is still known


@pytest.mark.parametrize(
    ("confidence", "weight"), [(0.6, 0), (0.70, 0), (0.825, 0.5), (0.96, 0.999), (1.0, 0.999)]
)
def test_read_coco_pseudo_mask_weight_follows_confidence(tmp_path, confidence, weight):
    label = annotation(1, 1, (100, 80), 1.0, pseudo_mask=True, mask_conf=confidence)
    pack, (owner, _), _ = read_one(tmp_path, [label])
    assert pack.mask_weight[0] == pytest.approx(weight, abs=1e-6)
    assert bool(owner.any()) == (weight > 0)
    trusted = scale_pseudo(torch.from_numpy(pack.mask_weight), 0.3)
    assert trusted[0] == pytest.approx(0.3 * weight, abs=1e-6)  # as a pseudo mask of any confidence


def test_read_coco_crowd_is_unknown_for_mask_and_pose(tmp_path):
    mask = np.zeros((160, 200), np.uint8)
    mask[20:60, 30:90] = 1
    runs = np.diff(np.flatnonzero(np.diff(np.r_[0, mask.T.ravel(), 0]) != 0), prepend=0)
    counts = [*runs.tolist(), int(mask.size - runs.sum())]
    crowd = annotation(
        1, 1, (60, 40), 0.3, iscrowd=1, segmentation={"size": [160, 200], "counts": counts}
    )
    report = LoadReport()
    path = write_set(tmp_path, [entry(1)], [])
    path.write_text(json.dumps({"images": [entry(1)], "annotations": [crowd]}))
    pack = read_coco(path, report)
    ignore = pack.decode(0)[1][1]
    assert len(pack.area) == 0 and not report.problems
    assert ((ignore == (SEG_UNKNOWN | POSE_UNKNOWN)) == (mask > 0)).all()


def test_read_coco_person_without_keypoints_keeps_poses_of_others(tmp_path):
    labels = [
        annotation(1, 1, (100, 80), 1.0, keypoints=[0] * 51),
        annotation(2, 1, (140, 80), 1.0),
    ]
    pack, (owner, ignore), _ = read_one(tmp_path, labels)
    mute = 1 + int(np.flatnonzero((pack.keypoints[..., 2] == 0).all(axis=1))[0])
    assert (ignore[owner == mute] == POSE_UNKNOWN).all() and (owner == mute).sum() > 1000
    assert not ignore[owner == 3 - mute].any()


@pytest.mark.parametrize(("people", "unknown"), [(CROWDED_FROM - 1, False), (CROWDED_FROM, True)])
def test_read_coco_crowded_image_with_incomplete_masks_has_no_background(tmp_path, people, unknown):
    labels = [annotation(i, 1, (15 + 14 * i, 80), 0.2) for i in range(people)]
    _, (owner, ignore), _ = read_one(tmp_path, labels, masks_complete=False)
    corner = ignore[:20, :20]
    assert (corner == (SEG_UNKNOWN | POSE_UNKNOWN)).all() if unknown else not corner.any()
    assert not (ignore[owner > 0] & SEG_UNKNOWN).any()


def test_read_coco_shrinks_large_images_with_half_pixel_centres(tmp_path):
    report = LoadReport()
    label = annotation(1, 1, (400, 300), 3.0)
    pack = read_coco(write_set(tmp_path, [entry(1, 960, 600)], [label]), report)
    assert pack.size.tolist() == [[480, 300]]
    given = np.array(label["keypoints"]).reshape(17, 3)[:, :2]
    assert np.allclose(pack.keypoints[0, :, :2], (given + 0.5) / 2 - 0.5, atol=1e-4)
    assert pack.area[0] == pytest.approx(label["area"] / 4)
    ys, xs = np.nonzero(pack.decode(0)[1][0] == 1)
    x, y, w, h = np.array(label["bbox"]) / 2
    assert np.allclose(
        [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1], [x, y, x + w, y + h], atol=1.01
    )


def test_read_coco_counts_broken_input_and_uses_the_rest(tmp_path):
    images = [entry(i) for i in range(1, 7)]
    labels = [annotation(i, i, (100, 80), 1.0) for i in range(1, 7)]
    path = write_set(tmp_path, images, labels)
    folder = tmp_path / "images"
    (folder / "000001.jpg").unlink()
    (folder / "000002.jpg").write_text("this is no image")
    whole = (folder / "000003.jpg").read_bytes()
    (folder / "000003.jpg").write_bytes(whole[: len(whole) // 2])
    cv2.imwrite(str(folder / "000004.jpg"), np.zeros((90, 90, 3), np.uint8))
    (folder / "000005.jpg").write_bytes(b"")
    content = json.loads(path.read_text())
    content["images"] += [{"id": "x"}, entry(6)]
    content["annotations"] += [
        annotation(10, 99, (100, 80), 1.0),
        {"id": 11, "image_id": 6},
        annotation(12, 6, (100, 80), 1.0, bbox=[5, 5, 0, 3]),
        annotation(13, 6, (100, 80), 1.0, keypoints=[1, 2, 3]),
        annotation(14, 6, (100, 80), 1.0, segmentation={"size": [3, 3]}),
        annotation(15, 6, (100, 80), 1.0, segmentation={"size": [9, 9], "counts": [81]}),
        annotation(17, 6, (100, 80), 1.0, segmentation=[[9, 9, 90, 9, 90, math.inf]]),
        annotation(16, 6, (100, 80), 1.0, keypoints=[900, 9, 2] * 17),
        "nonsense",
    ]
    path.write_text(json.dumps(content))
    report = LoadReport()
    pack = read_coco(path, report)
    assert pack.image_id.tolist() == [6] and len(pack.area) == 6
    assert report.problems == {
        "image missing": 1,
        "image damaged or truncated": 3,
        "image size differs from its entry": 1,
        "image entry without id (a number) or file_name": 1,
        "image id given twice": 1,
        "annotation of an unknown image": 2,
        "annotation without bbox": 1,
        "empty box": 1,
        "keypoints are not 17 x 3 numbers": 1,
        "segmentation unreadable": 2,
        "segmentation size differs from its image": 1,
        "keypoint outside its image or v not 0, 1, 2": 1,
    }
    assert "3 x image damaged" in str(report)


@pytest.mark.parametrize(
    ("image", "label", "message"),
    [
        ({"id": "1"}, {"image_id": "1"}, "1 x image entry without id (a number)"),
        ({"file_name": "a.jpg"}, {}, "1 x image missing (first: a.jpg)"),
        ({"width": 160, "height": 200}, {}, "1 x image size differs from its entry"),
        ({}, {"category_id": "1"}, "(a number) of no category of the file (first: '1')"),
        ({}, {"bbox": None}, "1 x annotation without bbox (first: 1)"),
        ({}, {"bbox": [math.nan, 0, 9, 9]}, "1 x annotation without bbox (first: 1)"),
        ({}, {"image_id": "1"}, "1 x annotation of an unknown image"),
    ],
)
def test_read_coco_refuses_a_file_without_usable_data(tmp_path, image, label, message):
    path = write_set(tmp_path, [entry(1)], [annotation(1, 1, (100, 80), 1.0)])
    content = {
        "images": [{**entry(1), **image}],
        "annotations": [{**annotation(1, 1, (100, 80), 1.0), **label}],
    }
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"\A[^\n]+\Z") as error:
        read_coco(path, LoadReport())
    text = str(error.value)
    assert message in text and text.startswith(f"{path}: none of its 1 ") and len(text) < 600
    assert (f"they are expected in {tmp_path / 'images'}" in text) == bool(image)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=8,
)
WRONG = JSON | st.sampled_from(
    [
        10**400,
        [1e9, 1e9, 2] * 17,
        [math.nan] * 51,
        [[math.nan] * 6],
        [[1e9] * 6],
        [[0, 0, 9, 0, 9, math.inf]],
        [[0, 0, 1e9, 0, 9, 9]],
        {"counts": [5], "size": [160, 200]},
        {"counts": [5, -3], "size": [160, 200]},
        {"counts": "x", "size": [160, 200]},
    ]
)
FIELDS = [*sorted(annotation(1, 1, (0, 0), 1.0)), "pseudo_mask", "mask_conf"]


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.sampled_from(FIELDS), WRONG, max_size=3))
def test_read_coco_survives_any_value_in_any_field(tmp_path_factory, changes):
    folder = tmp_path_factory.mktemp("set")
    good = annotation(1, 1, (60, 80), 0.8)
    path = write_set(folder, [entry(1)], [good])
    wrong = {**annotation(2, 1, (140, 80), 0.8, pseudo_mask=True, mask_conf=0.9), **changes}
    path.write_text(json.dumps({"images": [entry(1)], "annotations": [good, wrong]}))
    pack = read_coco(path, LoadReport())
    assert len(pack) == 1 and 1 <= len(pack.area) <= 2
    for name in ("keypoints", "area", "box", "mask_weight"):
        assert np.isfinite(getattr(pack, name)).all(), name
    assert (pack.area > 0).all() and pack.mask_weight.max() <= 1


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"annotations": []}', '{"images": 3}', "\x00"])
def test_read_coco_refuses_other_files_in_one_line(tmp_path, text):
    path = tmp_path / "bad.json"
    path.write_text(text)
    with pytest.raises(ValueError, match="expected a COCO annotation file"):
        read_coco(path, LoadReport())


def test_read_coco_uses_the_category_person(tmp_path):
    labels = [annotation(1, 1, (60, 80), 0.8, category_id=3), annotation(2, 1, (140, 80), 0.8)]
    path = write_set(tmp_path, [entry(1)], labels)
    content = json.loads(path.read_text())
    categories = [{"id": 1, "name": "dog"}, {"id": 3, "name": "person"}]
    path.write_text(json.dumps({**content, "categories": categories}))
    pack = read_coco(path, LoadReport())
    assert len(pack.area) == 1
    assert pack.box[0, 0] == pytest.approx(labels[0]["bbox"][0])
    path.write_text(
        json.dumps({**content, "categories": [{"id": 1, "name": "dog"}, {"id": 2, "name": "cat"}]})
    )
    with pytest.raises(ValueError, match="expected a category named person, got cat, dog"):
        read_coco(path, LoadReport())
    others = [{**label, "category_id": 1} for label in labels]
    path.write_text(json.dumps({**content, "annotations": others, "categories": categories}))
    report = LoadReport()
    assert (
        len(read_coco(path, report)) == 1 and not report.people
    )  # an image with a dog is a negative
    assert not report.problems


def test_read_coco_empty_annotations_are_negatives(tmp_path):
    pack, maps, _ = read_one(tmp_path, [])
    assert len(pack) == 1 and not maps.any()
    negatives = read_negatives(tmp_path / "images", LoadReport())
    assert len(negatives) == 1 and not negatives.tune.any()
    with pytest.raises(ValueError, match="expected a folder with images"):
        read_negatives(tmp_path / "none", LoadReport())


def test_pack_survives_save_split_and_join(small_set, tmp_path):
    whole, _ = read_all([small_set], [], [])
    assert pack_main(["--data", str(small_set), "--out", str(tmp_path / "p"), "--pieces", "3"]) == 0
    joined = Pack.join([Pack.load(path) for path in sorted((tmp_path / "p").iterdir())])
    back = joined.take(np.argsort(joined.image_id))
    for name in ("image_id", "tune", "size", "keypoints", "area", "box", "mask_weight"):
        assert np.array_equal(getattr(back, name), getattr(whole, name)), name
    for i in range(len(whole)):
        assert all(np.array_equal(a, b) for a, b in zip(back.decode(i), whole.decode(i), strict=1))
    packed = next((tmp_path / "p").iterdir()).read_bytes()
    np.save(tmp_path / "array.npy", np.zeros(3))
    for content in (packed[: len(packed) // 2], (tmp_path / "array.npy").read_bytes()):
        (tmp_path / "other.npz").write_bytes(content)
        with pytest.raises(ValueError, match="is not a pack of training images"):
            Pack.load(tmp_path / "other.npz")
    with pytest.raises(ValueError, match="is not a pack of training images"):
        Pack.load(small_set)


def test_pack_training_excludes_the_tuning_split(small_set):
    pack, _ = read_all([small_set], [], [])
    assert (
        pack.tuning().image_id.tolist() == [7, 27]
        and is_tuning_image(427)
        and not is_tuning_image(70)
    )
    assert not set(pack.training().image_id) & {7, 27} and len(pack.training()) == 6
    extra, _ = read_all([], [small_set], [])
    assert len(extra.training()) == 8


def test_pool_resident_gives_equal_data(small_set):
    pack, _ = read_all([small_set], [], [])
    device = torch.device("cpu")
    indices = np.array([3, 0, 7])
    kept = Pool(pack, device, True).sources(indices)
    fresh_pool = Pool(pack, device, False)
    fresh = fresh_pool.sources(indices)
    assert torch.equal(kept.image, fresh.image) and torch.equal(kept.maps, fresh.maps)
    labels = fresh_pool.labels(indices)
    assert (labels.area > 0).sum(axis=1).tolist() == [1, 2, 2]
    assert labels.keypoints.shape == (3, 2, 17, 3) and not labels.keypoints[0, 1].any()
    with pytest.raises(ValueError, match="at least one usable image"):
        Pool(pack.take(np.zeros(0, int)), device, False)


def test_epoch_order_shows_every_image_once_per_epoch():
    seen = np.concatenate([epoch_order(10, 4, step, seed=3) for step in range(5)])
    assert sorted(seen[:10]) == sorted(seen[10:]) == list(range(10))
    assert seen[:10].tolist() != seen[10:].tolist()
    assert np.array_equal(epoch_order(10, 4, 2, seed=3), seen[8:12])


PSEUDO = [100.0, 40.0, 0.9, 110.0, 40.0, 0.55, 90.0, 40.0, 0.3, 199.9, 40.0, 0.9] + [0.0] * 39


def test_read_coco_uses_pseudo_keypoints_without_human_ones(tmp_path):
    unset = annotation(1, 1, (100, 80), 1.0, keypoints=[0] * 51, keypoints_pseudo=PSEUDO)
    pack, (_, ignore), report = read_one(tmp_path, [unset])
    assert not report.problems
    # weight 0 at a confidence of 0.3, and 0.5 from 0.8 on; outside the image nothing is known
    assert pack.keypoints[0, :4, 2] == pytest.approx([0.5, 0.25, 0, 0])
    assert pack.keypoints[0, 0, :2] == pytest.approx([100, 40])
    assert (ignore[80, 100] & POSE_UNKNOWN) == POSE_UNKNOWN  # the other joints stay unknown


def test_read_coco_never_mixes_pseudo_and_human_keypoints(tmp_path):
    one = [0.0] * 51
    one[:3] = [100, 40, 1]
    label = annotation(1, 1, (100, 80), 1.0, keypoints=one, keypoints_pseudo=PSEUDO)
    pack, _, _ = read_one(tmp_path, [label])
    assert pack.keypoints[0, :, 2].tolist() == [1.0] + [0.0] * 16


@pytest.mark.parametrize("value", [[1, 2, 3], "text", [None] * 51, [float("nan")] * 51])
def test_read_coco_skips_pseudo_keypoints_of_wrong_shape(tmp_path, value):
    label = annotation(1, 1, (100, 80), 1.0, keypoints=[0] * 51, keypoints_pseudo=value)
    pack, _, _ = read_one(tmp_path, [label])
    assert not pack.keypoints.any()


@pytest.mark.parametrize(("complete", "outside"), [(True, 0), (False, SEG_UNKNOWN | POSE_UNKNOWN)])
def test_read_coco_partly_labelled_image_is_unknown_outside_boxes(tmp_path, complete, outside):
    label = annotation(1, 1, (100, 80), 1.0)
    _, (_, ignore), _ = read_one(tmp_path, [label], persons_complete=complete)
    assert ignore[10, 10] == outside and ignore[80, 100] == 0

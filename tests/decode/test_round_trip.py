"""Truth → targets → fields → decoder → the same truth: the proof that the parts agree."""

import numpy as np
import pytest

from kdc_core.config import CentroidConfig, DecodeConfig, ModelInfo
from kdc_core.decode import decode
from tests.scenes import Scene, draw

pytest.importorskip("torch", reason="targets are made in torch: pip install -e '.[train]'")


def matched(scene: Scene, people) -> list[tuple[int, float]]:
    """For each drawn person the found row with the best mask IoU, and that IoU."""
    pairs = []
    for j in range(len(scene.keypoints)):
        truth = scene.mask(j)
        iou = [
            (people.mask(i) & truth).sum() / (people.mask(i) | truth).sum()
            for i in range(len(people))
        ]
        pairs.append((int(np.argmax(iou)), max(iou)))
    return pairs


@pytest.mark.parametrize("radius", [16.0, 32.0])
@pytest.mark.parametrize("seg_stride", [2, 4])
def test_decode_crossing_people(radius, seg_stride):
    scene = draw([(200, 450), (260, 455)], [400, 380])
    people = decode(scene.fields(ModelInfo(radius=radius, seg_stride=seg_stride)), DecodeConfig())
    assert len(people) == 2
    for j, (row, iou) in enumerate(matched(scene, people)):
        labelled = scene.keypoints[j, :, 2] > 0
        miss = people.keypoints[row, :, :2] - scene.keypoints[j, :, :2]
        assert np.linalg.norm(miss[labelled], axis=1).max() < 0.5  # pixels
        assert iou > 0.93


def test_decode_hidden_keypoints_are_not_visible():
    scene = draw([(200, 450), (260, 455)], [400, 380])
    people = decode(scene.fields(), DecodeConfig())
    for j, (row, _) in enumerate(matched(scene, people)):
        v = scene.keypoints[j, :, 2]
        np.testing.assert_array_equal(people.visible[row][v > 0], v[v > 0] == 2)


@pytest.mark.parametrize("mode", ["static", "single", "nearest", "weighted", "all"])
def test_decode_finds_the_masks_in_every_centroid_mode(mode):
    scene = draw([(100 + 60 * i, 300 + 10 * i) for i in range(8)], [120.0] * 8)
    people = decode(scene.fields(), DecodeConfig(centroid=CentroidConfig(mode=mode)))
    assert len(people) == 8
    assert min(iou for _, iou in matched(scene, people)) > 0.95


def test_decode_finds_a_person_by_its_centre_alone():
    scene = draw([(300, 240)], [60])
    unlabelled = Scene(scene.owner, np.zeros_like(scene.keypoints))
    people = decode(unlabelled.fields(), DecodeConfig())
    assert len(people) == 1
    assert matched(scene, people)[0][1] > 0.85


def test_decode_keypoints_are_in_frame_pixels():
    scene = draw([(200, 450), (420, 455)], [400, 380])
    fields = scene.fields()
    from dataclasses import replace

    from kdc_core.letterbox import Letterbox

    half = Letterbox.fit((320, 240), 640, 64)
    people = decode(replace(fields, letterbox=half), DecodeConfig())
    assert people.labels.shape == (240, 320)
    expected = (scene.keypoints[:, 0, :2] + 0.5) / 2 - 0.5
    found = people.keypoints[np.argsort(people.keypoints[:, 0, 0]), 0, :2]
    np.testing.assert_allclose(found, expected, atol=0.3)


def test_decode_empty_image():
    scene = Scene(np.zeros((480, 640), np.uint8), np.zeros((0, 17, 3), np.float32))
    people = decode(scene.fields(), DecodeConfig())
    assert len(people) == 0
    assert people.labels.shape == (480, 640)
    assert not people.labels.any()


def test_decode_with_noise_keeps_people():
    scene = draw([(150, 450), (330, 440), (500, 455)], [380, 300, 350])
    fields = scene.fields()
    rng = np.random.default_rng(5)
    for name, spread in (("short", 0.1), ("mid", 0.2), ("anchor", 0.3)):
        field = getattr(fields, name)
        field += rng.normal(0, spread, field.shape).astype(np.float32)
    people = decode(fields, DecodeConfig())
    pairs = matched(scene, people)
    assert len(people) == 3
    assert min(iou for _, iou in pairs) > 0.93
    for j, (row, _) in enumerate(pairs):
        labelled = scene.keypoints[j, :, 2] > 0
        miss = people.keypoints[row, :, :2] - scene.keypoints[j, :, :2]
        assert np.linalg.norm(miss[labelled], axis=1).max() < 2.5  # pixels

from __future__ import annotations

import hashlib
from itertools import combinations, pairwise

import cv2
import numpy as np
import pytest

pytest.importorskip("anny", reason="synthetic people need pip install -e '.[synth]'")
pytest.importorskip("warp", reason="synthetic people need pip install -e '.[synth]'")

from kdc_lab.synth import RenderedFrame, SynthConfig, bodies, clip, still
from kdc_lab.synth.activities import stay
from kdc_lab.synth.clip_sampling import clip_scene
from kdc_lab.synth.contacts import have_similar_height, hold_hands, hug
from kdc_lab.synth.paths import simulate_paths
from kdc_lab.synth.scene import Scene
from kdc_lab.synth.still_sampling import (
    MAX_BOX_OVERLAP,
    freeze,
    overlap_share,
    random_actor,
    still_scene,
)
from kdc_lab.synth.volume import SOFTNESS, overlap

SMALL = SynthConfig(size=(240, 180), people=(1, 8))


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    bodies.load_model()
    return [still_scene(seed, SMALL, None) for seed in range(8)]


@pytest.fixture(scope="module")
def shots(scenes: list[Scene]) -> list[RenderedFrame]:
    return [scene.render_frame(0.0, np.random.default_rng(0)) for scene in scenes]


def digest(shot: RenderedFrame) -> str:
    parts = (shot.image, shot.labels, shot.keypoints, shot.box, shot.hidden, shot.ids)
    return hashlib.sha256(b"".join(part.tobytes() for part in parts)).hexdigest()


def test_frame_shapes_and_ranges(shots: list[RenderedFrame]) -> None:
    for shot in shots:
        people = len(shot)
        assert 1 <= people <= 8
        assert shot.image.shape == (180, 240, 3) and shot.image.dtype == np.uint8
        assert shot.labels.shape == (180, 240) and shot.labels.max() <= people
        assert shot.keypoints.shape == (people, 17, 3) and shot.keypoints.dtype == np.float32
        assert set(np.unique(shot.keypoints[..., 2])) <= {0, 1, 2}
        assert ((shot.hidden >= 0) & (shot.hidden <= 1)).all()
        assert (shot.ids > 0).all() and len(set(shot.ids)) == people
        assert shot.image.std() > 8  # the image is not uniform


def test_still_same_seed_same_bytes() -> None:
    once = digest(still(5, SMALL))
    assert once == digest(still(5, SMALL)) != digest(still(6, SMALL))


def test_frame_labels_agree_with_keypoints_and_boxes(shots: list[RenderedFrame]) -> None:
    near, seen = 0, 0
    for shot in shots:
        for person in range(len(shot)):
            mask = shot.labels == person + 1
            visible = shot.keypoints[person, shot.keypoints[person, :, 2] == 2, :2]
            seen += len(visible)
            if mask.any():
                away = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 5)
                column, row = visible.round().astype(int).T
                near += (away[row, column] <= 3).sum()
                rows, columns = np.nonzero(mask)
                x1, y1, x2, y2 = shot.box[person]
                assert x1 - 0.5 <= columns.min() and columns.max() + 1 <= x2 + 0.5
                assert y1 - 0.5 <= rows.min() and rows.max() + 1 <= y2 + 0.5
            else:
                assert shot.hidden[person] == 1
    assert seen > 100
    assert near >= 0.99 * seen, f"{near} of {seen}"


def test_frame_box_of_a_fully_visible_person_is_the_box_of_its_mask() -> None:
    """A pixel counts if its centre is hit, so edges differ by up to half a pixel on each side."""
    free = SynthConfig(size=(320, 240), people=(1, 2), crowding=0, occluders=0, contact=0)
    off = []
    for seed in range(7):
        shot = still(seed, free)
        for row in np.flatnonzero(shot.hidden == 0):
            y, x = np.nonzero(shot.labels == row + 1)
            box = np.array([x.min(), y.min(), x.max() + 1, y.max() + 1])
            if (box[:2] > 0).all() and (box[2:] < (320, 240)).all():
                off.append(shot.box[row] - box)
    assert len(off) >= 3 and np.abs(off).max() < 0.6
    assert abs(np.mean(off)) < 0.25


def test_scene_people_do_not_intersect(scenes: list[Scene]) -> None:
    pairs = 0
    for scene in scenes:
        free = [actor.spheres(0.0) for actor in scene.actors if actor.grip is None]
        for a, b in combinations(free, 2):
            assert overlap(a, b) < SOFTNESS + 1e-6
            pairs += 1
    assert pairs > 10


@pytest.mark.parametrize("join", [hug, hold_hands])
def test_contact_pairs_touch_without_intersecting(join) -> None:
    bodies.load_model()
    rng = np.random.default_rng(4)
    people = [random_actor(rng, 0.0) for _ in range(8)]
    for person in people:
        person.activity = freeze(stay(rng, "stand"), 0.0)
    pairs = [
        pair for pair in combinations(people, 2) if join is hold_hands or have_similar_height(*pair)
    ]
    for a, b in pairs[:6]:
        join(a, b)
        depth = overlap(a.spheres(0.0), b.spheres(0.0))
        assert -0.1 < depth < 0.12, f"{depth:.3f} m"


def test_scene_people_stand_on_the_ground(scenes: list[Scene]) -> None:
    for scene in scenes:
        for actor in scene.actors:
            surface = actor.figure.posed(actor.bones(0.0)).vertices
            body = surface[: len(actor.figure.rig.body.vertices)]
            assert -0.02 < body[:, 2].min() < 0.005


def test_clip_motion_is_equal_at_any_frame_rate() -> None:
    slow = {shot.stamp: shot for shot in clip(2, SMALL, seconds=1.0, fps=2)}
    fast = {shot.stamp: shot for shot in clip(2, SMALL, seconds=1.0, fps=4)}
    assert sorted(slow) == [0.0, 0.5] and sorted(fast) == [0.0, 0.25, 0.5, 0.75]
    for stamp, shot in slow.items():
        np.testing.assert_array_equal(shot.ids, fast[stamp].ids)
        np.testing.assert_array_equal(shot.keypoints, fast[stamp].keypoints)
        np.testing.assert_array_equal(shot.labels, fast[stamp].labels)


def test_clip_standing_feet_do_not_slide() -> None:
    bodies.load_model()
    slides = []
    for seed in range(8):
        scene = clip_scene(seed, SMALL, 3.0, None)
        for actor in scene.actors:
            if actor.activity.family != "walk" or actor.grip:
                continue
            times = np.arange(0.5, 2.5, 0.04)
            ankles = np.array([actor.figure.rig.body.keypoints(actor.bones(t))[15:] for t in times])
            speed = np.linalg.norm(np.diff(ankles, axis=0), axis=2) / 0.04
            slides += list(speed.min(axis=1))  # the standing foot
    assert len(slides) > 100
    assert np.median(slides) < 0.2  # m/s, for people walking at about 1 m/s
    assert np.quantile(slides, 0.9) < 0.6


def test_simulate_paths_keeps_people_apart_and_inside() -> None:
    rng = np.random.default_rng(0)
    low, high = np.array([-4.0, 2.0]), np.array([4.0, 8.0])
    starts = np.array([(x, y) for x in (-3.0, -1, 1, 3) for y in (3.0, 5, 7)])
    radii = np.full(12, 0.4)
    speeds = np.where(np.arange(12) < 9, 1.2, 0.0)
    paths = simulate_paths(rng, 20.0, starts, speeds, radii, np.full(12, 1.4), low, high)
    places = np.stack([path.xy for path in paths])
    gaps = [
        np.linalg.norm(places[a] - places[b], axis=1).min() for a, b in combinations(range(12), 2)
    ]
    assert min(gaps) > 0.7
    for path, speed in zip(paths, speeds, strict=True):
        jumps = np.linalg.norm(np.diff(path.xy, axis=0), axis=1)
        assert jumps.max() < 0.4 if speed else jumps.max() == 0
        assert (path.xy > low - 2).all() and (path.xy < high + 2).all()
        assert np.abs(np.diff(path.heading)).max() < 0.21
        if speed:
            assert jumps.sum() > 5  # makes progress
    for a, b in pairwise(paths[0].phase):
        assert b >= a


def test_still_shows_the_photo_as_background() -> None:
    photo = np.zeros((90, 160, 3), np.uint8)
    photo[:, :, 2] = 200  # red
    shot = still(3, SynthConfig(size=(240, 180), people=(1, 2), effects=0.0, occluders=0.0), photo)
    free = shot.image[:40][shot.labels[:40] == 0]
    assert np.median(free[:, 2]) > 60 and np.median(free[:, :2]) == 0


@pytest.mark.parametrize(("crowding", "behind"), [(0.0, (0.0, 0.0)), (1.0, (0.3, 1.0))])
def test_crowding_sets_the_share_of_overlapping_people(crowding, behind) -> None:
    """The share counts the people whose box overlaps the box of another person."""
    bodies.load_model()
    config = SynthConfig(people=(6, 6), crowding=crowding, contact=0.0)
    people = hidden = 0
    for seed in range(4):
        scene = still_scene(seed, config, None)
        boxes = [scene.camera(0.0).box(actor.spheres(0.0)) for actor in scene.actors]
        for person, box in enumerate(boxes):
            others = boxes[:person] + boxes[person + 1 :]
            hidden += any(overlap_share(box, other) > MAX_BOX_OVERLAP for other in others)
        people += len(boxes)
    assert people >= 20
    assert behind[0] <= hidden / people <= behind[1]


def test_synth_config_names_a_wrong_value() -> None:
    with pytest.raises(ValueError, match="people: expected 1 <= fewest <= most"):
        SynthConfig(people=(5, 2))
    with pytest.raises(ValueError, match="size: expected"):
        SynthConfig(size=(8, 360))
    with pytest.raises(ValueError, match="crowding: expected 0 to 1, got 2"):
        SynthConfig(crowding=2)

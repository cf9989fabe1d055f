from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("anny", reason="synthetic people need pip install -e '.[synth]'")
pytest.importorskip("warp", reason="synthetic people need pip install -e '.[synth]'")

import anny.paths

from kdc_core.skeleton import KEYPOINTS
from kdc_lab.synth import bodies
from kdc_lab.synth.attachments import shoe, skirt
from kdc_lab.synth.bodies import BONE, BONES, BodyShape
from kdc_lab.synth.clothes import BOTTOM, HAIR, SHOES, TOP, dress
from kdc_lab.synth.joints import Posture, Rig
from kdc_lab.synth.volume import Volume, overlap, overlap_box

ADULT = {
    "gender": 0.5,
    "age": 0.7,
    "muscle": 0.5,
    "weight": 0.5,
    "height": 0.42,
    "proportions": 0.5,
}


@pytest.fixture(scope="module")
def adult() -> BodyShape:
    return bodies.load_model().shape(ADULT)


def test_import_synth_loads_no_heavy_package() -> None:
    program = "import sys, kdc_lab.synth\nprint({'torch', 'anny', 'warp'} & set(sys.modules))"
    run = subprocess.run(
        [sys.executable, "-c", program], text=True, capture_output=True, check=True
    )
    assert run.stdout.strip() == "set()"


def test_load_model_names_a_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "anny", None)
    with pytest.raises(ValueError, match=r"need anny: pip install anny==0\.6\.2"):
        bodies.load_model.__wrapped__()


def test_build_with_cache_builds_once_and_survives_an_interruption(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    before, builds = anny.paths.get_anny_cache_path(), []

    def build() -> str:
        folder = Path(anny.paths.get_anny_cache_path()) / "v1"
        if (folder / "build_compact_1").exists():
            return "read"
        folder.mkdir(parents=True)
        (folder / "load_data_1").write_text("large")
        if not builds:
            builds.append("broken off")
            raise KeyboardInterrupt
        (folder / "build_compact_1").write_text("small")
        return "built"

    with pytest.raises(KeyboardInterrupt):
        bodies.build_with_cache(build, "anny-1")
    assert [bodies.build_with_cache(build, "anny-1") for _ in range(3)] == ["built", "read", "read"]
    files = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert files == {"kdc/anny-1.lock", "kdc/anny-1/v1/build_compact_1"}
    assert anny.paths.get_anny_cache_path() == before


def test_body_heights_are_human(adult: BodyShape) -> None:
    assert 1.5 < adult.height < 1.95
    child = bodies.load_model().shape({**ADULT, "age": 0.3})
    assert 0.7 < child.height < 1.45
    rng = np.random.default_rng(0)
    model = bodies.load_model()
    heights = [model.shape(bodies.random_phenotype(rng)).height for _ in range(40)]
    assert 1.5 < np.median(heights) < 1.85
    assert max(heights) < 2.2 and min(heights) > 0.7


def test_keypoints_match_their_names(adult: BodyShape) -> None:
    still = np.tile(np.eye(3, 4), (len(BONES), 1, 1))
    points = dict(zip(KEYPOINTS, adult.keypoints(still), strict=True))
    for name, point in points.items():
        side = {"left": 1, "righ": -1}.get(name[:4], 0)
        assert np.sign(np.round(point[0], 2)) == side, name
    above = (
        "left_eye",
        "nose",
        "left_shoulder",
        "left_elbow",
        "left_hip",
        "left_knee",
        "left_ankle",
    )
    heights = [points[name][2] for name in above]
    assert heights == sorted(heights, reverse=True)
    assert points["nose"][1] < points["left_ear"][1]  # faces -y


def test_keypoints_match_regression_from_posed_vertices(adult: BodyShape) -> None:
    """Moments over bones give the same keypoints as regression from the posed vertices."""
    rng = np.random.default_rng(0)
    rig = Rig(adult)
    figure = dress(rig, rng, 0.5)
    bare = replace(figure, rest=replace(figure.rest, vertices=figure.rest.vertices.copy()))
    count = len(adult.vertices)
    bare.rest.vertices[:count] = adult.vertices
    bones = rig.bones(Posture(pitch=20, spine=(20, 10, 10)))
    surface = bare.posed(bones).vertices[:count]
    weights = adult.model.regressor.toarray().reshape(17, len(BONES), count).sum(axis=1)
    np.testing.assert_allclose(weights @ surface, adult.keypoints(bones), atol=2e-4)


def test_skin_weights_sum_to_one(adult: BodyShape) -> None:
    weights = adult.model.weights
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-5)
    assert (weights >= 0).all()
    assert (adult.model.parents < np.arange(len(BONES))).all()


def test_dress_keeps_cloth_off_the_skin(adult: BodyShape) -> None:
    rig, count = Rig(adult), len(adult.vertices)
    for seed in range(6):
        figure = dress(rig, np.random.default_rng(seed), 0.5)
        garment_depth = figure.rest.garment_depth[:count]
        away = np.linalg.norm(figure.rest.vertices[:count] - adult.vertices, axis=1)
        assert np.median(away[garment_depth[:, TOP] > 0.02]) > 0.002
        assert away.max() < 0.1
        naked = (garment_depth <= 0).all(axis=1)
        assert away[naked].max() < 1e-6  # face, hands
        assert 0.15 < naked.mean() < 0.95
        hand = adult.model.weights[:, BONE["wrist.L"]] > 0.9
        assert not (garment_depth[hand][:, [HAIR, TOP, BOTTOM, SHOES]] > 0).any()
        assert figure.rest.faces.max() < len(figure.rest.vertices) == len(figure.weights)
        assert figure.rest.materials.max() < len(figure.rest.table)


def test_skirt_encloses_legs_and_shoe_encloses_foot(adult: BodyShape) -> None:
    mesh, weights = skirt(adult, -0.3, 0.01, 0.05, BOTTOM, np.random.default_rng(0))
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-6)
    assert abs(mesh.vertices[:, 2].min() + 0.3) < 1e-6
    low = mesh.vertices[mesh.vertices[:, 2] < -0.29]
    legs = adult.vertices[np.abs(adult.vertices[:, 2] + 0.3) < 0.02]
    legs = legs[np.abs(legs[:, 0]) < 0.25]  # no hands
    assert low[:, 0].max() > legs[:, 0].max() and low[:, 0].min() < legs[:, 0].min()
    hull, _ = shoe(adult, "L", SHOES)
    foot = adult.vertices[adult.model.weights[:, BONE["foot.L"]] > 0.6]
    toes = foot[foot[:, 2] < foot[:, 2].min() + 0.03]
    assert hull.vertices[:, 1].min() < toes[:, 1].min()
    outward = ((hull.vertices - hull.vertices.mean(axis=0)) * hull.normals).sum(axis=1)
    assert (outward > 0).mean() > 0.95


def test_volume_spheres_fill_the_body(adult: BodyShape) -> None:
    volume = Volume(adult)
    spheres = volume.spheres(np.tile(np.eye(3, 4), (len(BONES), 1, 1)))
    assert (spheres[:, 3] > 0.02).all() and (spheres[:, 3] < 0.2).all()
    distance = (
        np.linalg.norm(adult.vertices[::20, None] - spheres[None, :, :3], axis=2) - spheres[:, 3]
    )
    assert np.quantile(distance.min(axis=1), 0.9) < 0.05
    beside = spheres + np.array([1.5, 0, 0, 0])
    assert (
        overlap(spheres, beside) < -0.2
        and overlap(spheres, spheres + np.array([0.1, 0, 0, 0])) > 0.05
    )
    assert overlap_box(spheres, np.array([-1, -1, -1]), np.array([1, 1, 0])) > 0
    assert overlap_box(spheres, np.array([2, -1, -1]), np.array([3, 1, 0])) < -1

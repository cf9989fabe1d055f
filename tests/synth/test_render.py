from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("anny", reason="synthetic people need pip install -e '.[synth]'")
pytest.importorskip("warp", reason="synthetic people need pip install -e '.[synth]'")

from kdc_lab.synth import SynthConfig, bodies
from kdc_lab.synth.keypoint_truth import hidden_share, label_keypoints
from kdc_lab.synth.mesh import Mesh, box, no_garments
from kdc_lab.synth.pinhole import Camera
from kdc_lab.synth.renderer import Light, Rendering, Room, render
from kdc_lab.synth.still_sampling import still_scene

ROW = np.array([0, 1, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0, 1], np.float32)
LIGHT = Light(np.array([0.0, -0.6, 0.8]), np.ones(3), np.full(3, 0.4), np.full(3, 0.2))
ROOM = Room(np.array([(-9.0, -9, 0), (9, 20, 9)]), np.stack([ROW] * 6))
NO_FEET = np.zeros((0, 3))
CAMERA = Camera.aimed(np.array([0.0, 0, 1]), np.array([0.0, 5, 1]), 0.0, 100.0, (101, 81))


def card(
    left: float, right: float, bottom: float, top: float, depth: float, is_person: bool
) -> Mesh:
    """Return an upright rectangle; bounds are pixels of ``CAMERA`` from its centre."""
    scale = depth / 100
    corners = [(x * scale, depth, 1 + z * scale) for x in (left, right) for z in (bottom, top)]
    vertices = np.array(corners)
    faces = np.array([(0, 1, 2), (1, 3, 2)], np.int32)
    normals = np.tile((0.0, -1.0, 0.0), (4, 1))
    return Mesh(
        vertices,
        normals,
        vertices,
        faces,
        np.zeros(2, np.int32),
        ROW[None],
        np.full(4, is_person),
        no_garments(vertices),
    )


def draw(people: list[Mesh], props: list[Mesh]) -> Rendering:
    return render(people, props, NO_FEET, ROOM, LIGHT, CAMERA, "cpu")


def test_render_covers_a_pixel_if_its_centre_is_covered() -> None:
    rendering = draw([card(-10.5, 9.5, -5.5, 4.5, 3.0, True)], [])
    rows, columns = np.nonzero(rendering.labels)
    assert (columns.min(), columns.max()) == (50 - 10, 50 + 9)
    assert (rows.min(), rows.max()) == (40 - 4, 40 + 5)
    np.testing.assert_allclose(rendering.box[0], (39.5, 35.5, 59.5, 45.5), atol=1e-3)
    np.testing.assert_allclose(rendering.depth[rendering.labels == 1], 3.0, atol=1e-4)


def test_render_gives_a_pixel_to_the_nearest_surface() -> None:
    far = card(-10.5, 9.5, -5.5, 4.5, 5.0, True)  # 20 × 10 pixels
    near = card(-0.5, 30.5, -20.5, 20.5, 3.0, True)  # covers the right half of it
    prop = card(-10.5, -5.5, -20.5, 20.5, 2.0, False)  # covers a quarter
    rendering = draw([far, near], [prop])
    assert rendering.silhouette_area.tolist() == [200, 31 * 41]
    np.testing.assert_allclose(hidden_share(rendering), (0.75, 0.0))
    assert [(rendering.labels == p).sum() for p in (1, 2)] == [50, 31 * 41]


def test_render_box_may_exceed_the_image() -> None:
    rendering = draw([card(30.5, 80.5, -5.5, 4.5, 3.0, True)], [])
    np.testing.assert_allclose(rendering.box[0, [0, 2]], (80.5, 130.5), atol=1e-3)
    assert rendering.silhouette_area[0] == 20 * 10  # of 50 × 10


def test_label_keypoints_visible_hidden_and_outside() -> None:
    rendering = draw(
        [card(-10.5, 9.5, -5.5, 4.5, 5.0, True)], [card(-10.5, -0.5, -20.5, 20.5, 3.0, False)]
    )
    points = np.zeros((1, 17, 3))
    points[:] = (0.25, 5.02, 1.0)  # right half, inside the flesh
    points[0, 1] = (-0.25, 5.02, 1.0)  # behind the object
    points[0, 2] = (3.0, 5.0, 1.0)  # right of the image
    points[0, 3] = (0.25, 5.6, 1.0)  # deeper than the flesh: on the far side of the own body
    points[0, 4] = (0.0, -3.0, 1.0)  # behind the camera
    labels = label_keypoints(points, np.array([1.7]), rendering, CAMERA)
    assert labels[0, :5, 2].tolist() == [2, 1, 0, 1, 0]
    np.testing.assert_allclose(labels[0, 0, :2], (50 + 100 * 0.25 / 5.02, 40), atol=1e-4)


def owner_at(
    pixel: np.ndarray, scene_camera: Camera, corners: np.ndarray, owner: np.ndarray
) -> int:
    """Return the owner of the first triangle on the ray through a pixel (Möller and Trumbore)."""
    ray = scene_camera.rays() @ (pixel[0], pixel[1], 1.0)
    a, ab, ac = corners[:, 0], corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    p = np.cross(ray, ac)
    det = (ab * p).sum(axis=1)
    det = np.where(np.abs(det) < 1e-14, np.nan, det)
    t = scene_camera.eye - a
    q = np.cross(t, ab)
    u, v = (t * p).sum(axis=1) / det, (q * ray).sum(axis=1) / det
    depth = (q * ac).sum(axis=1) / det
    hit = (u >= 0) & (v >= 0) & (u + v <= 1) & (depth > 0)
    return int(owner[hit][depth[hit].argmin()]) if hit.any() else 0


def test_render_labels_agree_with_ray_casting() -> None:
    bodies.load_model()
    scene = still_scene(6, SynthConfig(people=(6, 8), crowding=1.0, occluders=1.0), None)
    camera = scene.camera(0.0)
    people = [actor.figure.posed(actor.bones(0.0)) for actor in scene.actors]
    props = [prop.at(0.0) for prop in scene.props]
    rendering = render(people, props, NO_FEET, scene.room, scene.light, camera, "cpu")
    corners, owner = [], []
    for index, mesh in enumerate([*people, *props]):
        corners.append(mesh.vertices.astype(float)[mesh.faces])
        mine = mesh.is_person[mesh.faces[:, 0]]
        owner.append(np.where(mine, index + 1, 0))
    triangles, owners = np.concatenate(corners), np.concatenate(owner)
    flat = camera.project(triangles)[..., :2]
    low, high = (
        flat.min(axis=1) - 1,
        flat.max(axis=1) + 1,
    )  # only for speed: triangles near the pixel
    # half of the pixels lie on edges of masks, half anywhere on people
    edges = np.argwhere(rendering.labels[1:, 1:] != rendering.labels[:-1, :-1]) + 1
    inside = np.argwhere(rendering.labels > 0)
    rng = np.random.default_rng(0)
    pixels = np.concatenate([rng.permutation(edges)[:60], rng.permutation(inside)[:60]])
    compared = 0
    for row, column in pixels:
        hit = ((low <= (column, row)) & (high >= (column, row))).all(axis=1)
        near = [
            owner_at(np.array([column + dx, row + dy]), camera, triangles[hit], owners[hit])
            for dx, dy in ((0, 0), (0.01, 0.01), (-0.01, -0.01))
        ]
        if len(set(near)) == 1:  # otherwise an edge runs through the centre
            assert rendering.labels[row, column] == near[0], (row, column)
            compared += 1
    assert compared >= 100


def test_render_casts_a_shadow_on_the_floor() -> None:
    down = Camera.aimed(np.array([0.0, 0, 3]), np.array([0.0, 3, 0]), 0.0, 100.0, (101, 81))
    block = box(np.array([0.5, 0.5, 0.5]), ROW).transformed(np.eye(3), np.array([0.0, 3.0, 0.0]))
    from_left = replace(LIGHT, sun=np.array([-0.6, 0.0, 0.8]))
    rendering = render([], [block], NO_FEET, ROOM, from_left, down, "cpu").linear.mean(axis=2)
    shaded, free = (
        down.project(np.array([x, 3.0, 0.0])).round().astype(int) for x in (0.45, -0.45)
    )
    assert rendering[shaded[1], shaded[0]] < 0.6 * rendering[free[1], free[0]]

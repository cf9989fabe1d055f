"""Render surfaces under light to a linear image, labels and depth."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from kdc_core.errors import InputError
from kdc_lab.synth import rasterizer, shading
from kdc_lab.synth.mesh import NO_PERSON, Mesh, join
from kdc_lab.synth.pinhole import Camera

SHADOW_SIZE = 512  # cells of the shadow map's side


@dataclass(frozen=True)
class Light:
    """One distant key light, and soft light from above and below; linear RGB."""

    sun: np.ndarray  # (3,) unit direction towards the key light
    key: np.ndarray  # (3,)
    sky: np.ndarray  # (3,)
    ground: np.ndarray  # (3,)


@dataclass(frozen=True)
class Room:
    """The box around the scene, visible from inside where no ``photo`` covers it."""

    corners: np.ndarray  # (2, 3) metres, lowest and highest
    table: np.ndarray  # (6, 10) material rows: walls x-, x+, y-, y+, floor, ceiling
    photo: np.ndarray | None = None  # (H, W, 3) float32 linear RGB


@dataclass(frozen=True)
class Rendering:
    """What the camera sees of P people."""

    linear: np.ndarray  # (H, W, 3) float32 linear RGB
    labels: np.ndarray  # (H, W) uint8: 0 background, p + 1 person p
    depth: np.ndarray  # (H, W) float32 metres along the camera's axis, inf where empty
    silhouette_area: np.ndarray  # (P,) int64 pixels of each person alone
    box: np.ndarray  # (P, 4) float32, amodal; whole numbers are centres of pixels


@cache
def choose_device(name: str) -> str:
    """Return the name of warp's device for "auto", "cpu" or "cuda".

    Raises:
        InputError: CUDA is required and there is no CUDA device.
    """
    import warp as wp

    wp.init()
    found = wp.is_cuda_available()
    if name == "cuda" and not found:
        raise InputError("device 'cuda': no CUDA device found; use 'cpu' or 'auto'")
    return "cuda:0" if found and name != "cpu" else "cpu"


def render(
    people: list[Mesh],
    props: list[Mesh],
    feet: np.ndarray,
    room: Room,
    light: Light,
    camera: Camera,
    device: str,
) -> Rendering:
    """Render people and objects.

    Args:
        people: Meshes of people; triangles with ``is_person`` belong to the person.
        props: Meshes of objects.
        feet: (N, 3) metres; the floor is darker around these points.
        room: Walls, floor and ceiling, or a photo.
        light: Light of the scene.
        camera: Camera of the image.
        device: "auto", "cpu" or "cuda".
    """
    import warp as wp

    mesh, source, first_rows = join([*people, *props])
    mine = (source < len(people)) & mesh.is_person[mesh.faces[:, 0]]
    layers = np.where(mine, source, NO_PERSON).astype(np.int32)
    points = camera.project(mesh.vertices).astype(np.float32)
    boxes = _boxes(points, people)
    rectangles = _rectangles(boxes, camera.size)
    to_light = _light_view(people, props, light)
    shadows = (mesh.vertices @ to_light[:3, :3].T + to_light[:3, 3]).astype(np.float32)
    with wp.ScopedDevice(choose_device(device)):
        faces = wp.array(mesh.faces, dtype=wp.int32)
        seen = wp.array(points, dtype=wp.vec3)
        nearest, own = _rasterise(seen, faces, layers, rectangles, camera.size[::-1], 1)
        no_person, square = np.full_like(layers, NO_PERSON), (SHADOW_SIZE, SHADOW_SIZE)
        cast = wp.array(shadows, dtype=wp.vec3)
        shadow, _ = _rasterise(cast, faces, no_person, rectangles[:0], square, 0)
        fine, _ = _rasterise(
            wp.array(points * (2, 2, 1) + np.float32([0.5, 0.5, 0]), dtype=wp.vec3),
            faces,
            no_person,
            rectangles[:0],
            (2 * camera.size[1], 2 * camera.size[0]),
            1,
        )
        surface = shading.Surface()
        surface.points, surface.faces = seen, faces
        surface.normals = wp.array(mesh.normals, dtype=wp.vec3)
        surface.material_xyz = wp.array(mesh.material_xyz, dtype=wp.vec3)
        surface.garment_depth = wp.array(mesh.garment_depth, dtype=wp.vec4)
        surface.rows = wp.array(mesh.materials, dtype=wp.int32)
        surface.first_rows = wp.array(first_rows, dtype=wp.int32)
        surface.table = wp.array(np.concatenate([mesh.table, room.table]), dtype=float)
        view = _view(camera, room, len(mesh.table), feet)
        image = wp.zeros(camera.size[::-1], dtype=wp.vec3)
        inputs = [nearest, fine, surface, view, _lights(light, shadow, to_light), image]
        wp.launch(shading.shade, dim=camera.size[::-1], inputs=inputs)
        linear = image.numpy()
        keys, own = nearest.numpy(), own.numpy()
    empty = keys >= rasterizer.NOTHING
    triangles = np.where(empty, 0, keys % rasterizer.MOST_FACES)
    labels = np.where(empty, 0, layers[triangles] + 1).astype(np.uint8)
    depth = np.where(empty, np.inf, keys // rasterizer.MOST_FACES / rasterizer.DEPTH_STEPS)
    silhouette_area = [
        int((own[start : start + (x2 - x1) * (y2 - y1)] < rasterizer.NOTHING).sum())
        for x1, y1, x2, y2, start in rectangles
    ]
    return Rendering(linear, labels, depth.astype(np.float32), np.array(silhouette_area), boxes)


def _rasterise(points, faces, layers, rectangles, shape, perspective):
    """Return z-buffers on the current device: of all triangles, and of each person alone."""
    import warp as wp

    nearest = wp.full(shape, rasterizer.EMPTY, dtype=wp.int64)
    sides = rectangles[:, 2:4] - rectangles[:, :2]
    own = wp.full(max(int(sides.prod(axis=1).sum()), 1), rasterizer.EMPTY, dtype=wp.int64)
    wp.launch(
        rasterizer.rasterise,
        dim=len(layers),
        inputs=[
            points,
            faces,
            wp.array(layers, dtype=wp.int32),
            wp.array(rectangles, dtype=wp.int32),
            perspective,
            nearest,
            own,
        ],
    )
    return nearest, own


def _view(camera: Camera, room: Room, first_row: int, feet: np.ndarray):
    import warp as wp

    view = shading.View()
    view.eye, view.rays = wp.vec3(*camera.eye), wp.mat33(*camera.rays().ravel())
    view.low, view.high = (wp.vec3(*corner) for corner in room.corners)
    view.first_row = first_row
    photo = np.zeros((0, 0, 3), np.float32) if room.photo is None else room.photo
    view.photo, view.feet = wp.array(photo, dtype=float), wp.array(feet, dtype=wp.vec3)
    return view


def _lights(light: Light, shadow, to_light: np.ndarray):
    import warp as wp

    lights = shading.Lights()
    lights.shadow, lights.to_light = shadow, wp.mat44(*to_light.ravel())
    lights.sun, lights.key = wp.vec3(*light.sun), wp.vec3(*light.key)
    lights.sky, lights.ground = wp.vec3(*light.sky), wp.vec3(*light.ground)
    return lights


def _boxes(points: np.ndarray, people: list[Mesh]) -> np.ndarray:
    boxes, start = np.zeros((len(people), 4), np.float32), 0
    for person, mesh in enumerate(people):
        own = points[start : start + len(mesh.vertices)][mesh.is_person]
        x, y = own[:, 0].copy(), own[:, 1].copy()
        boxes[person] = x.min(), y.min(), x.max(), y.max()
        start += len(mesh.vertices)
    return boxes


def _rectangles(boxes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return rows x1, y1, x2, y2, start: whole pixels around each box, clipped to the image."""
    low = np.clip(np.floor(boxes[:, :2]), 0, size).astype(np.int32)
    high = np.clip(np.ceil(boxes[:, 2:]) + 1, 0, size).astype(np.int32)
    area = (high - low).prod(axis=1)
    start = np.cumsum(area) - area
    return np.concatenate([low, high, start[:, None]], axis=1).astype(np.int32)


def _light_view(people: list[Mesh], props: list[Mesh], light: Light) -> np.ndarray:
    """Return (4, 4): world → cells of a shadow map that covers all people, and depth in metres."""
    points = np.concatenate([mesh.vertices[::16] for mesh in people or props])
    up = np.array([0.0, 0.0, 1.0]) if abs(light.sun[2]) < 0.95 else np.array([1.0, 0.0, 0.0])
    right = np.cross(up, light.sun)
    right /= np.linalg.norm(right)
    axes = np.stack([right, np.cross(light.sun, right), -light.sun])
    local = points @ axes.T
    low, high = local.min(axis=0) - 0.2, local.max(axis=0) + 0.2
    scale = np.array([SHADOW_SIZE / (high[0] - low[0]), SHADOW_SIZE / (high[1] - low[1]), 1.0])
    view = np.eye(4)
    view[:3, :3] = axes * scale[:, None]
    view[:3, 3] = -np.array([low[0], low[1], low[2] - 1.0]) * scale
    return view

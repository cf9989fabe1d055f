"""Sample what is around people: rooms, streets, photos, seats and occluding objects."""

from __future__ import annotations

import cv2
import numpy as np

from kdc_lab.synth import materials
from kdc_lab.synth.mesh import Mesh, box, cylinder, merge
from kdc_lab.synth.pinhole import Camera
from kdc_lab.synth.renderer import Room
from kdc_lab.synth.scene import Actor, Prop, fixed_pose
from kdc_lab.synth.shading import CLOUDS, SKYLINE
from kdc_lab.synth.synth_config import SynthConfig
from kdc_lab.synth.volume import overlap_box


def fit_photo(background: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return a BGR image, cropped and scaled to fill ``size``, as linear RGB (H, W, 3) float32."""
    scale = max(size[0] / background.shape[1], size[1] / background.shape[0])
    width, height = (max(1, round(side / scale)) for side in size)
    left, top = (background.shape[1] - width) // 2, (background.shape[0] - height) // 2
    cut = background[max(top, 0) : max(top, 0) + height, max(left, 0) : max(left, 0) + width]
    fitted = cv2.resize(cut, size, interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray((fitted[..., ::-1] / 255.0) ** 2.2).astype(np.float32)


def random_room(rng: np.random.Generator, places: list[tuple[float, float]]) -> Room:
    """Return a room around the camera and all positions, or a street under the sky."""
    reach = np.abs(np.array([*places, (0.0, 0.0)])).max(axis=0)
    outdoors = rng.random() < 0.45
    far = rng.uniform(6, 25, 4) if outdoors else rng.uniform(1.0, 5, 4)
    height = 60.0 if outdoors else rng.uniform(3.3, 5.5)
    corners = np.array(
        [(-reach[0] - far[0], -2 - far[2], 0.0), (reach[0] + far[1], reach[1] + far[3], height)]
    )
    table = [materials.surface(rng) for _ in range(4)]
    table += [materials.floor(rng), materials.material(rng, rng.uniform(0.4, 0.95) * np.ones(3))]
    if outdoors:
        sky = np.array([0.62, 0.75, 0.92]) * rng.uniform(0.8, 1.2)
        for wall in range(4):
            if rng.random() < 0.65:
                land = materials.random_colour(rng, 0.6) * 0.6
                table[wall] = materials.material(rng, sky, land, SKYLINE, rng.uniform(2, 6), 0.12)
        table[5] = materials.material(rng, sky, np.ones(3), CLOUDS, 20.0, 0.0)
    elif rng.random() < 0.7:
        table[0] = table[1] = table[2] = table[3]
    return Room(corners, np.stack(table))


def random_clutter(rng: np.random.Generator, room: Room) -> list[Prop]:
    """Return shelves, doors, posters and boxes along the walls, behind all people."""
    (left, _, _), (right, back, _) = room.corners
    props = []
    for _ in range(rng.integers(0, 9)):
        size = np.exp(rng.uniform(np.log((0.2, 0.05, 0.2)), np.log((2.0, 0.5, 2.2))))
        lifted = rng.uniform(0.3, 1.6) if rng.random() < 0.4 else 0.0
        mesh = box(size, materials.surface(rng), cells=2)
        mesh = mesh.transformed(np.eye(3), np.array([0, 0, lifted]))
        side, gap = rng.choice([-1, 0, 0, 1]), size[1] / 2 + 0.01
        if side:
            x, y = (left + gap if side < 0 else right - gap), rng.uniform(1, back)
        else:
            x, y = rng.uniform(left, right), back - gap
        props.append(Prop(mesh, fixed_pose(float(x), float(y), 90.0 * side)))
    return props


def seat_for(rng: np.random.Generator, actor: Actor) -> Prop:
    """Return a stool, box or chair under a seated person."""
    bones = actor.bones(0.0)
    spheres = actor.volume.spheres(bones)
    pelvis = spheres[0]
    x, y, yaw = actor.ground_pose(0.0)
    top = max(pelvis[2] - 1.05 * pelvis[3], 0.1)
    row = materials.surface(rng)
    wide = rng.uniform(0.36, 0.55)
    kind = rng.choice(["box", "chair", "stool"])
    if kind == "stool":
        mesh = cylinder(wide / 2, top, row)
    else:
        mesh = box(np.array([wide, 0.4, top]), row)
        if kind == "chair":
            back = box(np.array([wide, 0.04, rng.uniform(0.3, 0.55)]), row)
            mesh = merge([mesh, back.transformed(np.eye(3), np.array([0, 0.24, top]))])
    behind = mesh.transformed(np.eye(3), np.array([0.0, 0.05, 0.0]))
    return Prop(behind, fixed_pose(x, y, yaw))


def random_prop(rng: np.random.Generator) -> tuple[Mesh, np.ndarray]:
    """Return a pillar, pole, table, crate or wall, and its (width, depth, height) in metres."""
    kind = rng.choice(["pillar", "pole", "table", "crate", "wall"])
    row = materials.surface(rng)
    if kind in ("pillar", "pole"):
        radius = rng.uniform(0.12, 0.3) if kind == "pillar" else rng.uniform(0.02, 0.06)
        return cylinder(radius, 3.2, row, cells=16), np.array([2 * radius, 2 * radius, 3.2])
    if kind == "table":
        size = rng.uniform((0.6, 0.5, 0.6), (1.6, 0.9, 1.0))
        board = box(size * (1, 1, 0) + (0, 0, 0.04), row, cells=8)
        parts = [board.transformed(np.eye(3), np.array([0, 0, size[2] - 0.04]))]
        for sx, sy in ((-1, -1), (-1, 1), (1, -1), (1, 1)):
            leg = box(np.array([0.05, 0.05, size[2] - 0.04]), row, cells=3)
            parts.append(
                leg.transformed(np.eye(3), np.array([sx, sy, 0]) * (size / 2 - 0.05) * (1, 1, 0))
            )
        return merge(parts), size
    size = rng.uniform((0.3, 0.3, 0.3), (1.0, 0.8, 1.2))
    if kind == "wall":
        size = rng.uniform((0.8, 0.1, 0.6), (2.5, 0.2, 1.6))
    return box(size, row, cells=8), size


def random_occluders(
    rng: np.random.Generator, config: SynthConfig, actors: list[Actor], camera: Camera
) -> list[Prop]:
    """Return up to three objects between camera and people that intersect no person."""
    if not actors or rng.random() >= config.occluders:
        return []
    taken = [actor.spheres(0.0) for actor in actors]
    props = []
    for _ in range(rng.integers(1, 4)):
        mesh, size = random_prop(rng)
        x, y, _ = actors[rng.integers(len(actors))].ground_pose(0.0)
        share = rng.uniform(0.35, 0.95)
        x, y = x * share + rng.normal(0, 0.35), y * share
        yaw = rng.uniform(-25, 25)
        reach = np.hypot(size[0], size[1]) / 2 * np.array([1, 1, 0])
        low, high = np.array([x, y, 0]) - reach, np.array([x, y, size[2]]) + reach
        # keep objects away from the camera, where they would cover most of the image
        clear = y - reach[0] > max(0.5, 2.0 * min(size[0], size[2]))
        if clear and all(overlap_box(spheres, low, high) < 0 for spheres in taken):
            props.append(Prop(mesh, fixed_pose(float(x), float(y), float(yaw))))
    return props

"""Model what hangs on a body: skirts, long hair, shoes, hats and objects in a hand."""

from __future__ import annotations

import numpy as np
from scipy.spatial import ConvexHull

from kdc_lab.synth import materials
from kdc_lab.synth.bodies import BONE, BONES, BodyShape
from kdc_lab.synth.mesh import Mesh, box, cylinder, grid_faces, no_garments, vertex_normals

Attachment = tuple[Mesh, np.ndarray]  # mesh at rest, bone weights (N, B)


def leg_height(body: BodyShape, along: float) -> float:
    """Return the height at rest of a point on the legs in metres: 0 hip, 1 knee, 2 ankle."""
    heights = [body.heads[BONE[f"{name}.L"], 2] for name in ("upperleg01", "lowerleg01", "foot")]
    return float(np.interp(along, [0, 1, 2], heights))


def skirt(
    body: BodyShape, bottom: float, loose: float, flare: float, row: int, rng: np.random.Generator
) -> Attachment:
    """Return a tube from the waist down to the height ``bottom`` that follows both legs.

    Args:
        body: Shape of the person.
        bottom: Height of the lower edge at rest, metres.
        loose: Distance from the hips, metres.
        flare: Additional distance at the lower edge, metres.
        row: Row of the material in the person's table.
        rng: Source of the folds.
    """
    columns, rows = 40, 12
    waist = body.heads[BONE["spine04"], 2] + 0.02
    legs = [body.heads[BONE[f"{name}.L"]] for name in ("upperleg01", "lowerleg01")]
    angle = np.linspace(0, 2 * np.pi, columns + 1)
    folds = rng.integers(4, 12)
    points, weights = [], []
    near = body.vertices[np.abs(body.vertices[:, 0]) < 2.2 * legs[0][0] + 0.06]
    reach = np.zeros(2)
    for step in np.linspace(0, 1, rows + 1):
        z = waist + (bottom - waist) * step
        level = near[np.abs(near[:, 2] - z) < 0.03]
        if len(level):
            # cloth hangs from the widest part above it and never gets narrower further down
            reach = np.maximum(reach, [np.abs(level[:, 0]).max(), np.ptp(level[:, 1]) / 2])
            middle = (level[:, 1].max() + level[:, 1].min()) / 2
        wide = 1 + 0.04 * step * np.sin(folds * angle)
        x = (reach[0] + 0.008 + loose + flare * step) * np.cos(angle) * wide
        y = (reach[1] + 0.008 + loose + flare * step) * np.sin(angle) * wide + middle
        points.append(np.stack([x, y, np.full_like(x, z)], axis=1))
        weight = np.zeros((columns + 1, len(BONES)))
        follow = np.clip((step * (waist - bottom) - (waist - legs[0][2])) / 0.15 + 0.5, 0, 0.9)
        left = 0.5 + 0.5 * np.clip(np.cos(angle) / 0.6, -1, 1)
        weight[:, BONE["root"]] = 1 - follow
        shin = np.clip((legs[1][2] - z) / 0.2, 0, 0.7)
        for side, share in (("L", follow * left), ("R", follow * (1 - left))):
            weight[:, BONE[f"upperleg01.{side}"]] = share * (1 - shin)
            weight[:, BONE[f"lowerleg01.{side}"]] = share * shin
        weights.append(weight)
    return _grid_mesh(np.array(points), row), np.concatenate(weights)


def long_hair(body: BodyShape, row: int, rng: np.random.Generator) -> Attachment:
    """Return a curtain of hair from the crown down to the neck or the back."""
    head = body.heads[BONE["head"]]
    skull = body.vertices[body.vertices[:, 2] > head[2]]
    top, back = skull[:, 2].max(), skull[:, 1].max()
    half = np.abs(skull[:, 0]).max()
    middle = (back + skull[:, 1].min()) / 2
    bottom = head[2] - rng.uniform(0.05, 0.38)
    angle = np.deg2rad(np.linspace(-25, 205, 25))  # from one cheek around the back to the other
    points, weights = [], []
    for step in np.linspace(0, 1, 11):
        z = top - 0.09 + (bottom - top + 0.09) * step
        thick = 0.012 + 0.02 * np.sin(np.pi * min(step * 1.4, 1))
        below = max(head[2] - z, 0.0)
        x = (half + thick + 0.12 * below) * np.cos(angle)
        y = middle + (back - middle + thick + 0.15 * below) * np.sin(angle)
        points.append(np.stack([x, y, np.full_like(x, z)], axis=1))
        weight = np.zeros((len(angle), len(BONES)))
        hanging = np.clip(below / 0.25, 0, 0.8)
        weight[:, BONE["head"]] = 1 - hanging
        weight[:, BONE["spine01"]] = hanging
        weights.append(weight)
    return _grid_mesh(np.array(points), row), np.concatenate(weights)


def shoe(body: BodyShape, side: str, row: int) -> Attachment:
    """Return a smooth hull around one foot, without toes."""
    bone = BONE[f"foot.{side}"]
    ankle = body.heads[bone]
    foot = body.vertices[(body.model.weights[:, bone] > 0.6) & (body.vertices[:, 2] < ankle[2])]
    middle = foot.mean(axis=0)
    points = (middle + (foot - middle) * (1.14, 1.08, 1.06))[::3]
    hull = ConvexHull(points)
    corners = np.unique(hull.simplices)
    faces = np.searchsorted(corners, hull.simplices)
    weights = np.zeros((len(corners), len(BONES)))
    weights[:, bone] = 1
    return _garment_mesh(points[corners], faces, row), weights


def hat_brim(body: BodyShape, row: int, rng: np.random.Generator) -> Attachment:
    """Return a ring around the head, or only its front part: the visor of a cap."""
    skull = body.vertices[body.vertices[:, 2] > body.heads[BONE["head"], 2]]
    low, high = skull.min(axis=0), skull.max(axis=0)
    middle = (low[:2] + high[:2]) / 2
    visor = rng.random() < 0.6
    span = (200, 340) if visor else (0, 360)
    angle = np.deg2rad(np.linspace(*span, 33))
    z = high[2] - 0.3 * (high[2] - body.heads[BONE["head"], 2])
    points = []
    for width in (0.0, rng.uniform(0.05, 0.1)):
        radius = (high[:2] - low[:2]) / 2 + 0.015 + width
        flat = middle + radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)
        points.append(np.column_stack([flat, np.full(len(flat), z - 0.2 * width)]))
    weights = np.zeros((2 * len(angle), len(BONES)))
    weights[:, BONE["head"]] = 1
    return _grid_mesh(np.array(points), row), weights


def handheld(body: BodyShape, kind: str, rng: np.random.Generator) -> Attachment:
    """Return an object in one hand; it is not part of the person's mask."""
    side = rng.choice(["L", "R"])
    wrist = body.heads[BONE[f"wrist.{side}"]]
    hand = body.vertices[body.model.weights[:, BONE[f"wrist.{side}"]] > 0.9].mean(axis=0)
    row = materials.material(
        rng,
        materials.random_colour(rng, 0.8),
        materials.random_colour(rng, 0.8),
        int(rng.integers(5)),
        0.1,
    )
    along = (hand - wrist) / np.linalg.norm(hand - wrist)
    if kind == "stick":
        prop = cylinder(rng.uniform(0.01, 0.03), rng.uniform(0.3, 1.0), row)
        shift = hand - (0, 0, 0.4)
    elif kind == "bag":
        prop = box(rng.uniform((0.06, 0.2, 0.2), (0.16, 0.4, 0.4)), row)
        shift = hand + along * 0.1 - (0, 0, prop.vertices[:, 2].max())
    else:
        prop = box(rng.uniform(0.06, 0.3, 3), row)
        shift = hand + along * 0.12
    weights = np.zeros((len(prop.vertices), len(BONES)))
    weights[:, BONE[f"wrist.{side}"]] = 1
    return prop.transformed(np.eye(3), shift), weights


def _grid_mesh(points: np.ndarray, row: int) -> Mesh:
    """Return a mesh of a grid of points (rows, columns, 3) in a material of the person's table."""
    faces = grid_faces(points.shape[0] - 1, points.shape[1] - 1)
    return _garment_mesh(points.reshape(-1, 3), faces, row)


def _garment_mesh(points: np.ndarray, faces: np.ndarray, row: int) -> Mesh:
    faces = faces.astype(np.int32)
    return Mesh(
        points,
        _outward_normals(points, faces),
        points,
        faces,
        np.full(len(faces), row, np.int32),
        np.zeros((0, 10), np.float32),
        np.ones(len(points), bool),
        no_garments(points),
    )


def _outward_normals(points: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Return normals that point away from the centre, whatever the order of the corners."""
    a, b, c = (points[faces[:, i]] for i in range(3))
    inward = (np.cross(b - a, c - a) * (a - points.mean(axis=0))).sum(axis=1) < 0
    return vertex_normals(points, np.where(inward[:, None], faces[:, ::-1], faces))

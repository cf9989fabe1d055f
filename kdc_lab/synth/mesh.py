"""Represent triangle meshes for the renderer, and build simple solids."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

NO_PERSON = -1  # layer of the triangles that belong to no person


@dataclass(frozen=True)
class Mesh:
    """N vertices and M triangles in the world."""

    vertices: np.ndarray  # (N, 3) metres
    normals: np.ndarray  # (N, 3) unit length
    material_xyz: np.ndarray  # (N, 3) metres in the space of the materials; motion keeps it
    faces: np.ndarray  # (M, 3) int32
    materials: np.ndarray  # (M,) int32, rows of ``table``
    table: np.ndarray  # (R, 10) float32, see shading.pattern
    is_person: np.ndarray  # (N,) bool: False for held objects
    # (N, 4) metres inside the garments whose materials are rows 0 to 3 of ``table``. A pixel shows
    # the first garment with a positive value, or ``materials`` without one.
    garment_depth: np.ndarray

    def transformed(self, rotation: np.ndarray, shift: np.ndarray) -> Mesh:
        """Return the same surface after a rigid motion."""
        return replace(
            self, vertices=self.vertices @ rotation.T + shift, normals=self.normals @ rotation.T
        )


def join(meshes: list[Mesh]) -> tuple[Mesh, np.ndarray, np.ndarray]:
    """Join meshes into one.

    Returns:
        The mesh, and for each triangle (M,) the index of its source mesh and the first row of that
        mesh's material table.
    """
    corners = np.cumsum([0] + [len(mesh.vertices) for mesh in meshes[:-1]])
    rows = np.cumsum([0] + [len(mesh.table) for mesh in meshes[:-1]])
    mesh = Mesh(
        np.concatenate([mesh.vertices for mesh in meshes]),
        np.concatenate([mesh.normals for mesh in meshes]),
        np.concatenate([mesh.material_xyz for mesh in meshes]),
        np.concatenate([m.faces + start for m, start in zip(meshes, corners, strict=True)]),
        np.concatenate([m.materials + start for m, start in zip(meshes, rows, strict=True)]),
        np.concatenate([mesh.table for mesh in meshes]),
        np.concatenate([mesh.is_person for mesh in meshes]),
        np.concatenate([mesh.garment_depth for mesh in meshes]),
    )
    source = np.repeat(np.arange(len(meshes)), [len(mesh.faces) for mesh in meshes])
    return mesh, source, rows[source]


def vertex_normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Return unit normals (N, 3): means over the adjacent triangles, weighted by area."""
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    across = np.cross(b - a, c - a)
    normals = np.stack(
        [
            sum(np.bincount(faces[:, i], across[:, axis], len(vertices)) for i in range(3))
            for axis in range(3)
        ],
        axis=1,
    )
    return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)


def box(size: np.ndarray, row: np.ndarray, cells: int = 4) -> Mesh:
    """Return a box (width, depth, height) in metres that stands on the origin."""
    steps = np.linspace(-0.5, 0.5, cells + 1)
    u, v = (grid.ravel() for grid in np.meshgrid(steps, steps, indexing="ij"))
    half = np.full(len(u), 0.5)
    vertices, normals = [], []
    for axis in range(3):
        for sign in (-1.0, 1.0):
            columns = np.roll(np.stack([sign * half, u, v], axis=1), axis, axis=1)
            vertices.append(columns)
            normals.append(np.tile(sign * np.eye(3)[axis], (len(u), 1)))
    corners = np.concatenate(vertices) * size + (0, 0, size[2] / 2)
    faces = np.concatenate([grid_faces(cells, cells) + i * len(u) for i in range(6)])
    return solid_mesh(corners, np.concatenate(normals), faces, row)


def cylinder(
    radius: float, height: float, row: np.ndarray, sides: int = 24, cells: int = 6
) -> Mesh:
    """Return an upright cylinder on the origin, closed at the top; metres."""
    angle = np.linspace(0, 2 * np.pi, sides + 1)
    circle = np.stack([np.cos(angle), np.sin(angle), np.zeros(sides + 1)], axis=1)
    levels = np.linspace(0, height, cells + 1)
    ring = circle * radius
    vertices = np.concatenate([ring + np.array([0, 0, z]) for z in levels])
    normals = np.tile(circle, (cells + 1, 1))
    faces = grid_faces(cells, sides)
    top = len(vertices) + np.arange(sides + 1)
    vertices = np.concatenate([vertices, ring + np.array([0, 0, height]), [(0, 0, height)]])
    normals = np.concatenate([normals, np.tile((0.0, 0.0, 1.0), (sides + 2, 1))])
    lid = np.stack([top[:-1], top[1:], np.full(sides, len(vertices) - 1)], axis=1)
    return solid_mesh(vertices, normals, np.concatenate([faces, lid]), row)


def grid_faces(rows: int, columns: int) -> np.ndarray:
    """Return triangles (2 * rows * columns, 3) of a grid of (rows + 1) × (columns + 1) vertices."""
    index = np.arange((rows + 1) * (columns + 1)).reshape(rows + 1, columns + 1)
    a, b, c, d = (
        part.ravel() for part in (index[:-1, :-1], index[:-1, 1:], index[1:, :-1], index[1:, 1:])
    )
    return np.concatenate([np.stack([a, b, c], axis=1), np.stack([b, d, c], axis=1)])


def solid_mesh(
    vertices: np.ndarray, normals: np.ndarray, faces: np.ndarray, row: np.ndarray
) -> Mesh:
    """Return an object of one material that belongs to no person."""
    return Mesh(
        vertices,
        normals,
        vertices,
        faces.astype(np.int32),
        np.zeros(len(faces), np.int32),
        row[None].astype(np.float32),
        np.zeros(len(vertices), bool),
        no_garments(vertices),
    )


def no_garments(vertices: np.ndarray) -> np.ndarray:
    """Return the ``garment_depth`` (N, 4) of a mesh without garments."""
    return np.full((len(vertices), 4), -1.0, np.float32)


def merge(meshes: list[Mesh]) -> Mesh:
    """Return several solids as one mesh."""
    return join(meshes)[0]

"""Represent a dressed person: body, clothes and hair as one surface that follows the bones."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from kdc_lab.synth.joints import Rig
from kdc_lab.synth.mesh import Mesh


@dataclass(frozen=True)
class DressedBody:
    """A person at rest that can be posed; N vertices of body, garments and held objects."""

    rig: Rig
    rest: Mesh  # rest space of the body: z up, facing -y, pelvis at the origin
    weights: np.ndarray  # (N, B) float32

    def posed(self, transforms: np.ndarray) -> Mesh:
        """Return the surface under bone transforms (B, 3, 4)."""
        blend = self.weights @ transforms.reshape(len(transforms), 12).astype(np.float32)
        blend = blend.reshape(-1, 3, 4)
        vertices = np.einsum("nij,nj->ni", blend[:, :, :3], self.rest.vertices) + blend[:, :, 3]
        normals = np.einsum("nij,nj->ni", blend[:, :, :3], self.rest.normals)
        normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-6)
        return replace(self.rest, vertices=vertices, normals=normals)

    def lowest(self, transforms: np.ndarray) -> float:
        """Return the height in metres of the lowest point of the dressed body when posed."""
        body = slice(0, len(self.rig.body.vertices), 5)
        sole, weights = self.rest.vertices[body], self.weights[body]
        blend = (weights @ transforms[:, 2].astype(np.float32)).reshape(-1, 4)
        return float((np.einsum("nj,nj->n", blend[:, :3], sole) + blend[:, 3]).min())

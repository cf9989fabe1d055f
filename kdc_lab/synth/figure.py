"""One dressed person: body, clothes and hair as a single surface that follows the bones."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from kdc_lab.synth.joints import Rig
from kdc_lab.synth.mesh import Mesh


@dataclass(frozen=True)
class Figure:
    """A person at rest, ready to be posed; N vertices of body, garments and things it holds."""

    rig: Rig
    rest: Mesh  # rest space of the body: z up, facing -y, pelvis at the origin
    weights: np.ndarray  # (N, B) float32

    def posed(self, transforms: np.ndarray) -> Mesh:
        """The surface under bone transforms (B, 3, 4)."""
        blend = self.weights @ transforms.reshape(len(transforms), 12).astype(np.float32)
        blend = blend.reshape(-1, 3, 4)
        vertices = np.einsum("nij,nj->ni", blend[:, :, :3], self.rest.vertices) + blend[:, :, 3]
        normals = np.einsum("nij,nj->ni", blend[:, :, :3], self.rest.normals)
        normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-6)
        return replace(self.rest, vertices=vertices, normals=normals)

    def lowest(self, transforms: np.ndarray) -> float:
        """Height of the lowest point of the dressed body under bone transforms, metres."""
        body = slice(0, len(self.rig.body.vertices), 5)
        sole, weights = self.rest.vertices[body], self.weights[body]
        blend = (weights @ transforms[:, 2].astype(np.float32)).reshape(-1, 4)
        return float((np.einsum("nj,nj->n", blend[:, :3], sole) + blend[:, 3]).min())

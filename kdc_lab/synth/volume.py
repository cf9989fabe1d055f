"""Approximate the volume of a body by spheres along its bones, to keep bodies and objects apart."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from kdc_lab.synth.bodies import BONE, BodyShape

#: (bone that moves the spheres, start bone, end bone, number of spheres)
_CHAINS = (
    ("spine05", "root", "spine02", 3),
    ("spine01", "spine02", "neck01", 3),
    ("head", "neck02", "head", 2),
    *(
        (f"{upper}.{side}", f"{upper}.{side}", f"{lower}.{side}", count)
        for side in "LR"
        for upper, lower, count in (
            ("upperarm01", "lowerarm01", 3),
            ("lowerarm01", "wrist", 3),
            ("upperleg01", "lowerleg01", 4),
            ("lowerleg01", "foot", 4),
            ("clavicle", "upperarm01", 2),
        )
    ),
)
SOFTNESS = 0.03  # metres of overlap that flesh and cloth allow


class Volume:
    """Spheres of one body at rest; each follows a bone."""

    def __init__(self, body: BodyShape):
        bones, centres = [], []
        for carrier, start, end, count in _CHAINS:
            a, b = body.heads[BONE[start]], body.heads[BONE[end]]
            for share in (np.arange(count) + 0.5) / count:
                bones.append(BONE[carrier])
                centres.append(a + share * (b - a))
        for side in "LR":  # hands, feet and skull extend beyond the last joint
            for name in ("wrist", "foot"):
                bone = BONE[f"{name}.{side}"]
                bones.append(bone)
                centres.append(body.vertices[body.model.weights[:, bone] > 0.9].mean(axis=0))
        head = body.model.weights[:, BONE["head"]] > 0.9
        bones.append(BONE["head"])
        centres.append(body.vertices[head].mean(axis=0))
        self.bones, self.centres = np.array(bones), np.array(centres)
        sample = body.vertices[::13]
        gap, nearest = cKDTree(self.centres).query(sample)
        self.radii = np.array(
            [
                np.median(gap[nearest == i]) if (nearest == i).any() else 0.04
                for i in range(len(bones))
            ]
        )

    def trunk(self) -> np.ndarray:
        """Return (S,) bool: the spheres outside of arms and legs."""
        names = ("spine05", "spine01", "head", "clavicle.L", "clavicle.R")
        return np.isin(self.bones, [BONE[name] for name in names])

    def arm(self, side: int) -> np.ndarray:
        """Return (S,) bool: the spheres of lower arm and hand; side 0 left, 1 right."""
        name = "LR"[side]
        return np.isin(self.bones, [BONE[f"lowerarm01.{name}"], BONE[f"wrist.{name}"]])

    def spheres(self, transforms: np.ndarray) -> np.ndarray:
        """Return (S, 4) x, y, z, radius in metres under bone transforms (B, 3, 4)."""
        carried = transforms[self.bones]
        centres = np.einsum("sij,sj->si", carried[:, :, :3], self.centres) + carried[:, :, 3]
        return np.concatenate([centres, self.radii[:, None]], axis=1)


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    """Return the deepest overlap of two sets of spheres (S, 4) in metres; negative: the gap."""
    distance = np.linalg.norm(a[:, None, :3] - b[None, :, :3], axis=2)
    return float((a[:, None, 3] + b[None, :, 3] - distance).max())


def overlap_box(spheres: np.ndarray, low: np.ndarray, high: np.ndarray) -> float:
    """Return the deepest overlap of spheres (S, 4) with an upright box, metres; negative: gap."""
    nearest = np.clip(spheres[:, :3], low, high)
    return float((spheres[:, 3] - np.linalg.norm(spheres[:, :3] - nearest, axis=1)).max())

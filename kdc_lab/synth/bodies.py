"""Load the parametric body model (anny) once, and compute the shape and keypoints of a person."""

from __future__ import annotations

import fcntl
import os
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import TypeVar

import numpy as np
from scipy.sparse import csr_matrix, diags, vstack

from kdc_core.errors import InputError
from kdc_core.skeleton import K

T = TypeVar("T")

#: bones that move; fingers, toes and eyes give their weights to the nearest of these ancestors
BONES = (
    "root",
    *(f"{bone}.{side}" for side in "LR" for bone in (
        "pelvis", "upperleg01", "upperleg02", "lowerleg01", "lowerleg02", "foot",
    )),
    "spine05", "spine04", "spine03", "spine02", "spine01",
    *(f"{bone}.{side}" for side in "LR" for bone in (
        "clavicle", "shoulder01", "upperarm01", "upperarm02", "lowerarm01", "lowerarm02", "wrist",
    )),
    "neck01", "neck02", "neck03", "head",
)  # fmt: skip
BONE = {name: index for index, name in enumerate(BONES)}
INSTALL_HINT = "synthetic people need {}: pip install anny==0.6.2 'warp-lang<2' torch"


@dataclass(frozen=True)
class BodyModel:
    """What all bodies share. V is the number of vertices, F of triangles, B of bones."""

    faces: np.ndarray  # (F, 3) int32
    weights: np.ndarray  # (V, B) float32, rows sum to 1
    parents: np.ndarray  # (B,) int64 index of the parent in BONES, -1 for the root
    # (17 * B, V): weight of vertex v in keypoint k, times weight of bone b in vertex v
    regressor: csr_matrix
    eyes: np.ndarray  # (V,) bool: vertices of the eyeballs
    corners: csr_matrix  # (V, F): 1 where a vertex is a corner of a triangle
    smoothing: csr_matrix  # (V, V): mean over the neighbours of each vertex
    anny: object  # the anny model, which computes the shapes

    def normals(self, vertices: np.ndarray) -> np.ndarray:
        """Return the outward unit normals (V, 3) of a body's surface."""
        a, b, c = (vertices[self.faces[:, i]] for i in range(3))
        normals = self.corners @ np.cross(b - a, c - a)
        return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)

    def shape(self, phenotype: dict[str, float]) -> BodyShape:
        """Return the body of a phenotype.

        Args:
            phenotype: ``gender``, ``age``, ``muscle``, ``weight``, ``height`` and ``proportions``,
                each in [0, 1].
        """
        import torch

        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # the last bits of a sum depend on the number of threads
        try:
            with torch.inference_mode():
                coefficients = self.anny.get_phenotype_blendshape_coefficients(**phenotype)
                rest = self.anny.get_rest_model(coefficients)
        finally:
            torch.set_num_threads(threads)
        labels = self.anny.bone_labels
        heads = rest["rest_bone_heads"][0].cpu().numpy()[[labels.index(name) for name in BONES]]
        vertices = rest["rest_vertices"][0].cpu().numpy()
        homogeneous = np.pad(vertices, ((0, 0), (0, 1)), constant_values=1)
        moments = (self.regressor @ homogeneous).reshape(K, len(BONES), 4)
        return BodyShape(self, vertices, heads.astype(np.float64), moments)


@dataclass(frozen=True)
class BodyShape:
    """One person at rest in metres: z up, facing -y, left is +x, the pelvis at the origin."""

    model: BodyModel
    vertices: np.ndarray  # (V, 3) float32
    heads: np.ndarray  # (B, 3) float64: start of each bone, its centre of rotation
    moments: np.ndarray  # (17, B, 4): posed keypoint k = Σ_b G_b @ moments[k, b]

    def keypoints(self, transforms: np.ndarray) -> np.ndarray:
        """Return the keypoints (17, 3) under bone transforms (B, 3, 4)."""
        return np.einsum("bij,kbj->ki", transforms, self.moments)

    @property
    def height(self) -> float:
        """Return the height of the body at rest in metres."""
        return float(np.ptp(self.vertices[:, 2]))


@cache
def load_model() -> BodyModel:
    """Return the body model, built once per process.

    This takes seconds, and about a minute for the first time on a machine.

    Raises:
        InputError: anny, warp or torch is not installed.
    """
    try:
        import warp as wp

        with _silence_stderr():
            wp.config.log_level = wp.LOG_ERROR
            wp.init()
        import anny
        import torch
    except ImportError as error:
        raise InputError(INSTALL_HINT.format(error.name)) from None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = build_with_cache(anny.Anny, f"anny-{anny.__version__}").to(torch.float32)
        regressor = anny.KeypointsRegressor.coco(model)
    labels, above = model.bone_labels, model.bone_parents
    nearest = [_nearest_used_bone(index, labels, above) for index in range(len(labels))]
    sparse = model.vertex_bone_weights.numpy()
    index = np.asarray(nearest)[model.vertex_bone_indices.numpy()]
    weights = np.zeros((len(sparse), len(BONES)), np.float32)
    np.add.at(weights, (np.arange(len(sparse))[:, None], index), sparse)
    eyes = np.isin(
        model.vertex_bone_indices[:, 0].numpy(), [labels.index(f"eye.{s}") for s in "LR"]
    )
    kept = [labels.index(name) for name in BONES]
    parents = [nearest[above[i]] if above[i] >= 0 else -1 for i in kept]
    weights /= weights.sum(axis=1, keepdims=True)
    dense = regressor.regression_weights[:K].numpy()
    parts = vstack([csr_matrix(weights.T * row) for row in dense]).tocsr()
    faces = model.get_triangular_faces().numpy().astype(np.int32)
    corners = csr_matrix(
        (np.ones(faces.size, np.float32), (faces.ravel(), np.arange(faces.size) // 3)),
        (len(weights), len(faces)),
    )
    smoothing = _smoothing(faces, len(weights))
    return BodyModel(faces, weights, np.asarray(parents), parts, eyes, corners, smoothing, model)


def build_with_cache(build: Callable[[], T], name: str, keep: str = "build_compact*") -> T:
    """Return ``build()`` and keep its compact files in the user's cache: 50 MB save a minute.

    anny's own cache keeps 0.8 GB, and with it a second process may read a file that is only half
    written. Here one process builds in a temporary folder while others wait for a lock, and the
    folder appears complete.

    Args:
        build: Builds the model; reads and writes anny's cache folder.
        name: Folder below ``~/.cache/kdc``.
        keep: Pattern of the files to keep.
    """
    import anny.paths

    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kdc"
    home.mkdir(parents=True, exist_ok=True)
    before, folder = anny.paths.get_anny_cache_path(), home / name
    with (home / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        scratch = Path(mkdtemp(dir=home))
        try:
            if folder.exists():
                anny.paths.set_anny_cache_path(folder)
                return build()
            anny.paths.set_anny_cache_path(scratch)
            result = build()
            for path in scratch.glob("*/*"):
                if not path.match(keep):
                    path.unlink()
            os.replace(scratch, folder)
            return result
        finally:
            anny.paths.set_anny_cache_path(before)
            shutil.rmtree(scratch, ignore_errors=True)


def random_phenotype(rng: np.random.Generator) -> dict[str, float]:
    """Return a random phenotype: mostly adults of all builds, and one child in eight people."""
    child = rng.random() < 0.12
    return {
        "gender": float(rng.beta(0.4, 0.4)),  # the ends are more frequent than the middle
        "age": float(rng.uniform(0.25, 0.5) if child else rng.uniform(0.6, 1.0)),
        "muscle": float(rng.beta(3, 3)),
        "weight": float(rng.beta(2.5, 3)),
        "height": float(rng.beta(8, 11)),
        "proportions": float(rng.beta(3, 3)),
    }


@contextmanager
def _silence_stderr() -> Iterator[None]:
    """Discard stderr, where warp's native part reports a missing GPU in every process."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _nearest_used_bone(index: int, labels: list[str], parents: list[int]) -> int:
    while labels[index] not in BONE:
        index = parents[index]
    return BONE[labels[index]]


def _smoothing(faces: np.ndarray, count: int) -> csr_matrix:
    edges = np.concatenate([faces[:, pair] for pair in ((0, 1), (1, 2), (2, 0))])
    both = np.concatenate([edges, edges[:, ::-1]])
    near = csr_matrix((np.ones(len(both), np.float32), both.T), (count, count))
    near.data[:] = 1
    return (diags(1 / np.maximum(np.asarray(near.sum(axis=1))[:, 0], 1)) @ near).tocsr()

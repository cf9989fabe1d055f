"""Hold annotated images in memory: a ``Pack`` compressed, a ``Pool`` ready for batches.

A pack consists of a few flat arrays: JPEG bytes, label maps, people. The reader of annotation files
makes packs, a ``.npz`` file (without pickle) stores one, and training draws images from one.
"""

from __future__ import annotations

import math
import zipfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
import torch

from kdc_core.errors import InputError
from kdc_core.letterbox import PAD_VALUE
from kdc_core.skeleton import K

_FLAT = (
    "jpeg",
    "maps",
    "keypoints",
    "area",
    "box",
    "mask_weight",
)  # these have several rows per image


def is_tuning_image(image_id: int) -> bool:
    """Return True for images of the tuning split (5 %), which are never trained on."""
    return image_id % 20 == 7


@dataclass(frozen=True)
class AnnotatedImage:
    """One annotated image, ready to be packed."""

    image_id: int
    tune: bool
    jpeg: bytes
    owner: np.ndarray  # (H, W) uint8, as in ``Batch.owner``
    ignore: np.ndarray  # (H, W) uint8, as in ``Batch.ignore``
    keypoints: np.ndarray  # (P, 17, 3) float32: x, y in pixels of the stored image, v
    area: np.ndarray  # (P,) float32, pixels²
    box: np.ndarray  # (P, 4) float32: x1, y1, x2, y2
    mask_weight: np.ndarray  # (P,) float32


@dataclass(frozen=True)
class Pack:
    """N images with T people; image i has the people ``people_end[i - 1]:people_end[i]``."""

    image_id: np.ndarray  # (N,) int64
    tune: np.ndarray  # (N,) bool
    size: np.ndarray  # (N, 2) int32: width, height
    jpeg: np.ndarray  # flat uint8, concatenated JPEG files
    jpeg_end: np.ndarray  # (N,) int64
    maps: np.ndarray  # flat uint8, concatenated zlib(owner, ignore)
    maps_end: np.ndarray  # (N,) int64
    keypoints: np.ndarray  # (T, 17, 3) float32
    area: np.ndarray  # (T,) float32
    box: np.ndarray  # (T, 4) float32
    mask_weight: np.ndarray  # (T,) float32
    people_end: np.ndarray  # (N,) int64

    def __len__(self) -> int:
        return len(self.image_id)

    @classmethod
    def of(cls, images: list[AnnotatedImage]) -> Pack:
        """Return a pack of images in the given order."""
        maps = [zlib.compress(np.stack([p.owner, p.ignore]).tobytes(), 9) for p in images]
        sizes = [p.owner.shape[::-1] for p in images]

        def join(name: str, *shape: int) -> np.ndarray:
            parts = [getattr(p, name) for p in images]
            return np.concatenate([np.zeros((0, *shape), np.float32), *parts])

        return cls(
            image_id=np.array([p.image_id for p in images], np.int64),
            tune=np.array([p.tune for p in images], bool),
            size=np.array(sizes, np.int32).reshape(-1, 2),
            jpeg=np.frombuffer(b"".join(p.jpeg for p in images), np.uint8),
            jpeg_end=np.cumsum([len(p.jpeg) for p in images], dtype=np.int64),
            maps=np.frombuffer(b"".join(maps), np.uint8),
            maps_end=np.cumsum([len(m) for m in maps], dtype=np.int64),
            keypoints=join("keypoints", K, 3),
            area=join("area"),
            box=join("box", 4),
            mask_weight=join("mask_weight"),
            people_end=np.cumsum([len(p.area) for p in images], dtype=np.int64),
        )

    @classmethod
    def join(cls, packs: list[Pack]) -> Pack:
        """Return one pack with the images of several."""

        def parts(name: str) -> list[np.ndarray]:
            arrays = [getattr(pack, name) for pack in packs]
            if not name.endswith("_end"):
                return arrays
            lasts = np.cumsum([0] + [int(a[-1]) if len(a) else 0 for a in arrays])
            return [a + last for a, last in zip(arrays, lasts, strict=False)]

        return cls(**{f.name: np.concatenate(parts(f.name)) for f in fields(cls)})

    def save(self, path: Path) -> None:
        """Write an ``.npz`` file; the arrays are compressed already."""
        np.savez(path, **{f.name: getattr(self, f.name) for f in fields(self)})

    @classmethod
    def load(cls, path: Path) -> Pack:
        """Read a file of ``save``.

        Raises:
            InputError: The file is no pack.
        """
        try:
            with np.load(path, allow_pickle=False) as arrays:
                return cls(**{f.name: arrays[f.name] for f in fields(cls)})
        except (
            OSError,
            KeyError,
            ValueError,
            EOFError,
            TypeError,
            AttributeError,
            zipfile.BadZipFile,
            zlib.error,
        ) as error:
            raise InputError(f"{path} is not a pack of training images: {error}") from None

    def take(self, indices: np.ndarray) -> Pack:
        """Return the pack of some of the images."""
        columns = {name: getattr(self, name)[indices] for name in ("image_id", "tune", "size")}
        for end, names in {
            "jpeg_end": ("jpeg",),
            "maps_end": ("maps",),
            "people_end": _FLAT[2:],
        }.items():
            spans = [self._span(end, i) for i in indices]
            columns[end] = np.cumsum([s.stop - s.start for s in spans], dtype=np.int64)
            for name in names:
                array = getattr(self, name)
                columns[name] = np.concatenate([array[:0], *(array[s] for s in spans)])
        return Pack(**columns)

    def training(self) -> Pack:
        """Return the images outside of the tuning split."""
        return self.take(np.flatnonzero(~self.tune))

    def tuning(self) -> Pack:
        """Return the images of the tuning split."""
        return self.take(np.flatnonzero(self.tune))

    def decode(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the image (3, H, W) uint8 RGB, and owner and ignore maps (2, H, W) uint8.

        Raises:
            InputError: The JPEG file or the maps are damaged.
        """
        data = self.jpeg[self._span("jpeg_end", index)]
        width, height = self.size[index]
        try:
            image = cv2.imdecode(data, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
            planes = np.stack(cv2.split(image)[::-1])
            maps = zlib.decompress(self.maps[self._span("maps_end", index)])
            return planes, np.frombuffer(maps, np.uint8).reshape(2, height, width)
        except (cv2.error, zlib.error, ValueError) as error:
            name = self.image_id[index]
            raise InputError(f"training data: image {name} of a pack is damaged: {error}") from None

    def _span(self, end: str, index: int) -> slice:
        ends = getattr(self, end)
        return slice(int(ends[index - 1]) if index else 0, int(ends[index]))


@dataclass(frozen=True)
class Labels:
    """The people of B images, padded with zeros to P rows."""

    size: np.ndarray  # (B, 2): width, height
    keypoints: np.ndarray  # (B, P, 17, 3)
    area: np.ndarray  # (B, P), 0 = no such person
    box: np.ndarray  # (B, P, 4)
    mask_weight: np.ndarray  # (B, P)


@dataclass(frozen=True)
class Sources:
    """B images on one device, each in the top left corner of a square of ``side`` pixels."""

    image: torch.Tensor  # (B, 3, side, side) uint8 RGB, grey outside the image
    maps: torch.Tensor  # (B, 2, side, side) uint8: owner, ignore


class Pool:
    """Serves images of a pack on a device."""

    def __init__(self, pack: Pack, device: torch.device, resident: bool, rendered: int = 0) -> None:
        """Open the pool.

        Args:
            pack: Images.
            device: Device of the tensors.
            resident: Keep all images decoded on the device, at 5 bytes per pixel, instead of
                decoding them for each batch.
            rendered: Number of rendered images at the end of the pack, for ``mixed_order``.

        Raises:
            InputError: The pack is empty.
        """
        if not len(pack):
            raise InputError(
                "training data: expected at least one usable image, got none; "
                "the problems are listed above"
            )
        self.pack = pack
        self.device = device
        self.rendered = rendered
        self.side = int(pack.size.max())
        self._threads = ThreadPoolExecutor(max_workers=16 if resident else 4)
        self._all = self._load(np.arange(len(pack))) if resident else None

    def __len__(self) -> int:
        return len(self.pack)

    def close(self) -> None:
        """Stop the threads that decode images."""
        self._threads.shutdown()

    def labels(self, indices: np.ndarray) -> Labels:
        """Return the people of the images ``indices``."""
        pack, index, real = self.pack, self._rows[indices], self._real[indices]
        rows = max(1, int(real.sum(axis=1).max()))
        index, real = index[:, :rows], real[:, :rows]

        def column(values: np.ndarray) -> np.ndarray:
            if not len(values):
                return np.zeros((*index.shape, *values.shape[1:]), np.float32)
            keep = real.reshape(*real.shape, *[1] * (values.ndim - 1))
            return np.where(keep, values[index], 0).astype(np.float32)

        columns = (pack.keypoints, pack.area, pack.box, pack.mask_weight)
        return Labels(pack.size[indices], *(column(values) for values in columns))

    def sources(self, indices: np.ndarray) -> Sources:
        """Return the pixels of the images ``indices``."""
        if self._all is None:
            return self._load(indices)
        where = torch.as_tensor(indices, device=self.device)
        return Sources(self._all.image[where], self._all.maps[where])

    @cached_property
    def _real(self) -> np.ndarray:
        counts = np.diff(self.pack.people_end, prepend=0)
        return np.arange(max(1, int(counts.max()))) < counts[:, None]

    @cached_property
    def _rows(self) -> np.ndarray:
        starts = np.concatenate([[0], self.pack.people_end[:-1]])
        return np.where(self._real, starts[:, None] + np.arange(self._real.shape[1]), 0)

    def _load(self, indices: np.ndarray) -> Sources:
        n, side = len(indices), self.side
        image = torch.full((n, 3, side, side), PAD_VALUE, dtype=torch.uint8, device=self.device)
        maps = torch.zeros((n, 2, side, side), dtype=torch.uint8, device=self.device)
        decoded = self._threads.map(self.pack.decode, indices)
        for i, (pixels, labels) in enumerate(decoded):
            height, width = pixels.shape[1:]
            image[i, :, :height, :width] = torch.from_numpy(pixels)
            maps[i, :, :height, :width] = torch.from_numpy(labels.copy())
        return Sources(image, maps)


def epoch_order(count: int, batch: int, step: int, seed: int) -> np.ndarray:
    """Return the image indices (batch,) of a step; each epoch is a new permutation."""
    return _permuted_range(count, step * batch, (step + 1) * batch, seed)


def mixed_order(
    real: int, rendered: int, share: float, batch: int, step: int, seed: int
) -> np.ndarray:
    """Return the image indices (batch,) of a step with a share of rendered images.

    Each step has this share as nearly as whole images allow. Epochs of real and of rendered images
    advance separately.

    Args:
        real: Number of real images, which have the first indices.
        rendered: Number of rendered images.
        share: Share of rendered images.
        batch: Images per step.
        step: Step of the run.
        seed: Seed of the run.
    """
    drawn = [math.floor(share * batch * s + 1e-6) for s in (step, step + 1)]
    rest = [batch * s - n for s, n in zip((step, step + 1), drawn, strict=True)]
    places = np.concatenate(
        [_permuted_range(real, *rest, seed), real + _permuted_range(rendered, *drawn, seed)]
    )
    # shuffled, because processes and parts of a step take consecutive indices
    return np.random.default_rng([seed, step, 1]).permutation(places)


def _permuted_range(count: int, first: int, last: int, seed: int) -> np.ndarray:
    """Return the elements ``first`` to ``last`` of endless permutations of ``count`` indices."""
    places = np.arange(first, last)
    epochs = {
        e: np.random.default_rng([seed, e]).permutation(count) for e in np.unique(places // count)
    }
    return np.array([epochs[p // count][p % count] for p in places], int)

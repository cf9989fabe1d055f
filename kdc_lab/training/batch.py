"""What a training step sees: augmented pictures and their labels, before targets are made."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch

from kdc_core.errors import InputError
from kdc_core.skeleton import K

OVERLAP = 254  # value of ``Batch.owner`` where two or more masks overlap
SEG_UNKNOWN = 1  # bit of ``Batch.ignore``: person or not is unknown here
POSE_UNKNOWN = 2  # bit of ``Batch.ignore``: there may be unlabelled keypoints here
MAX_PEOPLE = 100  # rows per picture


@dataclass(frozen=True)
class Batch:
    """B pictures of one size with up to P people each, all tensors on one device."""

    image: torch.Tensor  # (B, 3, H, W) uint8, RGB
    owner: torch.Tensor  # (B, H, W) uint8: 0 background, 1…P person + 1, 254 masks overlap
    ignore: torch.Tensor  # (B, H, W) uint8, bits SEG_UNKNOWN | POSE_UNKNOWN
    keypoints: (
        torch.Tensor
    )  # (B, P, 17, 3) float32: x, y in input pixels, v: 0, 1, 2 or a weight < 1
    area: torch.Tensor  # (B, P) float32, input pixels², annotation area * scale²; 0 = no person
    mask_weight: torch.Tensor  # (B, P) float32: 1 human mask, 0 unknown, between: pseudo mask

    def __post_init__(self) -> None:
        b, _, h, w = self.image.shape
        p = self.area.shape[1]
        shapes = {
            "image": (b, 3, h, w), "owner": (b, h, w), "ignore": (b, h, w),
            "keypoints": (b, p, K, 3), "area": (b, p), "mask_weight": (b, p),
        }  # fmt: skip
        for name, shape in shapes.items():
            got = tuple(getattr(self, name).shape)
            if got != shape:
                raise InputError(f"Batch.{name}: expected shape {shape}, got {got}")

    def __len__(self) -> int:
        return len(self.image)

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on ``device``."""
        moved = {f.name: getattr(self, f.name).to(device, non_blocking=True) for f in fields(self)}
        return Batch(**moved)

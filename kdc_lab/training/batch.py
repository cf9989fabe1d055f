"""Define the batch of a training step: augmented images and labels, before the targets."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch

from kdc_core.skeleton import K

OVERLAP = 254  # value of ``Batch.owner`` where two or more masks overlap
SEG_UNKNOWN = 1  # bit of ``Batch.ignore``: a person may or may not be here
POSE_UNKNOWN = 2  # bit of ``Batch.ignore``: unlabelled keypoints may be here
MAX_PEOPLE = 100  # rows per image


@dataclass(frozen=True)
class Batch:
    """B images of one size with up to P people each; all tensors are on one device."""

    image: torch.Tensor  # (B, 3, H, W) uint8, RGB
    owner: torch.Tensor  # (B, H, W) uint8: 0 background, p + 1 person p, OVERLAP
    ignore: torch.Tensor  # (B, H, W) uint8, bits SEG_UNKNOWN | POSE_UNKNOWN
    # (B, P, 17, 3) float32: x and y in input pixels; v is 0, 1, 2, or below 1 the weight of a
    # pseudo keypoint
    keypoints: torch.Tensor
    area: torch.Tensor  # (B, P) float32, annotated area in input pixels²; 0: no person
    mask_weight: torch.Tensor  # (B, P) float32: 1 human mask, 0 no mask, between: pseudo mask

    def __post_init__(self) -> None:
        b, _, h, w = self.image.shape
        p = self.area.shape[1]
        shapes = {
            "image": (b, 3, h, w),
            "owner": (b, h, w),
            "ignore": (b, h, w),
            "keypoints": (b, p, K, 3),
            "area": (b, p),
            "mask_weight": (b, p),
        }
        for name, shape in shapes.items():
            got = tuple(getattr(self, name).shape)
            if got != shape:
                raise ValueError(f"Batch.{name}: expected shape {shape}, got {got}")

    def __len__(self) -> int:
        return len(self.image)

    def to(self, device: torch.device | str) -> Batch:
        """Return the batch on ``device``."""
        moved = {f.name: getattr(self, f.name).to(device, non_blocking=True) for f in fields(self)}
        return Batch(**moved)

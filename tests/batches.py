"""A training batch of one image with two people, small enough to check by hand."""

from __future__ import annotations

import torch

from kdc_lab.training.batch import Batch


def two_masks(*labels: tuple[int, int, float, float, int]) -> Batch:
    """Return a batch of 128x128 pixels with two people.

    Person 0 covers columns 16-47 and rows 16-79, person 1 columns 72-103 and rows 24-87.

    Args:
        labels: Keypoints as person, keypoint, x, y, v.
    """
    owner = torch.zeros(1, 128, 128, dtype=torch.uint8)
    owner[0, 16:80, 16:48] = 1
    owner[0, 24:88, 72:104] = 2
    keypoints = torch.zeros(1, 2, 17, 3)
    for person, k, x, y, v in labels:
        keypoints[0, person, k] = torch.tensor([x, y, v])
    return Batch(
        image=torch.zeros(1, 3, 128, 128, dtype=torch.uint8),
        owner=owner,
        ignore=torch.zeros_like(owner),
        keypoints=keypoints,
        area=torch.tensor([[2048.0, 2048.0]]),
        mask_weight=torch.ones(1, 2),
    )

"""Log a training run: ``curve.jsonl``, TensorBoard scalars, and sample images."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import cv2
import numpy as np
import torch

from kdc_core.io import write_image
from kdc_core.skeleton import LIMBS
from kdc_lab.training.batch import POSE_UNKNOWN, SEG_UNKNOWN, Batch

log = logging.getLogger(__name__)


class TrainingLogger:
    """Writes lines ``{"step": …, name: value, …}``; a resumed run continues at its saved step."""

    def __init__(self, folder: Path, first_step: int) -> None:
        """Open the log.

        Args:
            folder: Folder of the run.
            first_step: First step to log; lines of later steps, written after the last save, are
                removed.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        path = folder / "curve.jsonl"
        lines = []
        if path.exists() and first_step:
            written = path.read_text().splitlines()
            lines = [x for x in written if x.endswith("}") and json.loads(x)["step"] < first_step]
        path.write_text("".join(line + "\n" for line in lines))
        self._file = path.open("a")
        try:
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(str(folder), purge_step=first_step or None)
        except ImportError:
            log.info("tensorboard is not installed: scalars are written to %s only", path)
            self._board = None

    def scalars(self, step: int, values: dict[str, float]) -> None:
        """Write one line, and one point for each name."""
        line = {"step": step, **{name: round(v, 7) for name, v in values.items()}}
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()
        if self._board:
            for name, value in values.items():
                self._board.add_scalar(name, value, step)

    def image(self, step: int, name: str, image: np.ndarray) -> None:
        """Write an image (H, W, 3) RGB to TensorBoard and to ``name.jpg``, the latest of it."""
        write_image(self.folder / f"{name}.jpg", np.ascontiguousarray(image[..., ::-1]))
        if self._board:
            self._board.add_image(name, image, step, dataformats="HWC")

    def close(self) -> None:
        """Flush and close the files."""
        self._file.close()
        if self._board:
            self._board.close()


def draw_batch(batch: Batch, count: int = 8) -> np.ndarray:
    """Draw the first samples with their labels in two rows, (H, W, 3) RGB.

    Masks are tinted. Keypoints are green (visible) or red (hidden). Red stripes mark pixels that
    may or may not show a person, blue stripes an unknown pose.
    """
    tiles = [_draw(batch, i) for i in range(min(count, len(batch)) // 2 * 2)]
    if not tiles:
        return _draw(batch, 0)
    half = len(tiles) // 2
    return np.vstack([np.hstack(tiles[:half]), np.hstack(tiles[half:])])


def draw_prediction(
    batch: Batch, heat: torch.Tensor, seg: torch.Tensor, count: int = 4
) -> np.ndarray:
    """Draw labels above predictions: the mask in green, keypoint disks in red.

    Args:
        batch: Images and labels.
        heat: (B, 18, h, w) logits.
        seg: (B, 1, h2, w2) logits.
        count: Maximum number of images.
    """
    count = min(count, len(batch))
    predictions = []
    for i in range(count):
        image = batch.image[i].permute(1, 2, 0).cpu().numpy().astype(np.float32)
        size = image.shape[1::-1]
        for channel, logits in ((1, seg[i, 0]), (0, heat[i, :17].amax(dim=0))):
            share = cv2.resize(torch.sigmoid(logits.float()).cpu().numpy(), size)
            image[..., channel] += 0.6 * share * (255 - image[..., channel])
        predictions.append(image.astype(np.uint8))
    return np.vstack([np.hstack([_draw(batch, i) for i in range(count)]), np.hstack(predictions)])


def _draw(batch: Batch, index: int) -> np.ndarray:
    image = batch.image[index].permute(1, 2, 0).cpu().numpy().copy()
    owner, ignore = batch.owner[index].cpu().numpy(), batch.ignore[index].cpu().numpy()
    tint = np.random.default_rng(1).integers(60, 255, (256, 3))
    mask = owner > 0
    image[mask] = (image[mask] * 0.5 + tint[owner[mask]] * 0.5).astype(np.uint8)
    rows = np.arange(len(image))[:, None] % 8
    image[((ignore & SEG_UNKNOWN) > 0) & (rows < 2)] = (220, 40, 40)
    image[((ignore & POSE_UNKNOWN) > 0) & (rows >= 4) & (rows < 6)] = (40, 40, 220)
    for points in batch.keypoints[index].cpu().numpy():
        places = [(int(x), int(y)) for x, y in points[:, :2]]
        for a, b in LIMBS:
            if points[a, 2] and points[b, 2]:
                cv2.line(image, places[a], places[b], (255, 255, 0), 1)
        for place, v in zip(places, points[:, 2], strict=True):
            if v:
                cv2.circle(image, place, 3, (0, 255, 0) if v == 2 else (255, 0, 0), -1)
    return image

"""Draw the worst images of an evaluation on one sheet: annotations beside predictions."""

from __future__ import annotations

import heapq
from pathlib import Path

import cv2
import numpy as np
from pycocotools import mask as rle

from kdc_core.io import colour_of, overlay, write_image
from kdc_core.types import Frame, People
from kdc_lab.evaluate.annotated_images import Dataset
from kdc_lab.evaluate.coco_metrics import as_rle
from kdc_lab.evaluate.error_analysis import MIN_SCORE, Errors

COUNT = 40  # images on a sheet
COLUMNS = 4
CELL = (240, 240)  # pixels, width and height of one of the two images


class FailureGallery:
    """Keeps the worst images during an evaluation; ``write`` writes the sheet."""

    def __init__(self, dataset: Dataset) -> None:
        """Create an empty gallery."""
        self.dataset = dataset
        self.kept: list[tuple[int, int, np.ndarray]] = []  # badness, -order, cell
        self._seen = 0

    def add(self, image: int, frame: Frame, people: People, found: Errors) -> None:
        """Add one image; of equally bad ones the first are kept."""
        self._seen += 1
        if found.badness and (len(self.kept) < COUNT or found.badness > self.kept[0][0]):
            shown = people[np.maximum(people.score, people.mask_score) >= MIN_SCORE]
            cell = np.hstack([_fit(self._truth(image, frame)), _fit(overlay(frame.image, shown))])
            words = f"{frame.frame_id}: {found.badness}".encode("ascii", "replace").decode()
            cv2.putText(cell, words, (4, 12), cv2.FONT_HERSHEY_PLAIN, 0.8, (255, 255, 255), 1)
            keep = heapq.heappush if len(self.kept) < COUNT else heapq.heappushpop
            keep(self.kept, (found.badness, -self._seen, cell))

    def _truth(self, image: int, frame: Frame) -> np.ndarray:
        canvas = frame.image.copy()
        for number, entry in enumerate(self.dataset.people[image], 1):
            if not entry["segmentation"]:
                continue
            mask = rle.decode(as_rle(entry["segmentation"], frame.image.shape[:2]))
            outline, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
            colour = (160, 160, 160) if entry["iscrowd"] else colour_of(number)
            cv2.drawContours(canvas, outline, -1, colour, 2)
        return canvas

    def write(self, file: Path) -> int:
        """Write the sheet, worst first, and return the number of images on it.

        Raises:
            InputError: OpenCV cannot write such a file.
        """
        cells = [cell for _, _, cell in sorted(self.kept, key=lambda one: one[:2], reverse=True)]
        if not cells:
            return 0
        cells += [np.zeros_like(cells[0])] * (-len(cells) % COLUMNS)
        rows = [np.hstack(cells[i : i + COLUMNS]) for i in range(0, len(cells), COLUMNS)]
        file.parent.mkdir(parents=True, exist_ok=True)
        write_image(file, np.vstack(rows))
        return len(self.kept)


def _fit(image: np.ndarray) -> np.ndarray:
    """Fit an image into a cell, on black."""
    width, height = CELL
    scale = min(width / image.shape[1], height / image.shape[0])
    sides = (max(1, int(image.shape[1] * scale)), max(1, int(image.shape[0] * scale)))
    cell = np.zeros((height, width, 3), np.uint8)
    cell[: sides[1], : sides[0]] = cv2.resize(image, sides, interpolation=cv2.INTER_AREA)
    return cell

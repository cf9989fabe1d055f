"""The worst pictures of an evaluation on one sheet: what should be found beside what was."""

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
from kdc_lab.evaluate.error_analysis import SURE, Errors

COUNT = 40  # pictures on a sheet
COLUMNS = 4
CELL = (240, 240)  # pixels, width and height of one of the two pictures


class FailureGallery:
    """Keeps the worst pictures while an evaluation goes on; ``write`` makes the sheet."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset
        self._kept: list[tuple[int, int, np.ndarray]] = []  # badness, -order, cell
        self._seen = 0

    def add(self, image: int, frame: Frame, people: People, found: Errors) -> None:
        """Take in one picture; of equally bad ones the first stay."""
        self._seen += 1
        if found.badness and (len(self._kept) < COUNT or found.badness > self._kept[0][0]):
            sure = people[np.maximum(people.score, people.mask_score) >= SURE]
            cell = np.hstack([_fit(self._truth(image, frame)), _fit(overlay(frame.image, sure))])
            words = f"{frame.frame_id}: {found.badness}".encode("ascii", "replace").decode()
            cv2.putText(cell, words, (4, 12), cv2.FONT_HERSHEY_PLAIN, 0.8, (255, 255, 255), 1)
            keep = heapq.heappush if len(self._kept) < COUNT else heapq.heappushpop
            keep(self._kept, (found.badness, -self._seen, cell))

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
        """Write the sheet, worst first; number of pictures on it.

        Raises:
            ValueError: OpenCV makes no such picture.
        """
        cells = [cell for _, _, cell in sorted(self._kept, key=lambda one: one[:2], reverse=True)]
        if not cells:
            return 0
        cells += [np.zeros_like(cells[0])] * (-len(cells) % COLUMNS)
        rows = [np.hstack(cells[i : i + COLUMNS]) for i in range(0, len(cells), COLUMNS)]
        file.parent.mkdir(parents=True, exist_ok=True)
        write_image(file, np.vstack(rows))
        return len(self._kept)


def _fit(image: np.ndarray) -> np.ndarray:
    """The picture inside a cell, on black."""
    width, height = CELL
    scale = min(width / image.shape[1], height / image.shape[0])
    sides = (max(1, int(image.shape[1] * scale)), max(1, int(image.shape[0] * scale)))
    cell = np.zeros((height, width, 3), np.uint8)
    cell[: sides[1], : sides[0]] = cv2.resize(image, sides, interpolation=cv2.INTER_AREA)
    return cell

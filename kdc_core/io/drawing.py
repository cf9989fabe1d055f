"""Draw people on an image: masks, skeletons, ids and centroids."""

from __future__ import annotations

import colorsys
from functools import lru_cache

import cv2
import numpy as np

from kdc_core.errors import InputError
from kdc_core.skeleton import ANCHORS, LIMBS
from kdc_core.types import People, Phase

GOLDEN_ANGLE = 0.381966  # of a turn: neighbouring ids get hues that are far apart
TINT = 0.45  # share of the person's colour in its mask
SURE = 0.3  # confidence from which a visible keypoint is drawn solid
FAINT = 0.08  # confidence below which a keypoint is not drawn, because it is a guess
SPOKES = 14  # ticks per person on the border of the mask, which point to the centroid
TINY = 0.55  # of ``_relative_size``: smaller people are drawn without text
SHIFT = 3  # OpenCV's fixed-point bits for sub-pixel drawing

_SHORT = {name: name.replace("left_", "l ").replace("right_", "r ") for name in ANCHORS}


@lru_cache(maxsize=4096)
def colour_of(identity: int) -> tuple[int, int, int]:
    """Return the BGR colour of an id, the same in every frame and every run."""
    hue = (identity * GOLDEN_ANGLE) % 1.0
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.75, 1.0)
    return round(255 * blue), round(255 * green), round(255 * red)


def overlay(image: np.ndarray, people: People) -> np.ndarray:
    """Return a copy of ``image`` (H, W, 3) BGR with the people drawn on it.

    Filled keypoints and thick limbs are visible and certain, hollow keypoints and thin limbs are
    occluded or uncertain. The ring with a cross is the centroid that attracts the person's pixels;
    short ticks on the border of the mask point to it.

    Raises:
        InputError: the image and the label image differ in size.
    """
    if people.labels.shape != image.shape[:2]:
        raise InputError(
            f"overlay: the label image is {people.labels.shape}, the image {image.shape[:2]}"
        )
    canvas = image.copy()
    if not len(people):
        return canvas
    border = _tint(canvas, people)
    size = max(1.0, min(image.shape[:2]) / 480)  # line widths grow with the image
    _spokes(canvas, people, border, size)
    order = np.argsort(people.boxes[:, 3], kind="stable")  # the nearest person is drawn last
    for row in order:
        _skeleton(canvas, people, row, size)
    for row in order:
        _centroid(canvas, people, row, size)
        _label(canvas, people, row, size)
    return canvas


def _tint(canvas: np.ndarray, people: People) -> np.ndarray:
    """Blend the colours in; return the border pixels as (N, 3) x, y, id."""
    x0, y0, x1, y1 = _extent(people)
    labels, part = people.labels[y0:y1, x0:x1], canvas[y0:y1, x0:x1]
    if not labels.size or not labels.any():
        return np.zeros((0, 3), np.intp)
    colours = np.zeros((int(labels.max()) + 1, 3), np.uint8)
    for identity in people.ids[people.ids < len(colours)]:
        colours[identity] = colour_of(int(identity))
    tint = np.take(colours, labels, axis=0)  # 4 times as fast as colours[labels]
    mask = (labels > 0).view(np.uint8)
    cv2.copyTo(cv2.addWeighted(part, 1 - TINT, tint, TINT, 0), mask, part)
    inner = cv2.erode(labels, np.ones((3, 3), np.uint8), borderType=cv2.BORDER_REPLICATE)
    border = (inner != labels).view(np.uint8)  # a smaller label, or 0, is next to these pixels
    cv2.copyTo(tint, border, part)
    found = cv2.findNonZero(border)
    if found is None:
        return np.zeros((0, 3), np.intp)
    x, y = found.reshape(-1, 2).T
    return np.stack([x + x0, y + y0, labels[y, x]], axis=1)


def _extent(people: People) -> tuple[int, int, int, int]:
    """Return the union of the boxes, clipped: the part of the label image that has labels."""
    height, width = people.labels.shape
    x0, y0 = np.floor(people.boxes[:, :2].min(axis=0)).clip(0).astype(int) - 1
    x1, y1 = np.ceil(people.boxes[:, 2:].max(axis=0)).astype(int) + 2
    return max(0, x0), max(0, y0), min(width, x1), min(height, y1)


def _spokes(canvas: np.ndarray, people: People, border: np.ndarray, size: float) -> None:
    """Draw ticks from the border of the masks towards the centroids."""
    order = np.argsort(border[:, 2], kind="stable")
    border = border[order]
    for row, identity in enumerate(people.ids):
        first, last = np.searchsorted(border[:, 2], (identity, identity + 1))
        if last - first < SPOKES:
            continue
        at = border[np.linspace(first, last - 1, SPOKES).astype(int), :2].astype(np.float32)
        towards = people.centroid_xy[row] - at
        length = np.linalg.norm(towards, axis=1, keepdims=True)
        step = np.minimum(0.3 * length, 9 * size) / np.maximum(length, 1e-6)
        ticks = _fixed(np.stack([at, at + step * towards], axis=1))
        colour = _mix(colour_of(int(identity)), 0.5)
        cv2.polylines(canvas, list(ticks), False, colour, 1, cv2.LINE_AA, SHIFT)


def _skeleton(canvas: np.ndarray, people: People, row: int, size: float) -> None:
    points = people.keypoints[row]
    shown = points[:, 2] >= FAINT
    sure = people.visible[row] & (points[:, 2] >= SURE)
    colour = colour_of(int(people.ids[row]))
    light = _mix(colour, 0.65)
    body = _relative_size(people, row) * size
    thick, thin = max(1, round(2 * body)), max(1, round(0.7 * body))
    places = _fixed(points[:, :2])
    for width, strong in ((thin, False), (thick, True)):
        limbs = [
            places[[a, b]]
            for a, b in LIMBS
            if shown[a] and shown[b] and (sure[a] and sure[b]) == strong
        ]
        if limbs:
            cv2.polylines(
                canvas, limbs, False, light if strong else colour, width, cv2.LINE_AA, SHIFT
            )
    radius = round(max(1.5, 2.2 * body) * (1 << SHIFT))
    for k in np.flatnonzero(shown):
        at = (int(places[k, 0]), int(places[k, 1]))
        fill = (-1, light) if sure[k] else (1, colour)
        cv2.circle(canvas, at, radius, fill[1], fill[0], cv2.LINE_AA, SHIFT)


def _centroid(canvas: np.ndarray, people: People, row: int, size: float) -> None:
    """Draw a ring with a cross, and the name of the anchor beside it."""
    at = _fixed(people.centroid_xy[row])
    centre = (int(at[0]), int(at[1]))
    unit = 1 << SHIFT
    body = _relative_size(people, row)
    radius = round(5 * body * size * unit)
    for colour, extra in (((20, 20, 20), 2), ((255, 255, 255), 0)):
        width = max(1, round(size)) + extra
        cv2.circle(canvas, centre, radius, colour, width, cv2.LINE_AA, SHIFT)
        for dx, dy in ((radius, 0), (0, radius)):
            start, end = (centre[0] - dx, centre[1] - dy), (centre[0] + dx, centre[1] + dy)
            cv2.line(canvas, start, end, colour, width, cv2.LINE_AA, SHIFT)
    if body > TINY:
        name = _SHORT[ANCHORS[people.centroid[row]]]
        x, y = people.centroid_xy[row]
        _text(canvas, name, (x + 9 * body * size, y + 4 * size), 0.34 * size, (255, 255, 255))


def _label(canvas: np.ndarray, people: People, row: int, size: float) -> None:
    """Draw id and score on a plate of the person's colour, above the box and inside the image.

    Small people get the id only, in smaller letters, so that the plate does not hide them.
    """
    tiny = _relative_size(people, row) <= TINY
    text = f"{people.ids[row]}"
    if people.phase[row] == Phase.OCCLUDED:
        text += " occluded"
    elif not tiny:
        text += f"  {people.score[row]:.2f}"
    scale = (0.32 if tiny else 0.42) * size
    (width, height), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
    pad = round((2 if tiny else 3) * size)
    x = int(np.clip(people.boxes[row, 0], 0, max(0, canvas.shape[1] - width - 2 * pad)))
    y = int(max(people.boxes[row, 1] - 2, height + 2 * pad))
    colour = colour_of(int(people.ids[row]))
    corner = (x + width + 2 * pad, y - height - 2 * pad)
    cv2.rectangle(canvas, (x, y), corner, colour, -1)
    cv2.putText(
        canvas,
        text,
        (x + pad, y - pad),
        cv2.FONT_HERSHEY_SIMPLEX,
        scale,
        (20, 20, 20),
        1,
        cv2.LINE_AA,
    )


def _relative_size(people: People, row: int) -> float:
    """Return the size of a person relative to 130 pixels, clipped to a range that can be drawn."""
    x1, y1, x2, y2 = people.boxes[row]
    return float(np.clip(max(x2 - x1, y2 - y1) / 130, 0.5, 1.6))


def _text(
    canvas: np.ndarray,
    text: str,
    at: tuple[float, float],
    scale: float,
    colour: tuple[int, int, int],
) -> None:
    place = (round(float(at[0])), round(float(at[1])))
    for ink, width in (((20, 20, 20), 3), (colour, 1)):
        cv2.putText(canvas, text, place, cv2.FONT_HERSHEY_SIMPLEX, scale, ink, width, cv2.LINE_AA)


def _fixed(xy: np.ndarray) -> np.ndarray:
    """Convert pixels to OpenCV's fixed-point integers, clipped so that they do not overflow."""
    return np.rint(np.clip(xy, -4000, 20000) * (1 << SHIFT)).astype(np.int32)


def _mix(colour: tuple[int, int, int], white: float) -> tuple[int, int, int]:
    blue, green, red = (round(c + (255 - c) * white) for c in colour)
    return blue, green, red

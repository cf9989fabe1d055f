"""Draw simple people with NumPy and OpenCV: exact masks and keypoints without a renderer.

The figures are capsules along the limbs of one standing person. Tests, the occlusion benchmark,
``kdc bench`` and the GPU benchmark use them, so all of them share one table of proportions.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from kdc_core.skeleton import LIMBS, K

#: (17, 2) COCO keypoints of a standing person. The unit is the person's height, the origin is on
#: the ground between the feet, and y points down.
STANDING = np.array(
    [
        (0.0, -0.93), (0.02, -0.95), (-0.02, -0.95), (0.04, -0.94), (-0.04, -0.94),
        (0.12, -0.81), (-0.12, -0.81), (0.16, -0.64), (-0.16, -0.64), (0.17, -0.48), (-0.17, -0.48),
        (0.08, -0.51), (-0.08, -0.51), (0.09, -0.28), (-0.09, -0.28), (0.09, -0.04), (-0.09, -0.04),
    ]
)  # fmt: skip
HIP_CENTRE = np.array([0.0, -0.51])  # the point between the hips, same units
#: (17, 2) amplitude of each keypoint's swing while walking, same units
STRIDE = np.zeros((K, 2))
STRIDE[[7, 8], 0], STRIDE[[9, 10], 0] = (0.04, -0.04), (0.08, -0.08)
STRIDE[[13, 14], 0], STRIDE[[15, 16], 0] = (-0.06, 0.06), (-0.12, 0.12)

CLIP_SIZE = (640, 480)  # (width, height) of the walking clip, pixels
CLIP_FPS = 30.0


def draw_body(image: np.ndarray, keypoints: np.ndarray, height: float, value: int) -> None:
    """Fill the body of a person in place.

    Args:
        image: (H, W) uint8, written where the body is.
        keypoints: (17, 2) x, y in pixels.
        height: Height of the person in pixels; it sets the thickness of the limbs.
        value: Pixel value of the body.
    """
    pixels = [(round(x), round(y)) for x, y in keypoints.tolist()]
    thickness = max(2, round(0.09 * height))
    for a, b in LIMBS:
        cv2.line(image, pixels[a], pixels[b], value, thickness)
    trunk = np.array([pixels[i] for i in (5, 6, 12, 11)], np.int32)
    cv2.fillConvexPoly(image, trunk, value)
    cv2.circle(image, pixels[0], max(2, round(0.07 * height)), value, -1)


def draw_people(
    feet: Sequence[tuple[float, float]],
    heights: Sequence[float],
    size: tuple[int, int],
    jitter: float = 0.0,
    rng: np.random.Generator | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Draw standing people, each one in front of the people before it.

    Args:
        feet: Positions between the feet, (x, y) in pixels.
        heights: Heights in pixels.
        size: (width, height) of the image in pixels.
        jitter: Standard deviation of the noise on each keypoint, as a share of the height.
        rng: Source of the noise. Without it there is none.

    Returns:
        Label image (H, W) uint8 with 0 = background and p + 1 = person p, and keypoints
        (P, 17, 3) float32 x, y, v with COCO's v (see ``label_visibility``).
    """
    width, height = size
    labels = np.zeros((height, width), np.uint8)
    keypoints = np.full((len(feet), K, 3), 2.0, np.float32)
    for person, (foot, tall) in enumerate(zip(feet, heights, strict=True)):
        points = np.array(foot) + tall * STANDING
        if jitter and rng is not None:
            points = points + rng.normal(0, jitter * tall, points.shape)
        keypoints[person, :, :2] = points
        draw_body(labels, points, tall, person + 1)
    return labels, label_visibility(keypoints, labels)


def label_visibility(keypoints: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the keypoints with v set from the label image.

    A keypoint that lies on a pixel of another person, of an object or of the background gets
    v = 1 (hidden). A keypoint outside the image gets x = y = v = 0. All others keep their v.

    Args:
        keypoints: (P, 17, 3) x, y in pixels and v; v = 0 means that the keypoint is unknown.
        labels: (H, W) label image with p + 1 = person p.
    """
    height, width = labels.shape
    x, y = np.moveaxis(keypoints[..., :2].round().astype(int), -1, 0)
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height) & (keypoints[..., 2] > 0)
    label = labels[y.clip(0, height - 1), x.clip(0, width - 1)]
    on_own_body = label == np.arange(1, len(keypoints) + 1)[:, None]
    result = keypoints.copy()
    result[..., 2] = np.where(on_own_body, keypoints[..., 2], 1)
    result[~inside] = 0
    return result


def draw_walker(image: np.ndarray, x: float, feet: float, height: float, phase: float) -> None:
    """Draw a walking person in a coat and trousers into a BGR image, in place.

    Args:
        image: (H, W, 3) uint8 BGR.
        x: Position of the hips in pixels.
        feet: Row of the feet in pixels.
        height: Height of the person in pixels.
        phase: Phase of the gait in radians.
    """
    swing = 0.12 * np.sin(phase)
    hip, neck = (x, feet - 0.5 * height), (x, feet - 0.82 * height)
    coat, sleeve = (50, 50, 180), (40, 40, 150)
    limbs = [
        (hip, (x + swing * height, feet), (90, 60, 40)),
        (hip, (x - swing * height, feet), (70, 50, 40)),
        (neck, (x - swing * height, feet - 0.45 * height), sleeve),
        (neck, (x + swing * height, feet - 0.45 * height), sleeve),
        (neck, hip, coat),
    ]
    for a, b, colour in limbs:
        start, end = ((round(float(px)), round(float(py))) for px, py in (a, b))
        cv2.line(image, start, end, colour, max(3, round(0.1 * height)), cv2.LINE_AA)
    head = (round(x), round(feet - 0.92 * height))
    cv2.circle(image, head, round(0.07 * height), (140, 170, 220), -1, cv2.LINE_AA)


def write_walking_clip(path: Path, frames: int) -> Path:
    """Write a video of three walking people before a soft background; return its path.

    The frames are the same on every machine: ``CLIP_SIZE`` pixels at ``CLIP_FPS``, Motion JPEG.
    """
    rng = np.random.default_rng(0)
    width, height = CLIP_SIZE
    coarse = rng.integers(60, 200, (12, 16, 3), np.uint8)
    background = cv2.resize(coarse, CLIP_SIZE, interpolation=cv2.INTER_CUBIC)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), CLIP_FPS, CLIP_SIZE)
    for index in range(frames):
        image = background.copy()
        for person, (tall, speed) in enumerate(((200, 3.0), (280, -2.0), (360, 1.2))):
            x = (width * (0.2 + 0.3 * person) + speed * index) % width
            phase = index / CLIP_FPS * abs(speed) * 2
            draw_walker(image, x, height - 20, tall, phase)
        writer.write(image)
    writer.release()
    return path

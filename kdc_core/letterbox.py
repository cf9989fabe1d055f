"""Convert coordinates between frame, network input and field grids.

Half-pixel centres everywhere (``align_corners=False``): pixel ``i`` of an image has its centre at
``i`` in that image's coordinates and covers ``[i - 0.5, i + 0.5)``. A resize by ``scale`` maps
``x → (x + 0.5) * scale - 0.5``; cell ``i`` of a grid of stride ``s`` lies at ``i*s + (s - 1) / 2``.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from kdc_core.geometry import round_up

PAD_VALUE = 114  # grey, so that the first convolution sees no black or white edge


@dataclass(frozen=True)
class Letterbox:
    """Position of a frame in the network's input: resized by ``scale``, padded right and below."""

    frame_size: tuple[int, int]  # (width, height), pixels
    input_size: tuple[int, int]  # (width, height), pixels, multiples of ``ModelInfo.multiple``
    scale: float  # input pixels per frame pixel

    @classmethod
    def fit(cls, frame_size: tuple[int, int], longest: int, multiple: int) -> Letterbox:
        """Return a letterbox that scales the longest side to ``longest`` input pixels.

        Both sides are padded to the next ``multiple``.
        """
        width, height = frame_size
        scale = longest / max(width, height)
        sides = (max(1, round(width * scale)), max(1, round(height * scale)))
        return cls(frame_size, (round_up(sides[0], multiple), round_up(sides[1], multiple)), scale)

    @property
    def inner_size(self) -> tuple[int, int]:
        """Width and height of the resized frame inside the input, pixels."""
        width, height = self.frame_size
        return max(1, round(width * self.scale)), max(1, round(height * self.scale))

    def image(self, image: np.ndarray) -> np.ndarray:
        """Return ``image`` (H, W, 3) resized and padded to the input size, in its own type."""
        width, height = self.inner_size
        if (width, height) != (image.shape[1], image.shape[0]):
            shrinking = self.scale < 1
            image = cv2.resize(
                image,
                (width, height),
                interpolation=cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR,
            )
        if (width, height) == self.input_size:
            return image
        right, below = self.input_size[0] - width, self.input_size[1] - height
        grey = (PAD_VALUE,) * 3
        return cv2.copyMakeBorder(image, 0, below, 0, right, cv2.BORDER_CONSTANT, value=grey)

    def to_input(self, xy: np.ndarray) -> np.ndarray:
        """Convert points ``(..., 2)`` from frame pixels to input pixels."""
        return (xy + 0.5) * self._scales() - 0.5

    def to_frame(self, xy: np.ndarray) -> np.ndarray:
        """Convert points ``(..., 2)`` from input pixels to frame pixels."""
        return (xy + 0.5) / self._scales() - 0.5

    def _scales(self) -> np.ndarray:
        # the inner size is rounded to whole pixels, so the two axes may differ in the third digit
        return np.array(
            [self.inner_size[0] / self.frame_size[0], self.inner_size[1] / self.frame_size[1]],
            np.float32,
        )


def cell_centres(height: int, width: int, stride: float) -> np.ndarray:
    """Return the positions (height, width, 2) of the cells of a grid, x and y in input pixels."""
    x = np.arange(width, dtype=np.float32) * stride + (stride - 1) / 2
    y = np.arange(height, dtype=np.float32) * stride + (stride - 1) / 2
    centres = np.empty((height, width, 2), np.float32)
    centres[..., 0], centres[..., 1] = x, y[:, None]
    return centres


def to_grid(xy: np.ndarray, stride: float) -> np.ndarray:
    """Convert points ``(..., 2)`` from input pixels to fractional cell indices of a grid."""
    return (xy - (stride - 1) / 2) / stride

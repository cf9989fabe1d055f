"""The one way from a camera frame to the network's input, shared by all engines."""

from __future__ import annotations

import cv2
import numpy as np

from kdc_core.config import ModelInfo
from kdc_core.letterbox import Letterbox
from kdc_core.types import Frame


def preprocess(frame: Frame, info: ModelInfo) -> tuple[np.ndarray, Letterbox]:
    """Letterboxed RGB 0…255 ``(1, 3, H, W)`` float32, and where the frame lies in it.

    Mean and scale are not applied here: they are part of the graph.
    """
    letterbox = Letterbox.fit(frame.size, info.longest, info.multiple)
    return to_tensor(letterbox.image(frame.image)), letterbox


def to_tensor(image: np.ndarray) -> np.ndarray:
    """BGR ``(H, W, 3)`` uint8 → RGB ``(1, 3, H, W)`` float32."""
    tensor = np.empty((1, 3, *image.shape[:2]), np.float32)
    # plane by plane is twice as fast as one transposing copy, and as cv2.dnn.blobFromImage
    for channel, plane in enumerate(reversed(cv2.split(image))):
        tensor[0, channel] = plane
    return tensor

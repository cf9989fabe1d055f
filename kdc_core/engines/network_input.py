"""Convert a camera frame to the network's input; all engines on the CPU use this function."""

from __future__ import annotations

import cv2
import numpy as np

from kdc_core.config import ModelInfo
from kdc_core.letterbox import Letterbox
from kdc_core.types import Frame


def preprocess(frame: Frame, info: ModelInfo) -> tuple[np.ndarray, Letterbox]:
    """Letterbox a frame and convert it to a tensor.

    Mean and scale are not applied here, because they are part of the graph.

    Args:
        frame: the image.
        info: longest side and multiple of the network's input.

    Returns:
        RGB 0…255 ``(1, 3, H, W)`` float32, and the position of the frame in it.
    """
    letterbox = Letterbox.fit(frame.size, info.longest, info.multiple)
    return to_tensor(letterbox.image(frame.image)), letterbox


def to_tensor(image: np.ndarray) -> np.ndarray:
    """Convert BGR ``(H, W, 3)`` uint8 to RGB ``(1, 3, H, W)`` float32."""
    tensor = np.empty((1, 3, *image.shape[:2]), np.float32)
    # copying plane by plane is twice as fast as one transposing copy or cv2.dnn.blobFromImage
    for channel, plane in enumerate(reversed(cv2.split(image))):
        tensor[0, channel] = plane
    return tensor

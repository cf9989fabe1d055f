"""Turn linear light into the bytes of a camera: exposure, blur, noise and JPEG."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np


@dataclass(frozen=True)
class Optics:
    """Image faults of one camera; they are constant over a clip."""

    gain: float  # exposure, factor on linear light
    tint: np.ndarray  # (3,) white balance, RGB
    contrast: float  # additional exponent to the gamma
    blur: float  # standard deviation of the lens blur, pixels
    motion_blur: tuple[float, float]  # motion blur of a still along x and y, pixels
    noise: float  # standard deviation in grey levels at mid grey
    jpeg_quality: int  # 0: no JPEG

    @classmethod
    def random(cls, rng: np.random.Generator, strength: float) -> Optics:
        """Return random faults; ``strength`` 0 means none, 1 those of cheap cameras."""
        motion_blur = rng.normal(0, 2.5 * strength, 2) if rng.random() < 0.15 else np.zeros(2)
        return cls(
            gain=float(2 ** (strength * rng.normal(0, 0.35))),
            tint=2 ** (strength * rng.normal(0, 0.08, 3)),
            contrast=float(2 ** (strength * rng.normal(0, 0.15))),
            blur=float(strength * (0.4 + rng.gamma(2.0, 0.2))),
            motion_blur=(float(motion_blur[0]), float(motion_blur[1])),
            noise=float(strength * rng.gamma(1.5, 2.5)),
            jpeg_quality=int(rng.uniform(45, 96)) if rng.random() < strength * 0.7 else 0,
        )


def develop(linear: np.ndarray, optics: Optics, rng: np.random.Generator) -> np.ndarray:
    """Return the camera's image, (H, W, 3) uint8 BGR, of linear RGB (H, W, 3) float32."""
    light = linear * (optics.gain * optics.tint).astype(np.float32)
    if optics.blur > 0.2:
        light = cv2.GaussianBlur(light, (0, 0), optics.blur)
    if optics.motion_blur != (0.0, 0.0):
        light = cv2.filter2D(light, -1, _line(*optics.motion_blur))
    # a soft shoulder instead of hard clipping
    light = np.where(light > 0.7, 0.7 + 0.3 * np.tanh((light - 0.7) / 0.3), light)
    image = np.power(np.maximum(light, 0), np.float32(optics.contrast / 2.2)) * 255
    if optics.noise > 0:
        grain = rng.standard_normal(image.shape, np.float32) * np.float32(optics.noise)
        image = image + grain
    result = np.clip(image[..., ::-1] + 0.5, 0, 255).astype(np.uint8)
    if optics.jpeg_quality:
        coded = cv2.imencode(".jpg", result, [cv2.IMWRITE_JPEG_QUALITY, optics.jpeg_quality])[1]
        result = cv2.imdecode(coded, cv2.IMREAD_COLOR)
    return np.ascontiguousarray(result)


def _line(x: float, y: float) -> np.ndarray:
    """Return the kernel of a straight motion blur of (x, y) pixels."""
    side = int(2 * np.ceil(max(abs(x), abs(y)) / 2) + 3)
    kernel = np.zeros((side, side), np.float32)
    for share in np.linspace(-0.5, 0.5, 4 * side):
        kernel[round(side // 2 + y * share), round(side // 2 + x * share)] += 1
    return kernel / kernel.sum()

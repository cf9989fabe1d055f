"""Reference data of every image encoding, computed by arithmetic."""

from __future__ import annotations

import numpy as np
from sensor_msgs.msg import Image

W, H = 36, 20


def reference() -> np.ndarray:
    """Return a BGR image (H, W, 3) of 4x4 pixel tiles, so that subsampled chroma is exact."""
    rng = np.random.default_rng(7)
    tiles = rng.integers(30, 226, (H // 4, W // 4, 3))
    return np.kron(tiles, np.ones((4, 4, 1))).astype(np.uint8)


def yuv(bgr: np.ndarray) -> np.ndarray:
    """BT.601 with video range, as ITU writes it down."""
    b, g, r = np.moveaxis(bgr.astype(float), -1, 0)
    y = 16 + (65.481 * r + 128.553 * g + 24.966 * b) / 255
    u = 128 + (-37.797 * r - 74.203 * g + 112.0 * b) / 255
    v = 128 + (112.0 * r - 93.786 * g - 18.214 * b) / 255
    return np.stack([y, u, v], axis=-1).round().astype(np.uint8)


def packed(bgr: np.ndarray, luma_first: bool) -> np.ndarray:
    planes = yuv(bgr)
    chroma = np.where(np.arange(W) % 2 == 0, planes[..., 1], planes[..., 2])
    pair = (planes[..., 0], chroma) if luma_first else (chroma, planes[..., 0])
    return np.stack(pair, axis=-1)


def planar(bgr: np.ndarray, u_first: bool) -> np.ndarray:
    planes = yuv(bgr)
    u, v = planes[::2, ::2, 1], planes[::2, ::2, 2]
    chroma = np.stack((u, v) if u_first else (v, u), axis=-1).reshape(H // 2, W)
    return np.concatenate([planes[..., 0], chroma])


def mosaic(bgr: np.ndarray, pattern: str) -> np.ndarray:
    """What a sensor sees through a colour filter array, named by its first two rows."""
    raw = np.zeros((H, W), np.uint8)
    for place, colour in enumerate(pattern):
        y, x = divmod(place, 2)
        raw[y::2, x::2] = bgr[y::2, x::2, "bgr".index(colour)]
    return raw


def grey(bgr: np.ndarray) -> np.ndarray:
    return bgr[..., :1].repeat(3, axis=2)


ALPHA = np.full((H, W, 1), 77, np.uint8)
#: encoding → (function from image to data, from image to expected result, largest error in levels)
REFERENCES = {
    "bgr8": (lambda p: p, lambda p: p, 0),
    "8UC3": (lambda p: p, lambda p: p, 0),
    "rgb8": (lambda p: p[..., ::-1], lambda p: p, 0),
    "bgra8": (lambda p: np.concatenate([p, ALPHA], axis=2), lambda p: p, 0),
    "8UC4": (lambda p: np.concatenate([p, ALPHA], axis=2), lambda p: p, 0),
    "rgba8": (lambda p: np.concatenate([p[..., ::-1], ALPHA], axis=2), lambda p: p, 0),
    "bgr16": (lambda p: p.astype(np.uint16) * 257, lambda p: p, 0),
    "rgb16": (lambda p: p[..., ::-1].astype(np.uint16) * 257, lambda p: p, 0),
    "mono8": (lambda p: p[..., 0], grey, 0),
    "8UC1": (lambda p: p[..., 0], grey, 0),
    "mono16": (lambda p: p[..., 0].astype(np.uint16) * 257, grey, 0),
    "16UC1": (lambda p: p[..., 0].astype(np.uint16) * 9 + 4000, None, 1),
    "32FC1": (lambda p: p[..., 0].astype(np.float32) / 300 - 0.2, None, 1),
    "yuv422": (lambda p: packed(p, luma_first=False), lambda p: p, 4),
    "uyvy": (lambda p: packed(p, luma_first=False), lambda p: p, 4),
    "yuv422_yuy2": (lambda p: packed(p, luma_first=True), lambda p: p, 4),
    "yuyv": (lambda p: packed(p, luma_first=True), lambda p: p, 4),
    "nv12": (lambda p: planar(p, u_first=True), lambda p: p, 4),
    "nv21": (lambda p: planar(p, u_first=False), lambda p: p, 4),
    "bayer_rggb8": (lambda p: mosaic(p, "rggb"), None, 0),
    "bayer_bggr8": (lambda p: mosaic(p, "bggr"), None, 0),
    "bayer_gbrg8": (lambda p: mosaic(p, "gbrg"), None, 0),
    "bayer_grbg8": (lambda p: mosaic(p, "grbg"), None, 0),
}


def message(data: np.ndarray, encoding: str, padding: int = 0, big: bool = False) -> Image:
    """A message with ``padding`` bytes of rubbish after every row."""
    data = np.ascontiguousarray(data).astype(data.dtype.newbyteorder(">" if big else "<"))
    rows = data.view(np.uint8).reshape(len(data), -1)
    rows = np.pad(rows, ((0, 0), (0, padding)), constant_values=0xA5)
    made = Image(height=H, width=W, encoding=encoding, step=rows.shape[1], is_bigendian=int(big))
    made.data.frombytes(rows.tobytes())
    return made

"""Draw triangles into z-buffers with a warp kernel; the same code runs on the CPU and on CUDA.

A z-buffer holds one 64-bit key per pixel: depth in the high bits, triangle in the low bits. The
smallest key is the nearest surface in any order of the triangles, so all runs give the same image.
"""

from __future__ import annotations

import warp as wp

NEAR = wp.constant(0.1)  # metres; triangles nearer to the camera are skipped
NOTHING = 2**62  # key of an empty pixel
DEPTH_STEPS = 1.0e7  # per metre
MOST_FACES = 2**24  # maximum number of triangles
EMPTY = wp.constant(wp.int64(NOTHING))
UNIT = wp.constant(wp.float64(DEPTH_STEPS))
FACES = wp.constant(wp.int64(MOST_FACES))


@wp.func
def edge(a: wp.vec3, b: wp.vec3, x: float, y: float) -> float:
    """Return twice the signed area of the triangle (a, b, (x, y)) in the image."""
    return (b[0] - a[0]) * (y - a[1]) - (b[1] - a[1]) * (x - a[0])


@wp.kernel
def rasterise(
    points: wp.array(dtype=wp.vec3),  # x, y pixels, depth metres
    faces: wp.array2d(dtype=wp.int32),
    layers: wp.array(dtype=wp.int32),  # person of a face; -1: no person
    rectangles: wp.array2d(dtype=wp.int32),  # of a person: x1, y1, x2, y2, start in ``own``
    perspective: int,  # 1: perspective of a camera; 0: parallel light
    nearest: wp.array2d(dtype=wp.int64),  # key of the nearest surface
    own: wp.array(dtype=wp.int64),  # key of the nearest surface of each person alone
):
    """Draw triangle ``tid`` into the z-buffers; a pixel is covered if its centre is."""
    f = wp.tid()
    a = points[faces[f, 0]]
    b = points[faces[f, 1]]
    c = points[faces[f, 2]]
    if wp.min(a[2], wp.min(b[2], c[2])) < NEAR:
        return
    area = edge(a, b, c[0], c[1])
    if area == 0.0:
        return
    x1 = wp.max(int(wp.ceil(wp.min(a[0], wp.min(b[0], c[0])))), 0)
    x2 = wp.min(int(wp.floor(wp.max(a[0], wp.max(b[0], c[0])))), nearest.shape[1] - 1)
    y1 = wp.max(int(wp.ceil(wp.min(a[1], wp.min(b[1], c[1])))), 0)
    y2 = wp.min(int(wp.floor(wp.max(a[1], wp.max(b[1], c[1])))), nearest.shape[0] - 1)
    layer = layers[f]
    for y in range(y1, y2 + 1):
        for x in range(x1, x2 + 1):
            u = edge(b, c, float(x), float(y)) / area
            v = edge(c, a, float(x), float(y)) / area
            w = 1.0 - u - v
            if u >= 0.0 and v >= 0.0 and w >= 0.0:
                depth = u * a[2] + v * b[2] + w * c[2]
                if perspective == 1:
                    depth = 1.0 / (u / a[2] + v / b[2] + w / c[2])
                key = wp.int64(wp.float64(depth) * UNIT) * FACES + wp.int64(f)
                wp.atomic_min(nearest, y, x, key)
                if layer >= 0:
                    left = rectangles[layer, 0]
                    width = rectangles[layer, 2] - left
                    row = y - rectangles[layer, 1]
                    wp.atomic_min(own, rectangles[layer, 4] + row * width + x - left, key)

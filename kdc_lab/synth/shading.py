"""Colour pixels with a warp kernel: material patterns, light, shadow, and the room behind."""
# ruff: noqa: UP018, RUF046 (warp compiles the bodies: float(0.0) is a variable, 0.0 a constant)

import warp as wp

from kdc_lab.synth.rasterizer import EMPTY, FACES, UNIT, edge

#: patterns of a material
PLAIN, STRIPES, CHECKS, DOTS, CLOUDS, BRICKS, WINDOWS, SKYLINE, JACKET, PRINT = range(10)


@wp.struct
class Surface:
    """All triangles and their materials."""

    points: wp.array(dtype=wp.vec3)  # x, y pixels, depth metres
    normals: wp.array(dtype=wp.vec3)  # world
    material_xyz: wp.array(dtype=wp.vec3)  # vertices in the space of the materials, metres
    garment_depth: wp.array(dtype=wp.vec4)  # metres inside garments 0 … 3 of the mesh
    faces: wp.array2d(dtype=wp.int32)
    rows: wp.array(dtype=wp.int32)  # material of a face without garments
    first_rows: wp.array(dtype=wp.int32)  # first material of the mesh of a face
    table: wp.array2d(dtype=float)  # rows of materials


@wp.struct
class View:
    """The camera and the room around it."""

    eye: wp.vec3
    rays: wp.mat33  # pixel (x, y, 1) → ray in the world, of depth 1 m
    low: wp.vec3  # corners of the room
    high: wp.vec3
    first_row: int  # first of the room's materials: walls x-, x+, y-, y+, floor, ceiling
    photo: wp.array3d(dtype=float)  # (H, W, 3) linear RGB; empty: draw the room
    feet: wp.array(dtype=wp.vec3)  # positions of feet: the floor is darker around them


@wp.struct
class Lights:
    """The key light with its shadow map, and the ambient light."""

    shadow: wp.array2d(dtype=wp.int64)
    to_light: wp.mat44  # world → shadow map's x, y, depth
    sun: wp.vec3  # direction towards the key light
    key: wp.vec3  # linear RGB
    sky: wp.vec3  # from above
    ground: wp.vec3  # from below


@wp.func
def pattern(rows: wp.array2d(dtype=float), m: int, p: wp.vec3) -> wp.vec3:
    """Return the colour of material ``m`` at a point of its own space.

    A row of materials holds kind, size (metres), two colours (linear RGB), roughness of the colour
    and a seed.
    """
    kind = int(rows[m, 0])
    q = p / rows[m, 1]
    first = wp.vec3(rows[m, 2], rows[m, 3], rows[m, 4])
    second = wp.vec3(rows[m, 5], rows[m, 6], rows[m, 7])
    state = wp.rand_init(int(rows[m, 9]))
    share = float(0.0)
    if kind == 1:
        share = wp.where(wp.frac(q[2] + 1000.0) < 0.5, 1.0, 0.0)
    elif kind == 2:
        horizontal = wp.where(wp.frac(q[2] + 1000.0) < 0.4, 0.5, 0.0)
        share = horizontal + wp.where(wp.frac(q[0] + q[1] + 1000.0) < 0.4, 0.5, 0.0)
    elif kind == 3:
        x = wp.frac(q[0] + q[1] + 1000.0) - 0.5
        z = wp.frac(q[2] + 1000.0) - 0.5
        share = wp.where(x * x + z * z < 0.07, 1.0, 0.0)
    elif kind == 4:
        share = wp.clamp(0.5 + 1.2 * wp.noise(state, q), 0.0, 1.0)
    elif kind == 5:
        row = wp.floor(q[2] * 2.0 + 1000.0)
        x = wp.frac(q[0] + q[1] + 0.5 * wp.mod(row, 2.0) + 1000.0)
        z = wp.frac(q[2] * 2.0 + 1000.0)
        share = wp.where(x < 0.04 or z < 0.08, 1.0, 0.0)
    elif kind == 6:
        x = wp.frac(q[0] + q[1] + 1000.0)
        z = wp.frac(q[2] + 1000.0)
        share = wp.where(x > 0.25 and x < 0.75 and z > 0.25 and z < 0.8, 1.0, 0.0)
    elif kind == 7:
        x = q[0] + q[1]
        level = 0.6 + wp.noise(state, x) + 0.3 * wp.noise(state, 7.0 * x)  # hills and trees
        if rows[m, 1] > 4.0:  # houses
            level = 0.7 + 1.4 * wp.noise(state, wp.floor(1.3 * x) + 0.5)
        share = wp.where(q[2] < level, 1.0, 0.0)
    elif kind == 8:
        share = wp.where(p[1] < 0.0 and wp.abs(q[0]) < 0.25 + 0.3 * p[2], 1.0, 0.0)
    elif kind == 9:
        framed = p[1] < 0.0 and wp.abs(q[0]) < 0.5 and wp.abs(q[2] - 0.3 / rows[m, 1]) < 0.5
        share = wp.where(framed and wp.noise(state, q * 6.0) > -0.15, 1.0, 0.0)
    grain = 1.0 + rows[m, 8] * wp.noise(state, p * 23.0) + rows[m, 8] * wp.noise(state, p * 4.0)
    return (first * (1.0 - share) + second * share) * wp.max(grain, 0.1)


@wp.func
def lit(lights: Lights, point: wp.vec3, bias: float) -> float:
    """Return the share of the key light that reaches a point: mean over 3 × 3 shadow map cells."""
    p = wp.transform_point(lights.to_light, point)
    total = float(0.0)
    for j in range(-1, 2):
        for i in range(-1, 2):
            x = int(wp.floor(p[0] + 0.5)) + i
            y = int(wp.floor(p[1] + 0.5)) + j
            free = float(1.0)
            if x >= 0 and y >= 0 and x < lights.shadow.shape[1] and y < lights.shadow.shape[0]:
                depth = float(wp.float64(lights.shadow[y, x] / FACES) / UNIT)
                if depth < p[2] - bias:
                    free = float(0.0)
            total += free
    return total / 9.0


@wp.func
def reflected(
    albedo: wp.vec3, point: wp.vec3, normal: wp.vec3, bias: float, open_sky: float, lights: Lights
) -> wp.vec3:
    """Return the light that a matt surface reflects."""
    upward = 0.5 + 0.5 * normal[2]
    ambient = lights.sky * upward + lights.ground * (1.0 - upward)
    direct = lights.key * (lit(lights, point, bias) * wp.max(wp.dot(normal, lights.sun), 0.0))
    return wp.cw_mul(albedo, ambient * open_sky + direct)


@wp.func
def of_surface(f: int, x: float, y: float, surface: Surface, view: View, lights: Lights) -> wp.vec3:
    """Return the colour of triangle ``f`` at a point of the image."""
    i = surface.faces[f, 0]
    j = surface.faces[f, 1]
    k = surface.faces[f, 2]
    a = surface.points[i]
    b = surface.points[j]
    c = surface.points[k]
    area = edge(a, b, c[0], c[1])
    u = edge(b, c, x, y) / area / a[2]
    v = edge(c, a, x, y) / area / b[2]
    w = edge(a, b, x, y) / area / c[2]
    total = u + v + w
    ray = view.rays * wp.vec3(x, y, 1.0)
    point = view.eye + ray / total
    normal = wp.normalize(u * surface.normals[i] + v * surface.normals[j] + w * surface.normals[k])
    if wp.dot(normal, ray) > 0.0:
        normal = -normal
    material_point = (
        u * surface.material_xyz[i] + v * surface.material_xyz[j] + w * surface.material_xyz[k]
    )
    cover = (
        u * surface.garment_depth[i] + v * surface.garment_depth[j] + w * surface.garment_depth[k]
    )
    row = surface.rows[f]
    for layer in range(4):
        if cover[3 - layer] > 0.0:
            row = surface.first_rows[f] + 3 - layer
    albedo = pattern(surface.table, row, material_point / total)
    return reflected(albedo, point, normal, 0.03, 1.0, lights)


@wp.func
def of_room(x: float, y: float, surface: Surface, view: View, lights: Lights) -> wp.vec3:
    """Return the colour of the wall, floor, ceiling or photo in the background."""
    ray = view.rays * wp.vec3(x, y, 1.0)
    far = float(1.0e6)
    side = int(0)
    for axis in range(3):
        if ray[axis] > 1.0e-6:
            t = (view.high[axis] - view.eye[axis]) / ray[axis]
            if t < far:
                far = t
                side = 2 * axis + 1
        elif ray[axis] < -1.0e-6:
            t = (view.low[axis] - view.eye[axis]) / ray[axis]
            if t < far:
                far = t
                side = 2 * axis
    point = view.eye + ray * far
    open_sky = float(1.0)
    if side == 4:
        for i in range(view.feet.shape[0]):
            away = point - view.feet[i]
            distance = wp.dot(away, away)
            if distance < 0.2:
                open_sky *= 1.0 - 0.45 * wp.exp(-distance / 0.03)
    if view.photo.shape[0] > 0:
        if side == 4:
            open_sky *= 0.45 + 0.55 * lit(lights, point, 0.01)
        column = wp.clamp(int(x + 0.5), 0, view.photo.shape[1] - 1)
        line = wp.clamp(int(y + 0.5), 0, view.photo.shape[0] - 1)
        photo = view.photo
        return open_sky * wp.vec3(
            photo[line, column, 0], photo[line, column, 1], photo[line, column, 2]
        )
    material_point = point
    normal = wp.vec3(0.0, 0.0, 1.0)
    if side < 4:
        normal = wp.vec3(0.0, 0.0, 0.0)
        normal[side // 2] = 1.0 - 2.0 * float(side % 2)
    else:
        material_point = wp.vec3(point[0], 0.0, point[1])
        normal[2] = 9.0 - 2.0 * float(side)
    albedo = pattern(surface.table, view.first_row + side, material_point)
    return reflected(albedo, point, normal, 0.01, open_sky, lights)


@wp.func
def colour_at(
    key: wp.int64, x: float, y: float, surface: Surface, view: View, lights: Lights
) -> wp.vec3:
    """Return the colour of the nearest surface, given by the key of a z-buffer."""
    if key < EMPTY:
        return of_surface(int(key % FACES), x, y, surface, view, lights)
    return of_room(x, y, surface, view, lights)


@wp.kernel
def shade(
    nearest: wp.array2d(dtype=wp.int64),  # keys at the centres of the pixels
    fine: wp.array2d(dtype=wp.int64),  # keys at twice the size: four in each pixel
    surface: Surface,
    view: View,
    lights: Lights,
    image: wp.array2d(dtype=wp.vec3),  # linear RGB
):
    """Colour one pixel: the mean of four samples where an edge crosses it, else one sample."""
    y, x = wp.tid()
    key = nearest[y, x]
    closest = key / FACES
    furthest = key / FACES
    for j in range(2):
        for i in range(2):
            depth = fine[2 * y + j, 2 * x + i] / FACES
            closest = wp.min(closest, depth)
            furthest = wp.max(furthest, depth)
    if furthest - closest < closest / wp.int64(25):
        image[y, x] = colour_at(key, float(x), float(y), surface, view, lights)
        return
    total = wp.vec3(0.0, 0.0, 0.0)
    for j in range(2):
        for i in range(2):
            sample = fine[2 * y + j, 2 * x + i]
            aside = float(x) + 0.5 * float(i) - 0.25
            below = float(y) + 0.5 * float(j) - 0.25
            total += 0.25 * colour_at(sample, aside, below, surface, view, lights)
    image[y, x] = total

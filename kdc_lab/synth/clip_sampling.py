"""Sample the scene of a video: people on paths over time, seen by a moving camera."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from kdc_lab.synth.activities import Activity, stay
from kdc_lab.synth.contacts import hold_hands
from kdc_lab.synth.effects import Optics
from kdc_lab.synth.gait import gait, step_length
from kdc_lab.synth.paths import WalkPath, simulate_paths
from kdc_lab.synth.pinhole import Camera
from kdc_lab.synth.scene import Actor, GroundPose, Prop, Scene, fixed_pose
from kdc_lab.synth.still_sampling import (
    count_people,
    group_to_world,
    random_actor,
    random_camera,
    random_light,
)
from kdc_lab.synth.surroundings import fit_photo, random_clutter, random_prop, random_room, seat_for
from kdc_lab.synth.synth_config import SynthConfig

CLEARANCE = 2.2  # metres in front of the camera without people, free for passing objects
WALKING_RADIUS = 0.36  # metres around a walking person, with arms and stride
STANDING_RADIUS = 0.5  # metres around a stationary person, with knees when seated or waving arms


def clip_scene(
    seed: int, config: SynthConfig, seconds: float, background: np.ndarray | None
) -> Scene:
    """Return the scene of one video.

    Args:
        seed: Source of everything random.
        config: Ranges and probabilities.
        seconds: Length of the video.
        background: (H, W, 3) uint8 BGR image without people, or None for a drawn room or street.
    """
    rng = np.random.default_rng([seed, 2])
    camera, _ = random_camera(rng, config)
    half = camera.size[0] / 2 / camera.focal
    count = count_people(rng, config)
    far = CLEARANCE + 2.0 + (1.5 - config.crowding) * np.sqrt(count) * 1.6
    wide = half * (CLEARANCE + far) / 2
    low, high = np.array([-1.25 * wide - 0.3, CLEARANCE]), np.array([1.25 * wide + 0.3, far])
    actors = [random_actor(rng, 0.0) for _ in range(count)]
    walks = rng.random(count) < 0.7
    pairs = [i for i in range(0, count - 1, 2) if rng.random() < config.contact]
    solids = [random_prop(rng) for _ in range(rng.binomial(2, config.occluders))]
    sizes = np.array([np.hypot(*size[:2]) / 2 for _, size in solids])
    spots = _assign_paths(rng, actors, walks, pairs, sizes, seconds, low, high)
    props = [
        Prop(mesh, fixed_pose(*spot, 0.0))
        for (mesh, _), spot in zip(solids, spots.tolist(), strict=True)
    ]
    props += [seat_for(rng, actor) for actor in actors if actor.activity.seated]
    props += [_passing_prop(rng, camera, seconds) for _ in range(rng.poisson(config.occluders))]
    corners = [tuple(low), tuple(high)]
    room = random_room(rng, corners)
    if background is None:
        props += random_clutter(rng, room)
    else:
        room = replace(room, photo=fit_photo(background, config.size))
    optics = replace(Optics.random(rng, config.effects), motion_blur=(0.0, 0.0))
    view = _panning_camera(rng, camera) if background is None else (lambda time: camera)
    return Scene(actors, props, room, random_light(rng), view, optics, config.device)


def _assign_paths(
    rng: np.random.Generator,
    actors: list[Actor],
    walks: np.ndarray,
    pairs: list[int],
    solids: np.ndarray,
    seconds: float,
    low: np.ndarray,
    high: np.ndarray,
) -> np.ndarray:
    """Give every actor a position over time and an activity.

    Args:
        rng: Source of the paths.
        actors: People; changed in place.
        walks: (P,) bool, True for the people who walk; pairs are set to True.
        pairs: Indices of people who hold the hand of the next one.
        solids: (N,) radii in metres of objects that stand among the people.
        seconds: Length of the video.
        low: (2,) corner of the area in metres.
        high: (2,) opposite corner.

    Returns:
        Positions (N, 2) of the objects in metres.
    """
    second = [i + 1 for i in pairs]  # each holds the hand of the person before
    walks[pairs] = True
    leaders = [i for i in range(len(actors)) if i not in second]
    radii = np.array(
        [0.85 if i in pairs else WALKING_RADIUS if walks[i] else STANDING_RADIUS for i in leaders]
    )
    speeds = np.array([_random_speed(rng, actors[i]) if walks[i] else 0.0 for i in leaders])
    speeds[[leaders.index(i) for i in pairs]] = 1.1
    all_radii, still = np.concatenate([radii, solids]), np.zeros(len(solids))
    starts = _scatter(rng, all_radii, low, high)
    strides = np.array([2 * step_length(actors[i].figure.rig, 1.0) for i in leaders])
    paths = simulate_paths(
        np.random.default_rng(
            rng.integers(1 << 32)
        ),  # a generator of its own: a longer clip starts like a shorter one
        seconds,
        starts,
        np.concatenate([speeds, still]),
        all_radii,
        np.concatenate([strides, still + 1]),
        low,
        high,
    )
    for i, path, speed in zip(leaders, paths[: len(leaders)], speeds, strict=True):
        if not speed:
            actors[i].activity = stay(rng, str(rng.choice(["stand", "sit", "wave", "reach"])))
            yaw = rng.uniform(-180, 180)
            actors[i].ground_pose = lambda time, p=path, yaw=yaw: (*p.at(0.0)[:2], yaw)
        elif i in pairs:
            hold_hands(actors[i], actors[i + 1])
            apart = actors[i + 1].ground_pose(0.0)[0]
            for actor, offset in ((actors[i], -apart / 2), (actors[i + 1], apart / 2)):
                _follow_path(rng, actor, path, speed, offset)
        else:
            _follow_path(rng, actors[i], path, speed, 0.0)
    return starts[len(leaders) :]


def _follow_path(
    rng: np.random.Generator, actor: Actor, path: WalkPath, speed: float, offset: float
) -> None:
    """Make an actor walk along a path, ``offset`` metres to the left of it."""
    rig = actor.figure.rig
    running = speed > 2.0 * rig.body.height / 1.7
    style = gait(rng, rig, running)

    def posture(time: float):
        *_, pace, phase = path.at(time)
        return style(phase, pace)

    def ground_pose(time: float) -> GroundPose:
        x, y, yaw, *_ = path.at(time)
        spot = group_to_world(np.array([offset, 0.0]), (x, y, yaw))
        return float(spot[0]), float(spot[1]), yaw

    actor.activity = Activity("run" if running else "walk", posture, speed)
    actor.ground_pose = ground_pose


def _random_speed(rng: np.random.Generator, actor: Actor) -> float:
    """Return a speed in m/s: most people walk, one in eight runs, short legs are slower."""
    size = actor.figure.rig.body.height / 1.7
    return float(size * (rng.uniform(2.2, 3.2) if rng.random() < 0.12 else rng.uniform(0.6, 1.6)))


def _scatter(
    rng: np.random.Generator, radii: np.ndarray, low: np.ndarray, high: np.ndarray
) -> np.ndarray:
    """Return positions (N, 2) in an area, apart from each other as far as there is room."""
    places: list[np.ndarray] = []
    for radius in radii:
        tries = rng.uniform(low, high, (60, 2))
        gaps = [
            min(
                (
                    np.linalg.norm(spot - other) - radius - r
                    for other, r in zip(places, radii, strict=False)
                ),
                default=0.0,
            )
            for spot in tries
        ]
        free = [spot for spot, gap in zip(tries, gaps, strict=True) if gap >= 0]
        places.append(free[0] if free else tries[int(np.argmax(gaps))])
    return np.array(places)


def _passing_prop(rng: np.random.Generator, camera: Camera, seconds: float) -> Prop:
    """Return an object that is carried past close to the camera, across the whole image."""
    mesh, size = random_prop(rng)
    depth = rng.uniform(0.9, 1.4) + size[1] / 2
    reach = camera.size[0] / 2 / camera.focal * depth + max(size[:2])
    speed = rng.uniform(0.4, 1.6) * rng.choice([-1, 1])
    middle = rng.uniform(0, seconds)

    def ground_pose(time: float) -> GroundPose:
        x = speed * (time - middle)
        return float(np.clip(x, -reach - 1, reach + 1)), float(depth), 0.0

    return Prop(mesh, ground_pose)


def _panning_camera(rng: np.random.Generator, camera: Camera) -> Callable[[float], Camera]:
    """Return a camera that pans, shakes and drifts a little, smoothly over time."""
    sweep, rate = rng.uniform(0, 0.18), rng.uniform(0.2, 0.8)  # radians, radians per second
    shake = rng.gamma(1.5, 0.0012)  # radians
    rates, phases = rng.uniform(4, 40, (3, 4)), rng.uniform(0, 2 * np.pi, (3, 4))
    drift, start = rng.uniform(0, 0.15, 3), rng.uniform(0, 2 * np.pi, 4)
    forward = camera.rotation[2]

    def view(time: float) -> Camera:
        trembling = shake * np.sin(rates * time + phases).mean(axis=1) * 2
        angle = sweep * np.sin(rate * time + start[3]) + trembling[0]
        c, s = np.cos(angle), np.sin(angle)
        ahead = np.array(
            [
                c * forward[0] - s * forward[1],
                s * forward[0] + c * forward[1],
                forward[2] + trembling[1],
            ]
        )
        eye = camera.eye + drift * np.sin(0.7 * time + start[:3]) * (1, 1, 0.3)
        roll = np.rad2deg(trembling[2])
        return Camera.aimed(eye, eye + ahead, roll, camera.focal, camera.size)

    return view

"""Sample the scene of a still: people, their positions, occluding objects, camera and light."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from kdc_lab.synth import bodies
from kdc_lab.synth.activities import Activity, random_activity, stay, walk_or_run
from kdc_lab.synth.clothes import dress
from kdc_lab.synth.contacts import have_similar_height, hold_hands, hug
from kdc_lab.synth.effects import Optics
from kdc_lab.synth.joints import Rig
from kdc_lab.synth.pinhole import Camera
from kdc_lab.synth.renderer import Light
from kdc_lab.synth.scene import Actor, Scene, fixed_pose
from kdc_lab.synth.surroundings import (
    fit_photo,
    random_clutter,
    random_occluders,
    random_room,
    seat_for,
)
from kdc_lab.synth.synth_config import SynthConfig
from kdc_lab.synth.volume import SOFTNESS, Volume, overlap

TRIES = 40  # positions tried for a group
MAX_SPREAD = 8.0  # metres; people that do not fit within it are left out
MIN_DISTANCE = 1.1  # metres from the camera to a person
MAX_BOX_OVERLAP = 0.1  # share of a person's box that people beside it may cover


def count_people(rng: np.random.Generator, config: SynthConfig) -> int:
    """Return the number of people; ``crowding`` 0.5 gives on average 0.3 of the range."""
    least, most = config.people
    return least + int((most - least + 0.999) * rng.random() ** (4 - 3 * config.crowding))


def random_camera(rng: np.random.Generator, config: SynthConfig) -> tuple[Camera, float]:
    """Return a camera above the origin that looks along +y, and its distance to people in metres.

    A person at this distance is between a quarter and 1.3 times as high as the image.
    """
    width, height = config.size
    focal = float(np.exp(rng.uniform(*np.log(config.focal)))) * width
    tall = np.exp(rng.uniform(*np.log([0.25, 1.3])))
    depth = float(np.clip(1.7 * focal / (tall * height), 1.5, 12))
    eye = np.array([0.0, 0.0, rng.uniform(*config.camera_height)])
    target = np.array([0.0, depth, rng.uniform(0.7, 1.1)])
    # tilted up or down, but only so far that people stay in the image
    most = 0.4 * height / 2 / focal
    target[2] += depth * np.clip(np.deg2rad(rng.normal(0, config.tilt)), -most, most)
    return Camera.aimed(eye, target, rng.normal(0, config.tilt / 2), focal, config.size), depth


def random_light(rng: np.random.Generator) -> Light:
    """Return a warm or cold key light from the side or above, and ambient light."""
    azimuth, height = rng.uniform(0, 2 * np.pi), np.deg2rad(rng.uniform(20, 80))
    sun = np.array(
        [np.cos(azimuth) * np.cos(height), np.sin(azimuth) * np.cos(height), np.sin(height)]
    )
    warm = np.array([1 + 0.15 * rng.normal(), 1.0, 1 + 0.15 * rng.normal()])
    ambient = rng.uniform(0.2, 0.8)
    return Light(
        sun,
        rng.uniform(0.3, 1.3) * warm,
        ambient * np.clip(2 - warm, 0.6, 1.4),
        ambient * rng.uniform(0.3, 0.8) * np.ones(3),
    )


def random_actor(rng: np.random.Generator, moving: float) -> Actor:
    """Return a dressed person with an activity, not yet placed."""
    phenotype = bodies.random_phenotype(rng)
    rig = Rig(bodies.load_model().shape(phenotype))
    figure = dress(rig, rng, phenotype["gender"])
    return Actor(figure, Volume(rig.body), random_activity(rng, rig, moving), fixed_pose(0, 0, 0))


def random_group(rng: np.random.Generator, config: SynthConfig, room: int) -> list[Actor]:
    """Return one person, or two who touch when there is room for two."""
    first = random_actor(rng, 0.3)
    first.activity = freeze(first.activity, rng.uniform(0, 10))
    if room < 2 or rng.random() >= config.contact:
        return [first]
    second = random_actor(rng, 0.3)
    if rng.random() < 0.5 and have_similar_height(first, second):
        first.activity, second.activity = (
            freeze(stay(rng, "stand"), rng.uniform(0, 10)) for _ in range(2)
        )
        hug(first, second)
    else:
        walking = rng.random() < 0.5
        for actor in (first, second):
            activity = walk_or_run(rng, actor.figure.rig, 1.2) if walking else stay(rng, "stand")
            actor.activity = freeze(activity, rng.uniform(0, 10))
        hold_hands(first, second)
    return [first, second]


def place_group(
    rng: np.random.Generator,
    group: list[Actor],
    taken: list[np.ndarray],
    camera: Camera,
    centres: np.ndarray,
    spread: float,
    crowding: float,
) -> bool:
    """Place a group at a free position in view around one of ``centres``.

    Args:
        rng: Source of the positions.
        group: Actors; their ground poses change.
        taken: Spheres (S, 4) of the people so far; the group is appended.
        camera: Camera of the image.
        centres: (C, 2) metres.
        spread: Standard deviation of the distance from a centre, metres.
        crowding: Its square is the probability that the group may overlap others in the image.

    Returns:
        False if no free position was found.
    """
    local = [actor.ground_pose(0.0) for actor in group]
    here = np.concatenate([actor.spheres(0.0) for actor in group])
    margin = np.array(camera.size) * rng.uniform(-0.06, 0.06)  # the border cuts some people
    boxes = [camera.box(other) for other in taken]
    if boxes and rng.random() < crowding**2:
        boxes = []
    for _ in range(TRIES):
        x, y = centres[rng.integers(len(centres))] + rng.normal(0, spread, 2)
        middle = camera.project(np.array([x, y, 0.85]))
        inside = (middle[:2] > margin) & (middle[:2] < camera.size - margin)
        if y < MIN_DISTANCE or middle[2] < MIN_DISTANCE or not inside.all():
            continue
        towards = np.rad2deg(np.arctan2(-x, y))  # faces the camera
        yaw = towards + (rng.normal(0, 50) if rng.random() < 0.55 else rng.uniform(-180, 180))
        there = here.copy()
        there[:, :2] = group_to_world(here[:, :2], (x, y, yaw))
        box = camera.box(there)
        if any(overlap_share(box, other) > MAX_BOX_OVERLAP for other in boxes):
            continue
        if all(overlap(there, other) < SOFTNESS for other in taken):
            for actor, (dx, dy, dyaw) in zip(group, local, strict=True):
                spot = group_to_world(np.array([dx, dy]), (x, y, yaw))
                actor.ground_pose = fixed_pose(float(spot[0]), float(spot[1]), float(yaw + dyaw))
            taken.append(there)
            return True
    return False


def overlap_share(a: np.ndarray, b: np.ndarray) -> float:
    """Return the share of the smaller of two boxes (x1, y1, x2, y2) that the other covers."""
    both = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    least = min(np.prod(a[2:] - a[:2]), np.prod(b[2:] - b[:2]))
    return float(np.prod(both.clip(0)) / max(least, 1e-6))


def group_to_world(xy: np.ndarray, origin: tuple[float, float, float]) -> np.ndarray:
    """Return points (..., 2) of a group moved to the pose (x, y, degrees) of the group."""
    x, y, yaw = origin
    c, s = np.cos(np.deg2rad(yaw)), np.sin(np.deg2rad(yaw))
    return xy @ np.array([(c, s), (-s, c)]) + (x, y)


def freeze(activity: Activity, time: float) -> Activity:
    """Return the activity stopped at a time."""
    posture = activity.posture(time)
    return replace(activity, posture=lambda _: posture, speed=0.0)


def still_scene(seed: int, config: SynthConfig, background: np.ndarray | None) -> Scene:
    """Return the scene of one still; see ``generator.still`` for the arguments."""
    rng = np.random.default_rng([seed, 0])
    camera, depth = random_camera(rng, config)
    half = camera.size[0] / 2 / camera.focal
    depths = depth * np.array([1, *rng.uniform(0.7, 1.8, rng.integers(0, 3))])
    aside = np.array([0.5, *rng.uniform(0.2, 0.8, len(depths) - 1)])
    centres = np.stack([depths * half * rng.choice([-1, 1], len(aside)) * aside, depths], axis=1)
    actors = _place_people(rng, config, camera, centres)
    seats = [seat_for(rng, actor) for actor in actors if actor.activity.seated]
    props = random_occluders(rng, config, actors, camera)
    room = random_room(rng, [a.ground_pose(0)[:2] for a in actors])
    if background is None:
        props += random_clutter(rng, room)
    else:
        room = replace(room, photo=fit_photo(background, config.size))
    return Scene(
        actors,
        seats + props,
        room,
        random_light(rng),
        lambda time: camera,
        Optics.random(rng, config.effects),
        config.device,
    )


def _place_people(
    rng: np.random.Generator, config: SynthConfig, camera: Camera, centres: np.ndarray
) -> list[Actor]:
    """Return as many people as the configuration asks for, or as fit into the view."""
    spread = 1.6 - 1.1 * config.crowding  # metres
    actors: list[Actor] = []
    taken: list[np.ndarray] = []
    count = count_people(rng, config)
    while len(actors) < count:
        group = random_group(rng, config, count - len(actors))
        while not place_group(rng, group, taken, camera, centres, spread, config.crowding):
            if len(actors) >= config.people[0] or spread > MAX_SPREAD:
                return actors or [_place_alone(group[0], centres[0, 1])]
            spread *= 1.25
        actors += group
    return actors


def _place_alone(actor: Actor, depth: float) -> Actor:
    """Return one person in front of the camera, for the rare view without a free position."""
    actor.grip = None
    actor.ground_pose = fixed_pose(0.0, float(depth), 0.0)
    return actor

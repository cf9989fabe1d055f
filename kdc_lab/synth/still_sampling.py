"""Sampling one scene: who is there, where they stand, what is in the way, how it is lit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from kdc_lab.synth import bodies
from kdc_lab.synth.activities import Activity, going, random_activity, staying
from kdc_lab.synth.clothes import dress
from kdc_lab.synth.contacts import alike, hold_hands, hug
from kdc_lab.synth.effects import Optics
from kdc_lab.synth.joints import Rig
from kdc_lab.synth.pinhole import Camera
from kdc_lab.synth.renderer import Light
from kdc_lab.synth.scene import Actor, Scene, staying_at
from kdc_lab.synth.surroundings import clutter, photo_of, random_room, random_things, seat_for
from kdc_lab.synth.synth_config import SynthConfig
from kdc_lab.synth.volume import TOUCH, Volume, overlap

TRIES = 40  # places tried for a person before it is left out
WIDEST = 8.0  # metres: when people do not fit within this, there are fewer of them
NEAREST = 1.1  # metres from the camera to a person
BESIDE = 0.1  # share of a person's box in the picture that somebody beside it may have as well


def count_people(rng: np.random.Generator, config: SynthConfig) -> int:
    """More of them, the more ``crowding``: 0.5 gives 0.3 of the range on average."""
    least, most = config.people
    return least + int((most - least + 0.999) * rng.random() ** (4 - 3 * config.crowding))


def random_camera(rng: np.random.Generator, config: SynthConfig) -> tuple[Camera, float]:
    """A camera above the origin that looks along +y at people, and how far away they are (m).

    A person there is a quarter of the picture high, or more than all of it, or between.
    """
    width, height = config.size
    focal = float(np.exp(rng.uniform(*np.log(config.focal)))) * width
    tall = np.exp(rng.uniform(*np.log([0.25, 1.3])))
    depth = float(np.clip(1.7 * focal / (tall * height), 1.5, 12))
    eye = np.array([0.0, 0.0, rng.uniform(*config.camera_height)])
    target = np.array([0.0, depth, rng.uniform(0.7, 1.1)])
    # tilted up or down, but not so far that nobody is in the picture
    most = 0.4 * height / 2 / focal
    target[2] += depth * np.clip(np.deg2rad(rng.normal(0, config.tilt)), -most, most)
    return Camera.aimed(eye, target, rng.normal(0, config.tilt / 2), focal, config.size), depth


def random_light(rng: np.random.Generator) -> Light:
    """A key light from the side or above, warm or cold, and light from all around."""
    azimuth, height = rng.uniform(0, 2 * np.pi), np.deg2rad(rng.uniform(20, 80))
    sun = np.array([np.cos(azimuth) * np.cos(height), np.sin(azimuth) * np.cos(height),
                    np.sin(height)])  # fmt: skip
    warm = np.array([1 + 0.15 * rng.normal(), 1.0, 1 + 0.15 * rng.normal()])
    ambient = rng.uniform(0.2, 0.8)
    return Light(sun, rng.uniform(0.3, 1.3) * warm, ambient * np.clip(2 - warm, 0.6, 1.4),
                 ambient * rng.uniform(0.3, 0.8) * np.ones(3))  # fmt: skip


def random_actor(rng: np.random.Generator, moving: float) -> Actor:
    """A dressed person with something to do, not yet placed."""
    phenotype = bodies.random_phenotype(rng)
    rig = Rig(bodies.load_model().shape(phenotype))
    figure = dress(rig, rng, phenotype["gender"])
    return Actor(figure, Volume(rig.body), random_activity(rng, rig, moving), staying_at(0, 0, 0))


def random_group(rng: np.random.Generator, config: SynthConfig, room: int) -> list[Actor]:
    """One person, or two who touch when there is room for two."""
    first = random_actor(rng, 0.3)
    first.activity = frozen(first.activity, rng.uniform(0, 10))
    if room < 2 or rng.random() >= config.contact:
        return [first]
    second = random_actor(rng, 0.3)
    if rng.random() < 0.5 and alike(first, second):
        first.activity, second.activity = (
            frozen(staying(rng, "stand"), rng.uniform(0, 10)) for _ in range(2)
        )
        hug(first, second)
    else:
        walking = rng.random() < 0.5
        for actor in (first, second):
            activity = going(rng, actor.figure.rig, 1.2) if walking else staying(rng, "stand")
            actor.activity = frozen(activity, rng.uniform(0, 10))
        hold_hands(first, second)
    return [first, second]


def settle(
    rng: np.random.Generator, group: list[Actor], taken: list[np.ndarray], camera: Camera,
    centres: np.ndarray, spread: float, crowding: float,
) -> bool:  # fmt: skip
    """Find a group a free place in view around one of ``centres``; False when there is none.

    How often it may be in front of somebody or behind is the square of ``crowding``.
    """
    local = [actor.place(0.0) for actor in group]
    here = np.concatenate([actor.spheres(0.0) for actor in group])
    margin = np.array(camera.size) * rng.uniform(-0.06, 0.06)  # some are cut by the border
    boxes = [camera.box(other) for other in taken]
    if boxes and rng.random() < crowding**2:
        boxes = []
    for _ in range(TRIES):
        x, y = centres[rng.integers(len(centres))] + rng.normal(0, spread, 2)
        middle = camera.project(np.array([x, y, 0.85]))
        inside = (middle[:2] > margin) & (middle[:2] < camera.size - margin)
        if y < NEAREST or middle[2] < NEAREST or not inside.all():
            continue
        towards = np.rad2deg(np.arctan2(-x, y))  # turned so that it faces the camera
        yaw = towards + (rng.normal(0, 50) if rng.random() < 0.55 else rng.uniform(-180, 180))
        there = here.copy()
        there[:, :2] = around(here[:, :2], (x, y, yaw))
        box = camera.box(there)
        if any(shared(box, other) > BESIDE for other in boxes):
            continue
        if all(overlap(there, other) < TOUCH for other in taken):
            for actor, (dx, dy, dyaw) in zip(group, local, strict=True):
                spot = around(np.array([dx, dy]), (x, y, yaw))
                actor.place = staying_at(float(spot[0]), float(spot[1]), float(yaw + dyaw))
            taken.append(there)
            return True
    return False


def shared(a: np.ndarray, b: np.ndarray) -> float:
    """Share of the smaller of two boxes (x1, y1, x2, y2) that the other one covers."""
    both = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    least = min(np.prod(a[2:] - a[:2]), np.prod(b[2:] - b[:2]))
    return float(np.prod(both.clip(0)) / max(least, 1e-6))


def around(xy: np.ndarray, origin: tuple[float, float, float]) -> np.ndarray:
    """Points (..., 2) of a group's own ground to where the group stands (x, y, degrees)."""
    x, y, yaw = origin
    c, s = np.cos(np.deg2rad(yaw)), np.sin(np.deg2rad(yaw))
    return xy @ np.array([(c, s), (-s, c)]) + (x, y)


def frozen(activity: Activity, time: float) -> Activity:
    """The same behaviour, stopped at a time."""
    posture = activity.posture(time)
    return replace(activity, posture=lambda _: posture, speed=0.0)


def still_scene(seed: int, config: SynthConfig, background: np.ndarray | None) -> Scene:
    """The scene of one still."""
    rng = np.random.default_rng([seed, 0])
    camera, depth = random_camera(rng, config)
    half = camera.size[0] / 2 / camera.focal
    depths = depth * np.array([1, *rng.uniform(0.7, 1.8, rng.integers(0, 3))])
    aside = np.array([0.5, *rng.uniform(0.2, 0.8, len(depths) - 1)])
    centres = np.stack([depths * half * rng.choice([-1, 1], len(aside)) * aside, depths], axis=1)
    actors = _gathered(rng, config, camera, centres)
    seats = [seat_for(rng, actor) for actor in actors if actor.activity.seated]
    things = random_things(rng, config, actors, camera)
    room = random_room(rng, [a.place(0)[:2] for a in actors])
    if background is None:
        things += clutter(rng, room)
    else:
        room = replace(room, photo=photo_of(background, config.size))
    return Scene(actors, seats + things, room, random_light(rng), lambda time: camera,
                 Optics.random(rng, config.effects), config.device)  # fmt: skip


def _gathered(
    rng: np.random.Generator, config: SynthConfig, camera: Camera, centres: np.ndarray
) -> list[Actor]:
    """As many people as wanted around some places, or as there is room for in view."""
    spread = 1.6 - 1.1 * config.crowding  # metres
    actors: list[Actor] = []
    taken: list[np.ndarray] = []
    wanted = count_people(rng, config)
    while len(actors) < wanted:
        group = random_group(rng, config, wanted - len(actors))
        while not settle(rng, group, taken, camera, centres, spread, config.crowding):
            if len(actors) >= config.people[0] or spread > WIDEST:
                return actors or [_in_front(group[0], centres[0, 1])]
            spread *= 1.25
        actors += group
    return actors


def _in_front(actor: Actor, depth: float) -> Actor:
    """Someone alone before the camera: for the rare view in which no free place was found."""
    actor.grip = None
    actor.place = staying_at(0.0, float(depth), 0.0)
    return actor

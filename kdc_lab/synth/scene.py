"""A scene: actors, things, light and camera over time, and its picture with labels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from kdc_lab.synth.activities import Activity
from kdc_lab.synth.effects import Optics, develop
from kdc_lab.synth.figure import Figure
from kdc_lab.synth.joints import Posture, Z, moved, turn
from kdc_lab.synth.keypoint_truth import covered, label_keypoints
from kdc_lab.synth.mesh import Mesh
from kdc_lab.synth.pinhole import Camera
from kdc_lab.synth.rendered_frame import RenderedFrame
from kdc_lab.synth.renderer import Light, Room, render
from kdc_lab.synth.volume import Volume

ANKLES = slice(15, 17)
FLAT = np.array([1.0, 1.0, 0.0])
BRIGHTNESS = 0.2  # mean linear light that a camera's exposure aims at
Place = tuple[float, float, float]  # x, y in metres, degrees turned left from facing -y


@dataclass
class Actor:
    """One person of a scene."""

    figure: Figure
    volume: Volume
    activity: Activity
    place: Callable[[float], Place]  # seconds → where it is

    #: changes a posture so that hands touch someone: posture, bones without it, seconds → posture
    grip: Callable[[Posture, np.ndarray, float], Posture] | None = None

    def standing(self, time: float, posture: Posture | None = None) -> np.ndarray:
        """Bone transforms (B, 3, 4) in the world, the lowest point on the ground; no grip."""
        posed = self.figure.rig.bones(posture or self.activity.posture(time))
        x, y, yaw = self.place(time)
        return moved(posed, turn(Z, yaw), np.array([x, y, -self.figure.lowest(posed)]))

    def bones(self, time: float) -> np.ndarray:
        """Bone transforms (B, 3, 4) in the world."""
        bones = self.standing(time)
        if self.grip is None:
            return bones
        return self.standing(time, self.grip(self.activity.posture(time), bones, time))

    def spheres(self, time: float) -> np.ndarray:
        """Room it takes, (S, 4)."""
        return self.volume.spheres(self.bones(time))


@dataclass
class Thing:
    """Something that is no person, at rest or moving."""

    mesh: Mesh
    place: Callable[[float], Place]

    def at(self, time: float) -> Mesh:
        """Its surface at a time."""
        x, y, yaw = self.place(time)
        return self.mesh.moved(turn(Z, yaw), np.array([x, y, 0.0]))


@dataclass
class Scene:
    """Everything that a camera can take pictures of."""

    actors: list[Actor]
    things: list[Thing]
    room: Room
    light: Light
    camera: Callable[[float], Camera]  # seconds → camera
    optics: Optics
    device: str
    exposure: float = 0.0  # factor on linear light, set by the first picture as a camera would

    def shot(self, time: float, rng: np.random.Generator) -> RenderedFrame:
        """Picture and truth at a time; ``rng`` gives the noise."""
        bones = [actor.bones(time) for actor in self.actors]
        camera = self.camera(time)
        points = np.array([actor.figure.rig.body.keypoints(b)
                           for actor, b in zip(self.actors, bones, strict=True)])  # fmt: skip
        picture = render(
            [actor.figure.posed(b) for actor, b in zip(self.actors, bones, strict=True)],
            [thing.at(time) for thing in self.things], points[:, ANKLES].reshape(-1, 3) * FLAT,
            self.room, self.light, camera, self.device,
        )  # fmt: skip
        if not self.exposure:
            self.exposure = float(np.clip(BRIGHTNESS / picture.linear.mean(), 0.3, 5.0))
        heights = np.array([actor.figure.rig.body.height for actor in self.actors])
        keypoints = label_keypoints(points, heights, picture, camera)
        inside = np.flatnonzero(picture.whole > 0)
        rows = np.zeros(len(self.actors) + 1, np.uint8)
        rows[inside + 1] = np.arange(1, len(inside) + 1)
        image = develop(picture.linear * np.float32(self.exposure), self.optics, rng)
        return RenderedFrame(
            image, rows[picture.labels], keypoints[inside], picture.box[inside] + 0.5,
            covered(picture)[inside], inside + 1, time,
        )  # fmt: skip


def staying_at(x: float, y: float, yaw: float) -> Callable[[float], Place]:
    """The place of what does not move."""
    return lambda time: (x, y, yaw)

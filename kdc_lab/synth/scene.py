"""Represent a scene of actors, objects, light and camera over time, and render its frames."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from kdc_lab.synth.activities import Activity
from kdc_lab.synth.dressed_body import DressedBody
from kdc_lab.synth.effects import Optics, develop
from kdc_lab.synth.joints import Posture, Z, move_bones, rotation_about
from kdc_lab.synth.keypoint_truth import hidden_share, label_keypoints
from kdc_lab.synth.mesh import Mesh
from kdc_lab.synth.pinhole import Camera
from kdc_lab.synth.rendered_frame import RenderedFrame
from kdc_lab.synth.renderer import Light, Room, render
from kdc_lab.synth.volume import Volume

ANKLES = slice(15, 17)
FLAT = np.array([1.0, 1.0, 0.0])
BRIGHTNESS = 0.2  # mean linear light that the automatic exposure aims at
GroundPose = tuple[float, float, float]  # x, y in metres, degrees turned left from facing -y


@dataclass
class Actor:
    """One person of a scene."""

    figure: DressedBody
    volume: Volume
    activity: Activity
    ground_pose: Callable[[float], GroundPose]  # seconds → pose

    #: moves the hands to another person: (posture, bones before it, seconds) → posture
    grip: Callable[[Posture, np.ndarray, float], Posture] | None = None

    def bones_without_grip(self, time: float, posture: Posture | None = None) -> np.ndarray:
        """Return bone transforms (B, 3, 4) in the world, on the ground, before the grip."""
        posed = self.figure.rig.bones(posture or self.activity.posture(time))
        x, y, yaw = self.ground_pose(time)
        return move_bones(
            posed, rotation_about(Z, yaw), np.array([x, y, -self.figure.lowest(posed)])
        )

    def bones(self, time: float) -> np.ndarray:
        """Return bone transforms (B, 3, 4) in the world."""
        bones = self.bones_without_grip(time)
        if self.grip is None:
            return bones
        return self.bones_without_grip(time, self.grip(self.activity.posture(time), bones, time))

    def spheres(self, time: float) -> np.ndarray:
        """Return the volume of the person as spheres (S, 4) in the world."""
        return self.volume.spheres(self.bones(time))


@dataclass
class Prop:
    """An object at rest or in motion."""

    mesh: Mesh
    ground_pose: Callable[[float], GroundPose]

    def at(self, time: float) -> Mesh:
        """Return the mesh of the object at a time in seconds."""
        x, y, yaw = self.ground_pose(time)
        return self.mesh.transformed(rotation_about(Z, yaw), np.array([x, y, 0.0]))


@dataclass
class Scene:
    """Everything that a camera can see."""

    actors: list[Actor]
    props: list[Prop]
    room: Room
    light: Light
    camera: Callable[[float], Camera]  # seconds → camera
    optics: Optics
    device: str
    exposure: float = 0.0  # factor on linear light; 0: the first frame sets it, as a camera does

    def render_frame(self, time: float, rng: np.random.Generator) -> RenderedFrame:
        """Return image and truth at a time in seconds; ``rng`` is the source of the noise."""
        bones = [actor.bones(time) for actor in self.actors]
        camera = self.camera(time)
        points = np.array(
            [
                actor.figure.rig.body.keypoints(b)
                for actor, b in zip(self.actors, bones, strict=True)
            ]
        )
        rendering = render(
            [actor.figure.posed(b) for actor, b in zip(self.actors, bones, strict=True)],
            [prop.at(time) for prop in self.props],
            points[:, ANKLES].reshape(-1, 3) * FLAT,
            self.room,
            self.light,
            camera,
            self.device,
        )
        if not self.exposure:
            self.exposure = float(np.clip(BRIGHTNESS / rendering.linear.mean(), 0.3, 5.0))
        heights = np.array([actor.figure.rig.body.height for actor in self.actors])
        keypoints = label_keypoints(points, heights, rendering, camera)
        inside = np.flatnonzero(rendering.silhouette_area > 0)
        rows = np.zeros(len(self.actors) + 1, np.uint8)
        rows[inside + 1] = np.arange(1, len(inside) + 1)
        image = develop(rendering.linear * np.float32(self.exposure), self.optics, rng)
        return RenderedFrame(
            image,
            rows[rendering.labels],
            keypoints[inside],
            rendering.box[inside] + 0.5,
            hidden_share(rendering)[inside],
            inside + 1,
            time,
        )


def fixed_pose(x: float, y: float, yaw: float) -> Callable[[float], GroundPose]:
    """Return the ground pose over time of an object that does not move."""
    return lambda time: (x, y, yaw)

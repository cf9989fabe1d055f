"""Move a body: joint angles within human limits, and the bones that follow them.

Angles are in degrees. At zero the person stands upright and the limbs hang straight down. A limb
swings from hanging by the angle ``swing`` towards the compass direction ``direction``: 0 forward,
90 outward, negative across the body. Knees and elbows only ``bend``.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from kdc_lab.synth.bodies import BONE, BONES, BodyShape

X, Y, Z = np.eye(3)
DOWN = -Z
FORWARD = -Y


@dataclass(frozen=True)
class Arm:
    """Angles of one arm in degrees."""

    direction: float = 80.0  # -60 … 180
    swing: float = 7.0  # -40 … 175
    twist: float = 0.0  # of the upper arm about its axis, positive: forearm inward
    bend: float = 15.0  # elbow, 0 … 145
    wrist: float = 0.0  # positive: towards the palm


@dataclass(frozen=True)
class Leg:
    """Angles of one leg in degrees against the vertical, so they stay when the pelvis leans."""

    direction: float = 0.0
    swing: float = 0.0  # -35 … 125
    twist: float = 8.0  # positive: toes outward
    bend: float = 0.0  # knee, 0 … 145
    toes_up: float = 0.0  # ankle, -50 … 30
    flat: bool = True  # the sole stays level, and toes_up is ignored


@dataclass(frozen=True)
class Posture:
    """All angles of a body in degrees; pairs are (left, right)."""

    arms: tuple[Arm, Arm] = (Arm(), Arm())
    legs: tuple[Leg, Leg] = (Leg(), Leg())
    pitch: float = 0.0  # of the pelvis, forward
    roll: float = 0.0  # of the pelvis, to the left
    spine: tuple[float, float, float] = (0.0, 0.0, 0.0)  # forward, to the left, turned left
    head: tuple[float, float, float] = (0.0, 0.0, 0.0)  # nodding down, to the left, turned left


#: (minimum, maximum) of each angle; ``Rig.bones`` clips postures to them
LIMITS = {
    Arm: {
        "direction": (-60, 180),
        "swing": (-40, 175),
        "twist": (-70, 80),
        "bend": (0, 145),
        "wrist": (-50, 60),
    },
    Leg: {
        "direction": (-180, 180),
        "swing": (-35, 125),
        "twist": (-30, 45),
        "bend": (0, 145),
        "toes_up": (-50, 30),
    },
}
SPINE_LIMITS = np.array([(-25, 70), (-30, 30), (-40, 40)], float)
HEAD_LIMITS = np.array([(-45, 45), (-35, 35), (-70, 70)], float)


def rotation_about(axis: np.ndarray, degrees: float) -> np.ndarray:
    """Return the right-handed rotation matrix (3, 3) about a unit axis."""
    x, y, z = axis
    cross = np.array([(0, -z, y), (z, 0, -x), (-y, x, 0)])
    angle = np.deg2rad(degrees)
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * (cross @ cross)


def rotation_between(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Return the smallest rotation (3, 3) that turns direction ``start`` to ``end``."""
    start, end = start / np.linalg.norm(start), end / np.linalg.norm(end)
    axis = np.cross(start, end)
    length = np.linalg.norm(axis)
    if length < 1e-9:
        return (
            np.eye(3) if start @ end > 0 else rotation_about(X if abs(start[0]) < 0.9 else Y, 180)
        )
    return rotation_about(axis / length, np.rad2deg(np.arctan2(length, start @ end)))


def clip_to_limits(part: Arm | Leg) -> Arm | Leg:
    """Return the same limb with its angles clipped to ``LIMITS``."""
    limits = LIMITS[type(part)]
    return replace(
        part, **{name: float(np.clip(getattr(part, name), *limits[name])) for name in limits}
    )


def mirror(posture: Posture) -> Posture:
    """Return the posture with left and right exchanged."""
    (nod, side, yaw), (bow, lean, twist) = posture.head, posture.spine
    return replace(
        posture,
        arms=posture.arms[::-1],
        legs=posture.legs[::-1],
        roll=-posture.roll,
        spine=(bow, -lean, -twist),
        head=(nod, -side, -yaw),
    )


@dataclass(frozen=True)
class Limb:
    """Geometry at rest of an arm or a leg: its two bones, and how to hang it straight down."""

    lengths: tuple[float, float]  # metres, upper and lower bone
    align: np.ndarray  # (3, 3): rest direction of the upper bone → straight down
    hinge: np.ndarray  # (3,) axis of the elbow or knee, rest axes
    rest_bend: float  # degrees by which the hinge is bent at rest

    def lower(self, bend: float) -> np.ndarray:
        """Return the rotation (3, 3) of the lower bone relative to the upper one."""
        return rotation_about(self.hinge, bend - self.rest_bend)


@dataclass(frozen=True)
class Rig:
    """A body and the geometry of its limbs, computed once per person."""

    body: BodyShape
    arms: tuple[Limb, Limb] = field(init=False)
    legs: tuple[Limb, Limb] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(
            self, "arms", tuple(self._limb("upperarm01", "lowerarm01", "wrist", s) for s in "LR")
        )
        object.__setattr__(
            self, "legs", tuple(self._limb("upperleg01", "lowerleg01", "foot", s) for s in "LR")
        )

    def _limb(self, upper: str, lower: str, end: str, side: str) -> Limb:
        heads = [self.body.heads[BONE[f"{name}.{side}"]] for name in (upper, lower, end)]
        first, second = heads[1] - heads[0], heads[2] - heads[1]
        # an elbow is bent at rest, which gives its hinge; a knee is nearly straight: its hinge is x
        hinge = np.cross(first, second) if upper == "upperarm01" else X
        hinge = hinge / np.linalg.norm(hinge)
        bend = np.arctan2(np.cross(first, second) @ hinge, first @ second)
        lengths = (float(np.linalg.norm(first)), float(np.linalg.norm(second)))
        return Limb(lengths, rotation_between(first, DOWN), hinge, float(np.rad2deg(bend)))

    def bones(self, posture: Posture) -> np.ndarray:
        """Return bone transforms (B, 3, 4) from rest to posed, pelvis at the origin, facing -y."""
        local = np.tile(np.eye(3), (len(BONES), 1, 1))
        local[0] = rotation_about(Y, posture.roll) @ rotation_about(X, posture.pitch)
        _bend_chain(
            local,
            ["spine05", "spine04", "spine03", "spine02", "spine01"],
            np.clip(posture.spine, *SPINE_LIMITS.T),
        )
        _bend_chain(
            local, ["neck01", "neck02", "neck03", "head"], np.clip(posture.head, *HEAD_LIMITS.T)
        )
        for index, (side, sign) in enumerate((("L", 1.0), ("R", -1.0))):
            self._place_arm(
                local, clip_to_limits(posture.arms[index]), self.arms[index], side, sign
            )
            self._place_leg(
                local, clip_to_limits(posture.legs[index]), self.legs[index], side, sign
            )
        return forward_kinematics(self.body, local)

    def _place_arm(self, local: np.ndarray, arm: Arm, limb: Limb, side: str, sign: float) -> None:
        upper = (
            swing(arm.direction, arm.swing, sign)
            @ rotation_about(Z, -sign * arm.twist)
            @ limb.align
        )
        # above the height of the shoulder the shoulder girdle rises with the arm
        girdle = rotation_about(Y, -sign * 0.3 * max(arm.swing - 60, 0))
        local[BONE[f"clavicle.{side}"]] = girdle
        local[BONE[f"upperarm01.{side}"]] = girdle.T @ upper
        local[BONE[f"lowerarm01.{side}"]] = limb.lower(arm.bend)
        local[BONE[f"wrist.{side}"]] = rotation_about(Y, sign * arm.wrist)

    def _place_leg(self, local: np.ndarray, leg: Leg, limb: Limb, side: str, sign: float) -> None:
        facing = (
            local[0].T @ swing(leg.direction, leg.swing, sign) @ rotation_about(Z, sign * leg.twist)
        )
        upper, lower = facing @ limb.align, limb.lower(leg.bend)
        level = (limb.align @ limb.lower(0)).T  # the sole is level at zero
        sole = level @ rotation_about(X, -leg.toes_up)
        if leg.flat:
            shin = local[0] @ upper @ lower
            toes = shin @ level @ FORWARD
            yaw = np.rad2deg(np.arctan2(toes[0], -toes[1]))
            sole = shin.T @ rotation_about(Z, yaw)
        local[BONE[f"upperleg01.{side}"]] = upper
        local[BONE[f"lowerleg01.{side}"]] = lower
        local[BONE[f"foot.{side}"]] = sole


def swing(direction: float, degrees: float, sign: float) -> np.ndarray:
    """Return the rotation (3, 3) that lifts a hanging limb.

    Args:
        direction: Compass direction of the swing in degrees.
        degrees: Angle of the swing.
        sign: 1 for a left limb, -1 for a right one.
    """
    angle = np.deg2rad(direction)
    towards = np.array([sign * np.sin(angle), -np.cos(angle), 0.0])
    return rotation_about(np.cross(DOWN, towards), degrees)


def forward_kinematics(body: BodyShape, local: np.ndarray) -> np.ndarray:
    """Return the bone transforms (B, 3, 4) of local rotations.

    Args:
        body: Shape of the person.
        local: (B, 3, 3) rotation of each bone about its head, in rest axes.
    """
    result = np.empty((len(BONES), 3, 4))
    for bone, parent in enumerate(body.model.parents):
        offset = body.heads[bone] - local[bone] @ body.heads[bone]
        if parent < 0:
            result[bone] = np.column_stack([local[bone], offset])
        else:
            above = result[parent]
            result[bone, :, :3] = above[:, :3] @ local[bone]
            result[bone, :, 3] = above[:, :3] @ offset + above[:, 3]
    return result


def move_bones(transforms: np.ndarray, rotation: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Return the bone transforms after one rigid motion of the whole body."""
    result = rotation @ transforms
    result[:, :, 3] += shift
    return result


def _bend_chain(local: np.ndarray, names: list[str], angles: np.ndarray) -> None:
    forward, side, yaw = angles / len(names)
    local[[BONE[name] for name in names]] = (
        rotation_about(Z, yaw) @ rotation_about(Y, side) @ rotation_about(X, forward)
    )

"""Pose people who touch: they hold hands or hug."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from kdc_lab.synth.bodies import BONE
from kdc_lab.synth.gait import two_bone_angles
from kdc_lab.synth.joints import DOWN, Arm, Posture, Rig, Z, clip_to_limits, rotation_about
from kdc_lab.synth.scene import Actor, fixed_pose
from kdc_lab.synth.volume import overlap

LEFT, RIGHT = 0, 1
_HAND = 0.07  # metres from the wrist to the centre of the palm


def arm_towards(rig: Rig, bones: np.ndarray, side: int, target: np.ndarray, twist: float) -> Arm:
    """Return the arm that brings the wrist to a point in the world, or as near as it reaches.

    Args:
        rig: Rig of the person.
        bones: (B, 3, 4) bone transforms in the world.
        side: ``LEFT`` or ``RIGHT``.
        target: (3,) position of the wrist in metres.
        twist: Twist of the upper arm in degrees; it moves the elbow.
    """
    sign, name = (1.0, "L") if side == LEFT else (-1.0, "R")
    limb, heads = rig.arms[side], rig.body.heads
    chest = bones[BONE["spine01"]]
    local = chest[:, :3].T @ (target - chest[:, 3]) - heads[BONE[f"upperarm01.{name}"]]
    _, bend = two_bone_angles(0.0, float(np.linalg.norm(local)), *limb.lengths)
    bend = float(np.clip(bend, 2, 144))
    first = heads[BONE[f"lowerarm01.{name}"]] - heads[BONE[f"upperarm01.{name}"]]
    second = heads[BONE[f"wrist.{name}"]] - heads[BONE[f"lowerarm01.{name}"]]
    hanging = rotation_about(Z, -sign * twist) @ limb.align @ (first + limb.lower(bend) @ second)
    aimed = local / np.linalg.norm(local) * np.linalg.norm(hanging)
    # direction and swing are the one rotation about a horizontal axis that leads to the target
    axis = np.cross(Z, aimed - hanging)
    axis /= max(np.linalg.norm(axis), 1e-9)
    flat, goal = hanging - axis * (axis @ hanging), aimed - axis * (axis @ aimed)
    angle = np.rad2deg(np.arctan2(axis @ np.cross(flat, goal), flat @ goal))
    if angle < 0:
        axis, angle = -axis, -angle
    towards = np.cross(axis, DOWN)
    return clip_to_limits(
        Arm(
            float(np.rad2deg(np.arctan2(sign * towards[0], -towards[1]))), float(angle), twist, bend
        )
    )


def hold_hands(a: Actor, b: Actor) -> None:
    """Place ``b`` at the left of ``a``, with a's left hand in b's right; both face -y."""
    shoulders = [abs(actor.figure.rig.body.heads[BONE["upperarm01.L"], 0]) for actor in (a, b)]
    a.ground_pose = fixed_pose(0.0, 0.0, 0.0)
    b.ground_pose = fixed_pose(sum(shoulders) + 0.26, 0.0, 0.0)
    a.grip = lambda posture, bones, time: _reach_hand(a, b, LEFT, posture, bones, time)
    b.grip = lambda posture, bones, time: _reach_hand(b, a, RIGHT, posture, bones, time)


def _reach_hand(
    me: Actor, other: Actor, side: int, posture: Posture, bones: np.ndarray, time: float
) -> Posture:
    mine, theirs = "LR"[side], "RL"[side]
    body = me.figure.rig.body
    own = _head(me, bones, f"upperarm01.{mine}")
    far = _head(other, other.bones_without_grip(time), f"upperarm01.{theirs}")
    middle = (own + far) / 2
    lengths = [sum(actor.figure.rig.arms[0].lengths) for actor in (me, other)]
    # the shorter person can still reach this height, the taller one bends the arm a little
    middle[2] = max(own[2] - lengths[0], far[2] - lengths[1]) + 0.06 * body.height
    away = (own - far) * (1, 1, 0)
    target = middle + 0.03 * away / max(np.linalg.norm(away), 1e-6) + _HAND * Z
    return _with_arm(posture, side, arm_towards(me.figure.rig, bones, side, target, 0.0))


def have_similar_height(a: Actor, b: Actor) -> bool:
    """Return True if the heights allow arms around shoulders and waist."""
    heights = [actor.figure.rig.body.height for actor in (a, b)]
    return max(heights) < 1.12 * min(heights)


def hug(a: Actor, b: Actor) -> None:
    """Place ``b`` in front of ``a``, face to face, as close as their bodies allow, arms around."""
    a.ground_pose = fixed_pose(0.0, 0.0, 0.0)
    trunks = [actor.volume.trunk() for actor in (a, b)]
    for distance in np.arange(0.15, 1.0, 0.02):
        b.ground_pose = fixed_pose(0.07, -float(distance), 180.0)
        mine, theirs = (actor.volume.spheres(actor.bones_without_grip(0.0)) for actor in (a, b))
        if overlap(mine[trunks[0]], theirs[trunks[1]]) < 0.02:
            break
    for me, other, high in ((a, b, LEFT), (b, a, LEFT)):
        me.grip = _embrace(me, other, high)


def _embrace(me: Actor, other: Actor, high: int):
    def grip(posture: Posture, bones: np.ndarray, time: float) -> Posture:
        theirs = other.bones_without_grip(time)
        spheres = other.volume.spheres(theirs)
        for side in (LEFT, RIGHT):
            # one arm goes around the partner's shoulders, one around the waist
            over = side == high
            anchor = spheres[4 if over else 2]
            forward = (anchor[:2] - bones[0, :2, 3]) / np.linalg.norm(anchor[:2] - bones[0, :2, 3])
            across = np.array([forward[1], -forward[0]]) * (-1 if side == LEFT else 1)
            aside = (0.20 if over else 0.18) * other.figure.rig.body.height / 1.7
            target = np.array([*(anchor[:2] + 0.16 * forward + aside * across), anchor[2]])
            arms = [
                arm_towards(me.figure.rig, bones, side, target, twist)
                for twist in (-60.0, -30.0, 0.0, 30.0, 60.0)
            ]
            posture = _with_arm(
                posture,
                side,
                min(arms, key=lambda arm, p=posture, s=side: _depth(me, p, s, arm, time, spheres)),
            )
        return posture

    return grip


def _depth(
    me: Actor, posture: Posture, side: int, arm: Arm, time: float, spheres: np.ndarray
) -> float:
    """Return how deep an arm would reach into the other body in metres."""
    tried = me.volume.spheres(me.bones_without_grip(time, _with_arm(posture, side, arm)))
    return overlap(tried[me.volume.arm(side)], spheres)


def _with_arm(posture: Posture, side: int, arm: Arm) -> Posture:
    arms = list(posture.arms)
    arms[side] = arm
    return replace(posture, arms=tuple(arms))


def _head(actor: Actor, bones: np.ndarray, name: str) -> np.ndarray:
    head = actor.figure.rig.body.heads[BONE[name]]
    return bones[BONE[name], :, :3] @ head + bones[BONE[name], :, 3]

"""Model walking and running: feet stay in place on the ground while the body passes over them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from kdc_lab.synth.joints import Arm, Leg, Posture, Rig

Gait = Callable[[float, float], Posture]  # (share of a cycle, speed in m/s) → posture


def step_length(rig: Rig, speed: float) -> float:
    """Return the metres between two footfalls; they grow with the square root of the speed."""
    reach = sum(rig.legs[0].lengths)
    return float(min(0.86 * reach * np.sqrt(max(speed, 0) / 1.4), 1.6 * reach))


def gait(rng: np.random.Generator, rig: Rig, running: bool) -> Gait:
    """Return the way in which one person walks or runs; at 0 m/s the person stands."""
    thigh, shin = rig.legs[0].lengths
    reach = 0.985 * (thigh + shin)
    duty = 0.36 if running else 0.62  # share of a cycle in which a foot is on the ground
    lean = rng.uniform(4, 10) if running else rng.uniform(0, 3)
    swinging = rng.uniform(10, 16) if running else rng.uniform(7, 18)  # degrees at 1 m/s
    elbow = rng.uniform(75, 105) if running else rng.uniform(10, 30)
    outward = rng.uniform(8, 14)

    def hips(phase: float, speed: float) -> float:
        if running:
            return 0.9 * reach
        # the hips rise over the standing leg and sink while both feet are on the ground
        low = np.sqrt(max(reach**2 - (step_length(rig, speed) / 2) ** 2, (0.8 * reach) ** 2))
        over = 0.5 + 0.5 * np.cos(4 * np.pi * (phase - duty / 2))
        return low + (0.985 * reach - low) * over

    def leg(phase: float, ground: float, high: float) -> Leg:
        lift = (0.3 if running else 0.15) * ground
        forward, up, toes = foot(phase, duty, ground, lift)
        swing, bend = two_bone_angles(forward, high - up, thigh, shin)
        return Leg(0.0, swing, 6.0, bend, toes + bend - swing, flat=False)

    def arm(phase: float, speed: float) -> Arm:
        forward = swinging * min(speed, 2.5) * np.cos(2 * np.pi * (phase - 0.5)) - 4
        bend = elbow + 0.4 * max(forward, 0)
        return Arm(np.rad2deg(np.arctan2(outward, forward)), np.hypot(outward, forward), 8.0, bend)

    def posture(phase: float, speed: float) -> Posture:
        phase %= 1.0
        other = (phase + 0.5) % 1.0
        # metres that a foot moves back under the body while it is on the ground
        ground = duty * 2 * step_length(rig, speed)
        high = hips(phase, speed)
        twist = 5 * min(speed, 1.5) * np.cos(2 * np.pi * phase)
        return Posture(
            (arm(phase, speed), arm(other, speed)),
            (leg(phase, ground, high), leg(other, ground, high)),
            lean,
            0.0,
            (2.0, 0.0, twist),
            (lean - 2, 0.0, -twist),
        )

    return posture


def foot(phase: float, duty: float, ground: float, lift: float) -> tuple[float, float, float]:
    """Return the position of an ankle during a gait cycle.

    Args:
        phase: Share of the cycle.
        duty: Share of the cycle in which the foot is on the ground.
        ground: Distance that the foot moves back under the body while it is on the ground, metres.
        lift: Height to which the foot is lifted, metres.

    Returns:
        Metres in front of the hip, metres above the height of standing, and degrees of toes up.
    """
    slope = min(ground / 0.5, 1.0)  # short steps keep the foot flat
    if phase < duty:
        done = phase / duty
        heel = max(done - 0.65, 0) / 0.35  # the heel leaves first
        strike = max(1 - done / 0.12, 0)
        return ground * (0.5 - done), 0.6 * lift * heel**2, slope * (12 * strike - 28 * heel**1.5)
    done = (phase - duty) / (1 - duty)
    eased = done * done * (3 - 2 * done)
    up = 0.6 * lift * (1 - done) ** 2 + lift * np.sin(np.pi * done) ** 2
    return ground * (eased - 0.5), up, slope * (12 * eased - 28 * (1 - eased))


def two_bone_angles(forward: float, down: float, upper: float, lower: float) -> tuple[float, float]:
    """Return the angles, swing and bend, that bring the end of a leg to a point below its root.

    Args:
        forward: Distance of the point in front of the root, metres.
        down: Distance below the root, metres.
        upper: Length of the upper bone, metres.
        lower: Length of the lower bone, metres.

    Returns:
        Swing of the upper bone and bend of the joint in degrees.
    """
    distance = np.clip(np.hypot(forward, down), abs(upper - lower) + 1e-3, upper + lower - 1e-4)
    inner = (upper**2 + lower**2 - distance**2) / (2 * upper * lower)
    bend = np.pi - np.arccos(np.clip(inner, -1, 1))
    raised = (upper**2 + distance**2 - lower**2) / (2 * upper * distance)
    swing = np.arctan2(forward, down) + np.arccos(np.clip(raised, -1, 1))
    return float(np.rad2deg(swing)), float(np.rad2deg(bend))

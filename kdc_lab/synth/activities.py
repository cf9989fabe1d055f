"""Define what people do: families of postures over time, each with random habits of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from kdc_lab.synth.gait import gait, step_length
from kdc_lab.synth.joints import Arm, Leg, Posture, Rig, mirror

#: families of activities in one place: probability of each
STATIONARY_FAMILIES = {
    "stand": 0.34,
    "sit": 0.16,
    "reach": 0.12,
    "bend": 0.08,
    "squat": 0.06,
    "wave": 0.1,
    "pose": 0.14,
}


@dataclass(frozen=True)
class Activity:
    """Behaviour of one person: a posture at every time, and the speed of walking."""

    family: str
    posture: Callable[[float], Posture]  # seconds → posture
    speed: float = 0.0  # forward, m/s

    @property
    def seated(self) -> bool:
        """Return True if the person needs something to sit on."""
        return self.family == "sit"


def random_activity(rng: np.random.Generator, rig: Rig, moving: float = 0.35) -> Activity:
    """Return walking or running with probability ``moving``, else a stationary activity."""
    if rng.random() < moving:
        running = rng.random() < 0.2
        speed = rng.uniform(2.2, 3.6) if running else rng.uniform(0.6, 1.7)
        return walk_or_run(rng, rig, float(speed * rig.body.height / 1.7))
    family = str(rng.choice(list(STATIONARY_FAMILIES), p=list(STATIONARY_FAMILIES.values())))
    return stay(rng, family)


def walk_or_run(rng: np.random.Generator, rig: Rig, speed: float) -> Activity:
    """Return walking at ``speed`` metres per second, or running above 2 m/s for an adult."""
    running = speed > 2.0 * rig.body.height / 1.7
    style, start = gait(rng, rig, running), rng.random()
    cadence = speed / (2 * step_length(rig, speed))
    return Activity(
        "run" if running else "walk", lambda time: style(start + cadence * time, speed), speed
    )


def stay(rng: np.random.Generator, family: str) -> Activity:
    """Return a stationary activity that sways, gestures and looks around.

    Args:
        rng: Source of the person's habits.
        family: One of ``STATIONARY_FAMILIES``.
    """
    base = _FAMILIES[family](rng)
    if rng.random() < 0.5:
        base = mirror(base)
    gaze = rng.normal(0, (8, 5, 25))
    base = replace(base, head=tuple(np.add(base.head, gaze)))
    phases, rates = rng.uniform(0, 2 * np.pi, 4), rng.uniform(0.5, 2.0, 4)
    beat = rng.uniform(5, 10) if family == "wave" else rng.uniform(0.8, 2.5)
    sweep = 28.0 if family == "wave" else rng.uniform(0, 12)

    def posture(time: float) -> Posture:
        sway = np.sin(phases + rates * time)
        left, right = base.arms
        moved = replace(
            left,
            twist=left.twist + sweep * np.sin(beat * time + phases[0]),
            bend=left.bend + 0.3 * sweep * np.sin(beat * time),
        )
        return replace(
            base,
            arms=(moved, right),
            spine=tuple(np.add(base.spine, sway[0] * np.array([1.5, 1.0, 3.0]))),
            head=tuple(np.add(base.head, (3 * sway[1], 2 * sway[2], 18 * sway[3]))),
        )

    return Activity(family, posture)


def resting_arm(rng: np.random.Generator) -> Arm:
    """Return an arm that hangs, or is on the hip, in a pocket, folded or holding a phone."""
    choice = rng.choice(["hang", "hip", "pocket", "fold", "phone"], p=[0.55, 0.12, 0.13, 0.1, 0.1])
    if choice == "hip":
        return Arm(
            rng.uniform(100, 120), rng.uniform(38, 48), rng.uniform(55, 75), rng.uniform(85, 105)
        )
    if choice == "pocket":
        return Arm(
            rng.uniform(110, 150), rng.uniform(18, 28), rng.uniform(10, 30), rng.uniform(35, 50)
        )
    if choice == "fold":
        return Arm(
            rng.uniform(0, 40), rng.uniform(20, 32), rng.uniform(50, 65), rng.uniform(92, 108)
        )
    if choice == "phone":
        return Arm(
            rng.uniform(10, 60), rng.uniform(15, 35), rng.uniform(10, 35), rng.uniform(95, 135)
        )
    return Arm(
        rng.uniform(60, 110),
        rng.uniform(7, 18),
        rng.uniform(-15, 25),
        rng.uniform(5, 35),
        rng.uniform(-10, 20),
    )


def _arms(rng: np.random.Generator) -> tuple[Arm, Arm]:
    left = resting_arm(rng)
    return left, left if rng.random() < 0.3 else resting_arm(rng)


def _stand(rng: np.random.Generator) -> Posture:
    apart = rng.uniform(1, 12)
    ease = rng.uniform(0, 14)  # degrees: the weight is on one leg, the other knee is slightly bent
    return Posture(
        _arms(rng),
        (Leg(90, apart, rng.uniform(0, 20)), Leg(45, apart + ease / 2, rng.uniform(0, 25), ease)),
        roll=rng.normal(0, 2),
        spine=tuple(rng.normal((3, 0, 0), (5, 3, 8))),
    )


def _sit(rng: np.random.Generator) -> Posture:
    lean = rng.uniform(-12, 15)
    legs = tuple(
        Leg(rng.uniform(0, 18), rng.uniform(80, 92), rng.uniform(-5, 10), rng.uniform(78, 98))
        for _ in range(2)
    )
    laps = tuple(
        Arm(rng.uniform(5, 30), rng.uniform(18, 38), rng.uniform(5, 30), rng.uniform(35, 70))
        for _ in range(2)
    )
    arms = laps if rng.random() < 0.7 else _arms(rng)
    return Posture(arms, legs, pitch=lean, spine=tuple(rng.normal((12, 0, 0), (8, 4, 8))))


def _reach(rng: np.random.Generator) -> Posture:
    first = Arm(
        rng.uniform(-20, 90), rng.uniform(60, 165), rng.uniform(-20, 30), rng.uniform(0, 45)
    )
    second = (
        replace(first, direction=rng.uniform(-10, 60)) if rng.random() < 0.4 else resting_arm(rng)
    )
    return replace(
        _stand(rng),
        arms=(first, second),
        pitch=rng.uniform(-3, 15),
        spine=tuple(rng.normal((5, 0, 0), (8, 6, 12))),
    )


def _bend(rng: np.random.Generator) -> Posture:
    pitch = rng.uniform(25, 80)
    knees = rng.uniform(0, 35)
    legs = tuple(
        Leg(rng.uniform(0, 12), 0.12 * pitch + knees * 0.55, rng.uniform(0, 15), knees)
        for _ in range(2)
    )
    arms = tuple(
        Arm(
            rng.uniform(-10, 40),
            pitch * rng.uniform(0.8, 1.6),
            rng.uniform(-10, 20),
            rng.uniform(5, 40),
        )
        for _ in range(2)
    )
    return Posture(
        arms,
        legs,
        pitch=pitch,
        spine=tuple(rng.normal((25, 0, 0), (10, 5, 8))),
        head=(rng.uniform(-35, 10), 0.0, 0.0),
    )


def _squat(rng: np.random.Generator) -> Posture:
    knees = rng.uniform(80, 130)
    pitch = rng.uniform(15, 35)
    legs = tuple(
        Leg(rng.uniform(10, 30), knees * 0.62 + 0.2 * pitch, rng.uniform(5, 20), knees)
        for _ in range(2)
    )
    arms = tuple(
        Arm(rng.uniform(-10, 30), rng.uniform(40, 80), 0.0, rng.uniform(10, 70)) for _ in range(2)
    )
    return Posture(arms, legs, pitch=pitch, spine=(rng.uniform(5, 30), 0.0, 0.0))


def _wave(rng: np.random.Generator) -> Posture:
    raised = Arm(
        rng.uniform(50, 100), rng.uniform(75, 150), rng.uniform(-65, -20), rng.uniform(30, 100)
    )
    return replace(_stand(rng), arms=(raised, resting_arm(rng)))


def _pose(rng: np.random.Generator) -> Posture:
    """Return any posture that the joints allow around standing."""
    arms = tuple(
        Arm(rng.uniform(-30, 120), rng.uniform(5, 130), rng.normal(10, 25), abs(rng.normal(30, 40)))
        for _ in range(2)
    )
    lift = rng.uniform(0, 70)
    legs = (
        Leg(
            rng.uniform(0, 60),
            lift,
            rng.uniform(0, 20),
            rng.uniform(0, 1.3 * lift),
            rng.uniform(-20, 10),
            flat=False,
        ),
        Leg(90, rng.uniform(0, 8), 8.0),
    )
    return Posture(
        arms,
        legs,
        rng.normal(0, 6),
        rng.normal(0, 4),
        tuple(rng.normal(0, (10, 8, 12))),
        tuple(rng.normal(0, 8, 3)),
    )


_FAMILIES = {
    "stand": _stand,
    "sit": _sit,
    "reach": _reach,
    "bend": _bend,
    "squat": _squat,
    "wave": _wave,
    "pose": _pose,
}

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

pytest.importorskip("anny", reason="synthetic people need pip install -e '.[synth]'")
pytest.importorskip("warp", reason="synthetic people need pip install -e '.[synth]'")

from kdc_lab.synth import bodies
from kdc_lab.synth.activities import STATIONARY_FAMILIES, stay, walk_or_run
from kdc_lab.synth.bodies import BONE
from kdc_lab.synth.contacts import arm_towards
from kdc_lab.synth.gait import two_bone_angles
from kdc_lab.synth.joints import LIMITS, Arm, Leg, Posture, Rig, mirror


@pytest.fixture(scope="module")
def rigs() -> list[Rig]:
    rng = np.random.default_rng(3)
    model = bodies.load_model()
    return [Rig(model.shape(bodies.random_phenotype(rng))) for _ in range(3)]


def joint(rig: Rig, bones: np.ndarray, name: str) -> np.ndarray:
    """Return the start of a bone in the world."""
    head = rig.body.heads[BONE[name]]
    return bones[BONE[name], :, :3] @ head + bones[BONE[name], :, 3]


def bend(rig: Rig, bones: np.ndarray, names: tuple[str, str, str], hinge: np.ndarray) -> float:
    """Return the rotation of the lower bone about ``hinge``, given in rest axes, degrees."""
    a, b, c = (joint(rig, bones, name) for name in names)
    axis = bones[BONE[names[0]], :, :3] @ hinge
    upper, lower = b - a, c - b
    return float(np.rad2deg(np.arctan2(np.cross(upper, lower) @ axis, upper @ lower)))


def test_rig_limbs_hang_straight_down_at_zero(rigs: list[Rig]) -> None:
    still = Posture((Arm(0, 0, 0, 0),) * 2, (Leg(0, 0, 0, 0),) * 2)
    for rig in rigs:
        bones = rig.bones(still)
        for side in "LR":
            for names in (("upperarm01", "lowerarm01", "wrist"), ("upperleg01", "lowerleg01")):
                points = [joint(rig, bones, f"{name}.{side}") for name in names]
                for a, b in pairwise(points):
                    down = (b - a) / np.linalg.norm(b - a)
                    assert down[2] < -0.999
            knee = joint(rig, bones, f"lowerleg01.{side}")
            ankle = joint(rig, bones, f"foot.{side}")
            assert np.linalg.norm((ankle - knee)[:2]) < 0.03
            np.testing.assert_allclose(
                bones[BONE[f"foot.{side}"], :, :3] @ (0, 0, 1), (0, 0, 1), atol=0.02
            )


def test_rig_knees_and_elbows_bend_one_way_only(rigs: list[Rig]) -> None:
    rng = np.random.default_rng(0)
    checked = 0
    for rig in rigs:
        acts = [stay(rng, family) for family in STATIONARY_FAMILIES for _ in range(3)]
        acts += [walk_or_run(rng, rig, speed) for speed in (0.4, 1.2, 2.0, 3.5)]
        for act in acts:
            for time in rng.uniform(0, 10, 4):
                bones = rig.bones(act.posture(time))
                for index, side in enumerate("LR"):
                    arm = tuple(f"{name}.{side}" for name in ("upperarm01", "lowerarm01", "wrist"))
                    leg = tuple(f"{name}.{side}" for name in ("upperleg01", "lowerleg01", "foot"))
                    assert -1 <= bend(rig, bones, arm, rig.arms[index].hinge) <= 146, act.family
                    assert -1 <= bend(rig, bones, leg, rig.legs[index].hinge) <= 146, act.family
                    checked += 2
    assert checked == 3 * 25 * 4 * 4


def test_rig_clips_angles_to_the_limits(rigs: list[Rig]) -> None:
    rig = rigs[0]
    wild = Posture((Arm(bend=-60),) * 2, (Leg(bend=-90, flat=False),) * 2)
    straight = Posture((Arm(bend=0),) * 2, (Leg(bend=0, flat=False),) * 2)
    np.testing.assert_allclose(rig.bones(wild), rig.bones(straight))
    assert LIMITS[Leg]["bend"][0] == LIMITS[Arm]["bend"][0] == 0


def test_mirror_mirrors_the_joints(rigs: list[Rig]) -> None:
    rng = np.random.default_rng(1)
    for family in STATIONARY_FAMILIES:
        posture = stay(rng, family).posture(2.0)
        there, back = rigs[0].bones(posture), rigs[0].bones(mirror(posture))
        for name in ("wrist", "foot", "lowerarm01", "lowerleg01"):
            left = joint(rigs[0], there, f"{name}.L")
            right = joint(rigs[0], back, f"{name}.R")
            np.testing.assert_allclose(left * (-1, 1, 1), right, atol=0.01)


@pytest.mark.parametrize("side", [0, 1])
def test_arm_towards_reaches_the_target(rigs: list[Rig], side: int) -> None:
    rng = np.random.default_rng(2)
    rig, name, misses = rigs[1], "LR"[side], []
    bones = rig.bones(Posture())
    shoulder = joint(rig, bones, f"upperarm01.{name}")
    length = sum(rig.arms[side].lengths)
    for _ in range(20):
        direction = rng.normal(size=3) * (0.3, 0.3, 0.5) - (0, 0.8, 0.5)
        target = shoulder + direction / np.linalg.norm(direction) * rng.uniform(0.5, 0.95) * length
        arm = arm_towards(rig, bones, side, target, twist=float(rng.uniform(-30, 30)))
        if arm.swing > 60:
            continue  # the shoulder girdle moves with the arm
        arms = (arm, Arm()) if side == 0 else (Arm(), arm)
        misses.append(
            np.linalg.norm(joint(rig, rig.bones(Posture(arms)), f"wrist.{name}") - target)
        )
    assert len(misses) > 8
    assert np.median(misses) < 0.005


def test_two_bone_angles_close_the_triangle() -> None:
    for forward, down in ((0.0, 0.7), (0.3, 0.6), (-0.2, 0.75), (0.1, 0.3)):
        swing, bent = np.deg2rad(two_bone_angles(forward, down, 0.42, 0.4))
        knee = 0.42 * np.array([np.sin(swing), np.cos(swing)])
        ankle = knee + 0.4 * np.array([np.sin(swing - bent), np.cos(swing - bent)])
        np.testing.assert_allclose(ankle, (forward, down), atol=1e-6)
        assert bent >= 0

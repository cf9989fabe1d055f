"""Keypoints in space, by hand-made depth pictures."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from kdc_core.depth import Depth, body_orientations, body_positions, lift_keypoints
from kdc_core.types import People, Phase

W, H = 64, 48


def person(spot: tuple[float, float] = (30.0, 20.0), box=(20, 5, 44, 45)) -> People:
    """One person, id 7, who fills a box; all keypoints at one spot."""
    labels = np.zeros((H, W), np.uint16)
    x1, y1, x2, y2 = box
    labels[y1:y2, x1:x2] = 7
    keypoints = np.tile(np.array([*spot, 0.9], np.float32), (1, 17, 1))
    one = np.ones(1, np.float32)
    return People(
        ids=np.array([7]), score=one, mask_score=one, keypoints=keypoints,
        visible=np.ones((1, 17), bool), boxes=np.array([box], np.float32),
        centroid=np.array([17]), centroid_xy=np.array([spot], np.float32), labels=labels,
        phase=np.array([Phase.CONFIRMED], np.uint8),
    )  # fmt: skip


def camera(metres: np.ndarray, focal=50.0) -> Depth:
    h, w = metres.shape
    return Depth(metres.astype(np.float32), (focal, focal), ((w - 1) / 2, (h - 1) / 2))


def test_lift_keypoints_of_a_flat_wall_follow_the_pinhole_model():
    points = lift_keypoints(person(), camera(np.full((H, W), 2.0)))
    expected = [(30 - 31.5) / 50 * 2, (20 - 23.5) / 50 * 2, 2.0]
    assert points.shape == (1, 17, 3)
    assert points[0] == pytest.approx(np.tile(expected, (17, 1)), abs=1e-5)


def test_lift_keypoints_ignores_background_and_people_in_front():
    people = person(spot=(21.0, 20.0))
    metres = np.full((H, W), 9.0)
    metres[:, 20:44] = 3.0  # the person
    metres[:, :20] = 1.0  # another one in front, beside the mask
    metres[18:20, 20:23] = np.nan  # holes
    assert lift_keypoints(people, camera(metres))[0, :, 2] == pytest.approx(np.full(17, 3.0))


def test_lift_keypoints_of_half_the_size_are_the_same():
    wide = np.full((H, W), 2.0)
    wide[:, :32] = 4.0
    half = Depth(wide[::2, ::2].astype(np.float32), (25.0, 25.0), (15.5, 11.5))
    for spot in ((26.0, 20.0), (38.0, 20.0)):
        full = lift_keypoints(person(spot), camera(wide))
        small = lift_keypoints(person(spot), half)
        assert small[0, 0, 2] == full[0, 0, 2]
        assert small == pytest.approx(full, abs=0.03)  # half a pixel of the principal point


@pytest.mark.parametrize("value", [np.nan, 0.0])
def test_lift_keypoints_without_depth_is_nan(value):
    points = lift_keypoints(person(), camera(np.full((H, W), value)))
    assert np.isnan(points[..., 2]).all()
    assert np.isnan(body_positions(points)).all()


def test_lift_keypoints_outside_person_or_image_is_nan():
    metres = np.full((H, W), 2.0)
    assert np.isnan(lift_keypoints(person(spot=(5.0, 20.0)), camera(metres))[..., 2]).all()
    assert np.isnan(lift_keypoints(person(spot=(-30.0, 400.0)), camera(metres))[..., 2]).all()


def test_body_positions_without_hips_are_below_the_shoulders():
    points = np.full((3, 17, 3), np.nan, np.float32)
    points[0, [5, 6]] = [(0, 0, 2), (1, 0, 4)]
    points[0, 9] = (50, 50, 50)  # a hand
    points[1, [0, 9, 10]] = [(1, 1, 1), (2, 2, 2), (9, 9, 9)]  # no trunk: the median
    points[2, 6] = (1, 0, 4)
    assert body_positions(points).tolist() == [[0.5, 0.5, 3], [2, 2, 2], [1, 0.5, 4]]


def test_depth_functions_accept_no_people():
    nobody = person()
    nobody = People(
        **{n: getattr(nobody, n)[:0] for n in nobody.__dataclass_fields__ if n != "labels"},
        labels=np.zeros((H, W), np.uint16),
    )
    assert lift_keypoints(nobody, camera(np.ones((H, W)))).shape == (0, 17, 3)
    assert body_positions(np.zeros((0, 17, 3))).shape == (0, 3)


@pytest.mark.parametrize(
    ("shoulders", "forward"),
    [
        ([(0.2, 0, 3), (-0.2, 0, 3)], (0, 0, -1)),  # left one right in the picture: seen from ahead
        ([(-0.2, 0.1, 3), (0.2, 0, 3)], (0, 0, 1)),  # from behind
        ([(0, 0, 3.2), (0, 0, 2.8)], (1, 0, 0)),  # its left side is far away: it looks right
        ([(np.nan,) * 3, (0.2, 0, 3)], (-0.6, 0, -0.8)),  # not known: towards the camera
        ([(0.01, 0, 3), (0, 0, 3)], (-0.6, 0, -0.8)),
    ],
)
def test_body_orientations_are_upright_and_follow_the_shoulders(shoulders, forward):
    points = np.full((1, 17, 3), np.nan)
    points[0, 5:7] = shoulders
    turned = Rotation.from_quat(body_orientations(points, np.array([[3.0, 0.5, 4.0]]))[0])
    assert turned.apply([1, 0, 0]) == pytest.approx(forward, abs=1e-6)
    assert turned.apply([0, 0, 1]) == pytest.approx([0, -1, 0], abs=1e-6)
    assert body_orientations(points[:0], np.zeros((0, 3))).shape == (0, 4)


def test_body_positions_are_between_the_hips_or_at_the_known_one():
    points = np.full((2, 17, 3), np.nan)
    points[:, 5:7] = [(0, -0.5, 3), (1, -0.5, 3)]
    points[:, 11] = (0, 0.5, 2)
    points[0, 12] = (1, 0.5, 2)
    assert body_positions(points).tolist() == [[0.5, 0.5, 2], [0, 0.5, 2]]


@pytest.mark.parametrize(
    ("shoulders", "hips", "up", "forward"),
    [
        # upright, seen from ahead by a camera that looks 51 degrees down
        ([(0.2, -0.64, 2.4), (-0.2, -0.64, 2.4)], [(0.1, 0, 3.2), (-0.1, 0, 3.2)],
         (0, -0.625, -0.781), (0, 0.781, -0.625)),
        # on its back, head to the right, seen from above
        ([(0.5, 0.2, 3), (0.5, -0.2, 3)], [(0, 0.1, 3), (0, -0.1, 3)], (1, 0, 0), (0, 0, -1)),
        # one shoulder lower: the spine is where it was
        ([(0.2, -0.6, 3), (-0.2, -0.4, 3)], [(0.1, 0, 3), (-0.1, 0, 3)], (0, -1, 0), (0, 0, -1)),
        # shoulders behind each other, the head towards the camera
        ([(0, 0, 2), (0, 0, 2)], [(0, 0, 3), (0, 0, 3)], (0, 0, -1), (0, -1, 0)),
        # a hip is not known: upright
        ([(0.5, 0.2, 3), (0.5, -0.2, 3)], [(0, 0.1, 3), (np.nan,) * 3], (0, -1, 0), (0, 0, -1)),
    ],
)  # fmt: skip
def test_body_orientations_point_from_hips_to_shoulders(shoulders, hips, up, forward):
    points = np.full((1, 17, 3), np.nan)
    points[0, 5:7], points[0, 11:13] = shoulders, hips
    turned = Rotation.from_quat(body_orientations(points, np.array([[0.0, 0.0, 3.0]]))[0])
    assert turned.apply([0, 0, 1]) == pytest.approx(up, abs=1e-3)
    assert turned.apply([1, 0, 0]) == pytest.approx(forward, abs=1e-3)

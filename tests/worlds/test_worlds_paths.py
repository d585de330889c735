"""Paths, poses and the camera, against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whenwhere.errors import InputError
from whenwhere.worlds.camera import Camera
from whenwhere.worlds.paths import Key, Trajectory
from whenwhere.worlds.scenes import EYE


def test_a_path_is_linear_between_keys_and_rests_outside():
    path = Trajectory((Key(1.0, (0, 0, 1), yaw=10), Key(3.0, (4, -2, 1), yaw=50, scale=2)))
    pose = path.poses([0, 1, 1.5, 3, 9])
    assert pose.position.tolist() == [[0, 0, 1], [0, 0, 1], [1, -0.5, 1], [4, -2, 1], [4, -2, 1]]
    assert pose.yaw.tolist() == [10, 10, 20, 50, 50] and pose.scale.tolist() == [1, 1, 1.25, 2, 2]


def test_keys_out_of_order_are_refused():
    with pytest.raises(InputError, match="strictly increasing"):
        Trajectory((Key(1.0, (0, 0, 0)), Key(1.0, (1, 0, 0))))
    with pytest.raises(InputError, match="at least one"):
        Trajectory(())


def test_the_yaw_turns_left_and_the_tilt_tips_over():
    (turn,) = Trajectory((Key(0, (0, 0, 0), yaw=90),)).poses([0]).rotation()
    assert np.allclose(turn @ [1, 0, 0], [0, 1, 0])
    (tip,) = Trajectory((Key(0, (0, 0, 0), tilt=90),)).poses([0]).rotation()
    assert np.allclose(tip @ [0, 0, 1], [1, 0, 0]) and np.allclose(tip @ [0, 1, 0], [0, 1, 0])


def test_poses_do_not_depend_on_the_other_times():
    keys = [Key(t, (np.sin(t), t, 1), yaw=37 * t, tilt=11 * t) for t in range(7)]
    path, times = Trajectory(tuple(keys)), np.linspace(0, 7, 53)
    whole = path.poses(times).rotation()
    for number in range(len(times)):
        assert (path.poses(times[number : number + 1]).rotation()[0] == whole[number]).all()


def test_the_camera_of_clevr():
    """Ground cell corners of CATER's published matrix: its jitter, and its pixels in a picture of 320 x 240."""
    eye = tuple(value + move for value, move in zip(EYE, (-0.3887, 0.2416, -0.2551), strict=True))
    camera = Camera(Trajectory.still(eye), Trajectory.still((0.0143, 0.0026, 0.0011)))
    corners = np.array([[(-3, -3, 0.34), (3, -3, 0.34), (3, 3, 0.34), (-3, 3, 0.34)]])
    found = camera.project(corners, [0.0], (240, 320))[0, :, :2]
    expected = [(22.5, 106.3), (146.3, 207.0), (302.7, 113.9), (166.0, 63.5)]
    assert np.abs(found - expected).max() < 1.0


def test_the_platform_of_acre():
    """Corners of its top under the unjittered camera, in a picture of 320 x 240."""
    corners = np.array([[(-2.8, -2.8, 0), (2.8, -2.8, 0), (2.8, 2.8, 0), (-2.8, 2.8, 0)]])
    found = Camera(Trajectory.still(EYE)).project(corners, [0.0], (240, 320))[0, :, :2]
    assert np.abs(found - [(39.8, 116.0), (147.6, 204.2), (285.4, 124.1), (166.5, 75.5)]).max() < 0.1


@settings(max_examples=30, deadline=None)
@given(st.floats(-5, 5), st.floats(-5, 5), st.floats(0.5, 3))
def test_what_the_camera_looks_at_is_in_the_middle(x, y, z):
    camera = Camera(Trajectory.still(EYE), Trajectory.still((x, y, z)))
    column, row, depth = camera.project(np.array([[[x, y, z]]]), [0.0], (48, 64))[0, 0]
    assert (column, row) == pytest.approx((32, 24), abs=1e-9)
    assert depth == pytest.approx(np.linalg.norm(np.array(EYE) - (x, y, z)))

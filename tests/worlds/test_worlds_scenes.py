"""Scenes: nothing inside anything else, covered things under their cones, and the same scene from the same seed."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from world_solids import inside, into, surface

from whenwhere.errors import InputError
from whenwhere.worlds import motion
from whenwhere.worlds.paths import Trajectory
from whenwhere.worlds.scene import Action, Camera, Object, Scene
from whenwhere.worlds.scenes import SceneOptions, make
from whenwhere.worlds.stage import Stage


def standing(shape: str, size: str, x: float, y: float) -> Object:
    thing = Object(shape, "red", "metal", size, Trajectory.still((0, 0, 0)))
    return thing.at(Trajectory.still((x, y, thing.rest_height)))


def stage(*objects: Object, seconds: float = 10.0) -> Stage:
    return Stage(Scene(objects, Camera(Trajectory.still((7, -6, 5))), (), seconds))


def nested(scene: Scene, one: int, other: int, time: float) -> bool:
    """Whether a cone is over an object, coming down over it or rising from it."""
    for item in scene.containments:
        if {item.inner, item.outer} == {one, other}:
            comes = max(a.start for a in scene.actions if a.kind == "contain" and a.end == item.start)
            leaves = [a.end for a in scene.actions if a.actor == item.outer and a.start == item.end]
            if comes <= time <= (leaves[0] if leaves else scene.seconds):
                return True
    # what is under a cone that goes under another, and the other way round
    return any(
        {a.inner, b.outer} == {one, other} and a.outer == b.inner
        for a in scene.containments
        for b in scene.containments
    )


def test_no_object_is_inside_another_in_200_scenes():
    contained = 0
    for index in range(200):
        scene = make("apart", index)
        contained += len(scene.containments)
        for time in np.linspace(0, scene.seconds, 7):
            points = [surface(thing, time, 60) for thing in scene.objects]
            places = scene.positions([time])[0]
            for number, at in enumerate(points):
                assert at[:, 2].min() > -0.02, "through the floor"
                apart = np.linalg.norm(places - places[number], axis=1)
                for other, thing in enumerate(scene.objects):
                    near = apart[other] < thing.bound + scene.objects[number].bound
                    if near and other != number and not nested(scene, number, other, time):
                        assert not inside(thing.shape, into(thing, at, time)).any(), (index, number, other, time)
    assert contained > 100


def test_what_is_covered_is_inside_its_cone():
    checked = 0
    for index in range(40):
        scene = make("covered", index)
        for item in scene.containments:
            for time in np.linspace(item.start, item.end, 4):
                points = surface(scene.objects[item.inner], time, 200)
                cone = scene.objects[item.outer]
                local = into(cone, points + np.array([0, 0, 1e-6]), time)  # both stand on the floor
                assert inside("cone", local).all(), (index, item)
                checked += 1
    assert checked > 60


def test_actions_do_not_overlap_for_one_actor():
    for index in range(40):
        scene = make("order", index)
        assert list(scene.actions) == sorted(scene.actions, key=lambda a: (a.start, a.end, a.actor))
        for one, other in combinations(scene.actions, 2):
            assert one.actor != other.actor or one.end <= other.start


def test_the_seed_makes_the_scene():
    assert make("a", 3) == make("a", 3)
    assert make("a", 3) != make("a", 4) and make("a", 3) != make("b", 3)
    assert make(7, 0).seed == "7/0"


def test_a_still_scene_has_no_actions():
    scene = make("still", 0, SceneOptions(seconds=0.0, objects=(3, 3), snitch=False))
    assert scene.actions == () and len(scene.objects) == 3 and scene.seconds == 0


def test_a_picked_object_rises_goes_and_comes_down():
    path = motion.pick_place(Trajectory.still((0, 0, 0.5)), 1.0, 2.0, (2.0, 1.0))
    places = path.poses([0.5, 1.1, 1.2, 1.5, 1.8, 1.9, 2.0]).position
    assert places[:, 2] == pytest.approx([0.5, 1.5, 2.5, 2.5, 2.5, 1.5, 0.5])
    assert places[3, :2] == pytest.approx([1.0, 0.5]) and places[-1] == pytest.approx([2, 1, 0.5])


def test_a_tumbling_cube_keeps_to_the_floor():
    cube = standing("cube", "medium", 0, 0)
    turned = cube.at(motion.rotate(cube.path, cube, 1.0, 2.0))
    corners = np.array(np.meshgrid(*[[-1, 1]] * 3)).reshape(3, -1).T * 0.5
    for time in np.linspace(1, 2, 33):
        pose = turned.path.poses([time])
        lowest = (corners @ pose.rotation()[0].T + pose.position[0])[:, 2].min()
        assert abs(lowest) < 0.02 * 0.5
    assert turned.path.last.tilt == 90 and turned.path.last.position == pytest.approx((0, 0, 0.5))


def test_a_stack_slides_together_and_is_uncovered():
    scene = stage(standing("snitch", "small", 1, 0), standing("cone", "large", -2, 0))
    assert scene.contain(1, 0, 1.0, 2.0)
    assert not scene.slide(0, 2.0, 3.0, (0, 2)), "it is covered"
    assert scene.slide(1, 2.0, 3.0, (-1.0, 2.0))
    snitch, cone = scene.objects
    assert snitch.path.position(2.5) == pytest.approx((0, 1, snitch.rest_height))
    assert cone.path.position(3.0)[:2] == pytest.approx((-1, 2))
    assert snitch.path.position(3.0)[:2] == pytest.approx((-1, 2))
    assert not scene.rotate(1, 3.0, 4.0) and scene.carried(1) == [0]
    assert scene.pick_place(1, 4.0, 5.0, (2.0, 2.0)) and scene.carried(1) == []
    made = scene.scene()
    assert [(item.inner, item.outer, item.start, item.end) for item in made.containments] == [(0, 1, 2.0, 4.0)]
    assert made.hidden([1.9, 2.0, 3.0, 4.1])[:, 0].tolist() == [False, True, True, False]
    assert made.objects[0].path.position(9.0)[:2] == pytest.approx((-1, 2)), "it stays where it was uncovered"


def test_a_stage_refuses_what_cannot_be():
    scene = stage(
        standing("cube", "large", 0, 0), standing("cone", "medium", 2, 0), standing("sphere", "medium", -2, 0)
    )
    assert not scene.slide(1, 0.0, 1.0, (-1.9, 0.0)), "through the cube, onto the sphere"
    assert not scene.contain(1, 2, 0.0, 1.0), "a medium sphere does not fit under a medium cone"
    assert not scene.contain(0, 2, 0.0, 1.0), "a cube covers nothing"
    assert scene.slide(1, 0.0, 2.0, (2.0, 2.0)) and not scene.pick_place(1, 1.0, 2.0, (2, -2)), "it is moving"
    assert [action.kind for action in scene.actions] == ["slide"]


@pytest.mark.parametrize(
    ("shape", "size", "cone", "fits"),
    [
        ("sphere", "small", "medium", True),  # room 0.335 from the side for a ball of 0.25
        ("sphere", "medium", "large", False),  # room 0.447 for a ball of 0.5
        ("cone", "medium", "large", True),
        ("cone", "large", "large", False),
        ("cylinder", "small", "medium", True),  # radius 0.25 where the cone has 0.3375
        ("sphere", "small", "small", False),
    ],
)
def test_what_fits_under_a_cone(shape, size, cone, fits):
    assert motion.fits_under(standing(shape, size, 0, 0), standing("cone", cone, 0, 0)) is fits


def test_wrong_words_and_times_are_refused():
    with pytest.raises(InputError, match="shape 'ball'"):
        Object("ball", "red", "metal", "small", Trajectory.still((0, 0, 0)))
    with pytest.raises(InputError, match="inside the scene"):
        Scene((), Camera(Trajectory.still((1, 1, 1))), (), 1.0, (Action("slide", 0, 0.5, 2.0),))
    with pytest.raises(InputError, match="indices"):
        Scene((), Camera(Trajectory.still((1, 1, 1))), (), 3.0, (Action("slide", 0, 0.5, 2.0),))
    with pytest.raises(InputError, match="one after the other"):
        motion.slide(motion.slide(Trajectory.still((0, 0, 0)), 1.0, 2.0, (1, 1)), 1.5, 3.0, (0, 0))

"""Pictures against geometry worked out by hand, and the same bits whatever the batch, the threads or the process."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from world_solids import inside, into, surface

from whenwhere.errors import InputError
from whenwhere.worlds.camera import Camera
from whenwhere.worlds.paths import Key, Trajectory
from whenwhere.worlds.render import Rendered, first_moments, render, visible_pixels
from whenwhere.worlds.scene import Containment, Light, Object, Scene
from whenwhere.worlds.scenes import EYE, SceneOptions, make

FIELDS = ("rgb", "masks", "depth", "boxes", "pixels", "alone", "positions", "centres")


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def ball(x: float, y: float, z: float, radius: float, colour: str = "red") -> Object:
    return Object("sphere", colour, "rubber", "large", Trajectory.still((x, y, z)), radius)


def view(*objects: Object, light: Light | None = None, eye=(0.0, -8.0, 1.0), target=(0.0, 0.0, 1.0)) -> Scene:
    lights = (light or Light((0.0, -5.0, 9.0), 0.7),)
    return Scene(objects, Camera(Trajectory.still(eye), Trajectory.still(target)), lights, 1.0)


def same(one: Rendered, other: Rendered, at: slice | int = slice(None)) -> bool:
    return all(np.array_equal(getattr(one, f)[at], getattr(other, f), equal_nan=f == "boxes") for f in FIELDS)


def test_a_ball_straight_ahead():
    seen = render(view(ball(0, 0, 1, 1)), [0.0], (201, 201))
    # a ball of radius r at distance d shows as a circle of focal * r / sqrt(d^2 - r^2) half widths
    radius = 201 / 2 * 2.1875 / np.sqrt(8**2 - 1)
    assert seen.depth[0, 100, 100] == pytest.approx(7.0, abs=1e-5)
    assert seen.pixels[0, 0] == pytest.approx(np.pi * radius**2, rel=0.01)
    assert seen.boxes[0, 0] == pytest.approx([100.5 - radius, 100.5 - radius, 100.5 + radius, 100.5 + radius], abs=1)
    assert seen.centres[0, 0] == pytest.approx([100.5, 100.5, 8.0])
    assert seen.visible_fraction[0, 0] == 1.0
    assert (seen.masks[0] == 0).sum() == seen.pixels[0, 0] and set(np.unique(seen.masks)) == {-1, 0}


def test_the_box_of_a_ball_off_the_axis():
    """Against the tangents of the circle in the plane of the axis: angles of the centre plus and minus asin(r / d)."""
    for x, z in ((-2.0, 1.0), (1.5, 2.0), (0.7, 0.4)):
        seen = render(view(ball(x, 0.5, z, 0.4)), [0.0], (240, 240))
        ends = []
        for offset, sign in ((x, 1), (z - 1, -1)):
            distance = np.hypot(offset, 8.5)
            middle, half = np.arctan2(offset, 8.5), np.arcsin(0.4 / distance)
            ends.append(sorted((1 + sign * 2.1875 * np.tan(middle + way * half)) * 120 for way in (-1, 1)))
        (x1, x2), (y1, y2) = ends
        assert seen.boxes[0, 0] == pytest.approx([x1, y1, x2, y2], abs=1)


def test_the_floor_is_at_its_distance():
    seen = render(view(), [0.0], (101, 101))
    # the lowest row looks down by 1 in 2.1875 * 101 / 100, from a height of 1
    assert seen.depth[0, 100] == pytest.approx(2.1875 * 101 / 100, rel=1e-5)
    assert np.isinf(seen.depth[0, :50]).all() and (seen.masks == -1).all()
    assert seen.boxes.shape == (1, 0, 4) and seen.alone.shape == (1, 0)


@pytest.mark.parametrize("shape", ["sphere", "cube", "cylinder", "cone", "snitch"])
@pytest.mark.parametrize("place", [(3.0, -4.0, 6.0), (-6.0, 2.0, 3.0), (0.2, 0.1, 4.0), (5.0, 5.0, 2.4)])
def test_the_shadow_on_the_floor_is_where_the_light_is_kept_away(shape, place):
    thing = Object(shape, "blue", "rubber", "large", Trajectory.still((0.3, -0.2, 1.0), 25.0))
    lit, dark = (
        render(view(thing, light=Light(place, 0.7, shadows), eye=EYE, target=(0, 0, 0)), [0.0], (60, 80))
        for shadows in (False, True)
    )
    floor = (lit.masks[0] == -1) & np.isfinite(lit.depth[0])
    found = (lit.rgb[0] != dark.rgb[0]).any(axis=-1) & floor
    # every floor pixel: go from the floor to the light in small steps, and look whether one is in the object
    camera = view(thing, eye=EYE, target=(0, 0, 0)).camera
    eye, axes = camera.frames([0.0])
    lines, columns = np.nonzero(floor)
    right = ((columns + 0.5) / 40 - 1) / 2.1875
    up = (1 - (lines + 0.5) / 30) / (2.1875 * 80 / 60)
    ray = axes[0][2] + right[:, None] * axes[0][0] + up[:, None] * axes[0][1]
    ground = eye[0] - ray * (eye[0][2] / ray[:, 2])[:, None]
    assert np.allclose(ground[:, 2], 0, atol=1e-9)
    expected = np.zeros(len(ground), bool)
    for part in np.linspace(0.002, 0.998, 250):
        expected |= inside(shape, into(thing, ground + part * (np.array(place) - ground), 0.0))
    if shape == "snitch":  # the ring has no volume, but marching crosses its plane at one point
        (start, end) = (into(thing, ends, 0.0) for ends in (ground, np.broadcast_to(place, ground.shape)))
        part = start[:, 2] / (start[:, 2] - end[:, 2])
        level = np.hypot(*(start + part[:, None] * (end - start)).T[:2])
        expected |= (level > 0.75) & (level < 1) & (part > 0) & (part < 1)
    assert expected.sum() > 10
    assert (found[lines, columns] != expected).sum() <= max(2, 0.04 * expected.sum())


def test_the_shadow_lies_opposite_the_light():
    seen = render(
        view(ball(0, 0, 0.5, 0.5), light=Light((4, 0, 4), 0.8, True), eye=EYE, target=(0, 0, 0)), [0], (90, 120)
    )
    camera = view(eye=EYE, target=(0, 0, 0)).camera
    points = np.array([[(-4 / 7, 0, 0), (1.2, 0, 0)]])  # from the light through the centre to the floor, and towards it
    (shade, sun) = camera.project(points, [0.0], (90, 120))[0, :, :2].astype(int)
    assert seen.rgb[0, shade[1], shade[0]].max() + 40 < seen.rgb[0, sun[1], sun[0]].min()


def test_objects_shade_each_other():
    light = Light((0.0, 0.0, 9.0), 0.7, shadows=True)
    alone = render(view(ball(0, 0, 0.5, 0.5), light=light, eye=EYE), [0.0], (90, 120))
    both = render(view(ball(0, 0, 0.5, 0.5), ball(0, 0, 4.5, 0.6), light=light, eye=EYE), [0.0], (90, 120))
    here = (alone.masks[0] == 0) & (both.masks[0] == 0)
    assert here.sum() > 50
    assert both.rgb[0][here].astype(int).sum() < 0.75 * alone.rgb[0][here].astype(int).sum()


def test_what_is_behind_is_covered():
    scene = view(ball(0, 0, 1, 1), ball(0, 3, 1, 0.5, "blue"), ball(1.6, 3, 1, 0.5, "green"))
    seen = render(scene, [0.0], (120, 120))
    assert seen.visible[0].tolist() == [True, False, True]
    assert np.isnan(seen.boxes[0, 1]).all() and seen.alone[0, 1] > 50 and seen.visible_fraction[0, 1] == 0
    assert 0 < seen.visible_fraction[0, 2] < 1


def test_what_is_under_a_cone_is_not_drawn():
    cone = Object("cone", "red", "metal", "large", Trajectory.still((0, 0, 0.75)))
    scene = view(ball(0, 0, 0.25, 0.25), cone)
    scene = replace(scene, containments=(Containment(0, 1, 0.3, 0.6),))
    seen = render(scene, [0.2, 0.3, 0.5, 0.7], (60, 60))
    assert (seen.alone[:, 0] > 0).tolist() == [True, False, False, True]


def test_alone_is_what_a_scene_with_nothing_else_shows():
    scene = make("alone", 3, SceneOptions(objects=(6, 6)))
    seen = render(scene, [0.0, 4.0], (48, 64))
    for number, thing in enumerate(scene.objects):
        one = replace(scene, objects=(thing,), actions=(), containments=())
        shown = ~scene.hidden([0.0, 4.0])[:, number]
        assert (render(one, [0.0, 4.0], (48, 64)).pixels[:, 0] * shown).tolist() == seen.alone[:, number].tolist()


def test_boxes_hold_the_masks_and_stay_in_the_picture():
    for index in range(12):
        scene = make("boxes", index)
        seen = render(scene, np.arange(0, 10, 2.5), (45, 63))
        for frame, number in np.ndindex(seen.pixels.shape):
            lines, columns = np.nonzero(seen.masks[frame] == number)
            assert len(lines) == seen.pixels[frame, number] <= seen.alone[frame, number]
            if len(lines):
                box = [columns.min(), lines.min(), columns.max() + 1, lines.max() + 1]
                assert seen.boxes[frame, number].tolist() == box
                assert box[0] >= 0 and box[1] >= 0 and box[2] <= 63 and box[3] <= 45
            else:
                assert np.isnan(seen.boxes[frame, number]).all()


def test_an_object_around_or_behind_the_camera():
    seen = render(view(ball(0, -12, 1, 1), ball(0, -8.5, 1, 1)), [0.0], (30, 30))
    assert not seen.visible.any()  # behind, and around the eye: only surfaces ahead that face it are seen
    near = render(view(ball(0, -6.4, 1, 1.5)), [0.0], (30, 30))
    assert near.pixels[0, 0] == 900 and near.boxes[0, 0].tolist() == [0, 0, 30, 30]


def test_a_squeezed_picture_shows_what_the_wide_one_does():
    scene = make("squeeze", 0)
    squeezed = replace(scene, camera=replace(scene.camera, aspect=4 / 3))
    wide, square = render(scene, [0.0], (60, 80)), render(squeezed, [0.0], (60, 60))
    assert square.centres[0, :, 0] / 60 == pytest.approx(wide.centres[0, :, 0] / 80)
    assert square.centres[0, :, 1] == pytest.approx(wide.centres[0, :, 1])


def moving(index: int) -> Scene:
    scene = make("bits", index)
    eye = Trajectory((Key(0.0, EYE), Key(5.0, (-7.0, -6.0, 6.0)), Key(10.0, (-6.0, 8.0, 4.0))))
    return replace(scene, camera=Camera(eye), checks=1.0) if index % 2 else scene


@pytest.mark.parametrize(("index", "size"), [(0, (64, 64)), (1, (37, 53)), (2, (19, 31))])
def test_the_same_bits_in_any_batch_and_with_any_number_of_threads(index, size):
    scene, times = moving(index), np.linspace(0, 10, 23)
    whole = render(scene, times, size)
    for chunk in (1, 5, 22):
        assert same(render(scene, times, size, chunk=chunk), whole)
    for number in (0, 9, 22):
        assert same(whole, render(scene, times[number : number + 1], size), slice(number, number + 1))
    torch.set_num_threads(3)
    assert same(render(scene, times, size), whole)


def test_the_same_bits_in_another_process():
    code = (
        "import hashlib, numpy as np; from whenwhere.worlds.scenes import make;"
        "from whenwhere.worlds.render import render; seen = render(make('bits', 4), np.linspace(0, 10, 11), (33, 47));"
        "print(hashlib.sha256(b''.join(getattr(seen, f).tobytes() for f in {fields!r})).hexdigest())"
    ).replace("{fields!r}", repr(FIELDS))
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    seen = render(make("bits", 4), np.linspace(0, 10, 11), (33, 47), chunk=2)
    assert hashlib.sha256(b"".join(getattr(seen, f).tobytes() for f in FIELDS)).hexdigest() == found


def test_smooth_edges_keep_masks_and_average_the_finer_picture():
    scene = make("smooth", 0)
    plain, smooth = (render(scene, [0.0, 5.0, 9.0], (24, 32), smooth=times, chunk=2) for times in (1, 2))
    fine = render(scene, [0.0, 5.0, 9.0], (48, 64)).rgb.reshape(3, 24, 2, 32, 2, 3).mean(axis=(2, 4))
    assert np.abs(smooth.rgb - fine).max() <= 0.5 and (smooth.masks == plain.masks).all()


@pytest.mark.parametrize("smooth", [1, 2])
def test_first_moments_of_many_scenes_are_those_of_each_alone(smooth, monkeypatch):
    scenes = [make("many", index, SceneOptions(objects=(count, count))) for index, count in enumerate((3, 6, 4))]
    monkeypatch.setattr("whenwhere.worlds.render._CHUNK", 24 * 32 * 2 * smooth**2)  # two scenes, then the third
    together = first_moments(scenes, (24, 32), smooth=smooth)
    for scene, seen in zip(scenes, together, strict=True):
        alone = render(scene, [0.0], (24, 32), smooth=smooth)
        for field in FIELDS:
            one, other = getattr(seen, field), getattr(alone, field)
            assert one.dtype == other.dtype and np.array_equal(one, other, equal_nan=field == "boxes"), field
        assert np.array_equal(visible_pixels(scene, (24, 32)), alone.pixels[0])


@pytest.mark.parametrize("wrong", [{"times": []}, {"times": [np.nan]}, {"size": (0, 8)}, {"chunk": 0}, {"smooth": 0}])
def test_bad_requests_are_refused(wrong):
    with pytest.raises(InputError):
        render(**{"scene": view(), "times": [0.0], "size": (8, 8), **wrong})


@pytest.mark.parametrize("shape", ["sphere", "cube", "cylinder", "cone"])
def test_a_stretched_object_shows_where_its_points_are(shape):
    thing = Object(
        shape, "cyan", "metal", "large", Trajectory((Key(0, (0.2, 0.1, 1.2), 30.0, 20.0),)), 0.7, (1.6, 0.8, 0.4)
    )
    scene = view(thing, eye=EYE, target=(0, 0, 0.8))
    seen = render(scene, [0.0], (200, 200))
    points = surface(thing, 0.0, 4000)
    assert np.linalg.norm(points - thing.path.position(0.0), axis=1).max() <= thing.bound
    places = scene.camera.project(points[None], [0.0], (200, 200))[0]
    box = [*places[:, :2].min(axis=0), *places[:, :2].max(axis=0)]
    assert seen.boxes[0, 0] == pytest.approx(box, abs=2.5)
    # no point is nearer than what the pixels around it show, and some are what they show
    columns, lines = places[:, :2].astype(int).T
    around = np.stack([seen.depth[0][lines + dy, columns + dx] for dx in (-1, 0, 1) for dy in (-1, 0, 1)])
    inner = (seen.masks[0] == 0)[lines, columns]
    near, far = (places[:, 2] - around.min(axis=0))[inner], (places[:, 2] - around.max(axis=0))[inner]
    assert near.min() > -0.05 and ((near > -0.05) & (far < 0.05)).mean() > 0.25


def test_a_box_lies_flat_and_a_lamp_is_not_shaded():
    box = Object("cube", "gray", "rubber", "large", Trajectory.still((0, 0, 0)), 1.0, (2.8, 2.8, 0.5))
    assert (box.rest_height, box.footprint) == pytest.approx((0.5, 2.8 * np.sqrt(2)))
    lamp = Object("sphere", "cyan", "rubber", "large", Trajectory.still((0, 0, 1)), 1.0, glow=1.0)
    seen = render(view(lamp), [0.0], (40, 40))
    found = seen.rgb[0][seen.masks[0] == 0]
    assert np.abs(found.astype(int) - lamp.rgb).max() <= 1
    pink = render(view(replace(lamp, paint=(230, 198, 199))), [0.0], (41, 41)).rgb[0, 20, 20]
    assert np.abs(pink.astype(int) - (230, 198, 199)).max() <= 1


def test_light_falls_on_stretched_sides_as_their_slope_says():
    """A ball pressed flat is lit from above almost all over; a plain one is dark around its middle."""
    light = Light((0.0, 0.0, 500.0), 0.8)
    flat, plain = (
        render(view(replace(ball(0, 0, 1, 1), stretch=stretch), light=light, eye=(0.0, -8.0, 3.5)), [0.0], (60, 60))
        for stretch in ((1.0, 1.0, 0.1), (1.0, 1.0, 1.0))
    )
    bright = [seen.rgb[0, ..., 0][seen.masks[0] == 0].astype(float) for seen in (flat, plain)]
    assert np.percentile(bright[0], 20) > np.percentile(bright[1], 60)

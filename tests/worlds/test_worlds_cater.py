"""CATER's rules: the published statistics, what is covered follows its cone, and the label is where the snitch is."""

from __future__ import annotations

import random

import numpy as np
import pytest

from whenwhere.datasets.cater import CaterSet, read_scene, to_json
from whenwhere.errors import InputError
from whenwhere.media import open_video
from whenwhere.metrics.cater import cater_cell
from whenwhere.worlds import cater
from whenwhere.worlds.camera import Camera
from whenwhere.worlds.cater import CaterOptions, make
from whenwhere.worlds.cater_motion import Body, Play, Rules
from whenwhere.worlds.job import Job
from whenwhere.worlds.paths import Trajectory

COUNT = 250


@pytest.fixture(scope="module")
def clips():
    return [make("statistics", index) for index in range(COUNT)]


def count(clips, action):
    return np.mean([sum(m.action == action for o in c.known.objects for m in o.movements) for c in clips])


def slides(clips):
    """Slides a clip, those of a stack counted once."""
    return np.mean([sum(action.kind == "slide" for action in clip.scene.actions) for clip in clips])


def test_the_published_statistics(clips):
    """The shares are those of 2,800 scenes of the published logic; the room is three standard errors of this sample."""
    known = [clip.known for clip in clips]

    def share(values, low, high):
        found, room = np.mean(values), 3 * 0.5 / np.sqrt(COUNT)
        assert low - room < found < high + room, found

    share([k.covered_at_end for k in known], 0.36, 0.38)
    share([k.nest_depth == 2 for k in known], 0.07, 0.07)
    share([k.depths.any() for k in known], 0.77, 0.79)
    share([k.cell() == k.cell(0) for k in known], 0.06, 0.09)
    share([k.cell() == k.last_uncovered_cell for k in known], 0.80, 0.82)
    centre = [abs(k.cell() // 6 - 2.5) + abs(k.cell() % 6 - 2.5) for k in known]  # of the four, on average
    first = [abs(k.cell() // 6 - k.cell(0) // 6) + abs(k.cell() % 6 - k.cell(0) % 6) for k in known]
    assert np.mean(centre) == pytest.approx(3.0, abs=0.25) and np.mean(first) == pytest.approx(3.5, abs=0.3)
    cells = np.bincount([k.cell() for k in known], minlength=36) / COUNT
    assert cells.max() < 0.04 + 3 * np.sqrt(0.04 / COUNT) and (cells > 0).sum() >= 33  # 1.5 to 4 % each
    share([1 <= k.cell() // 6 <= 4 and 1 <= k.cell() % 6 <= 4 for k in known], 0.37, 0.41)
    assert count(clips, "_pick_place") == pytest.approx(17.2, abs=1.2)
    assert count(clips, "_rotate") == pytest.approx(14.8, abs=1.8)
    assert count(clips, "_contain") == pytest.approx(3.15, abs=0.4)
    assert count(clips, "_slide") == pytest.approx(19.0, abs=1.5)
    assert slides(clips) == pytest.approx(16.0, abs=1.5)
    assert count(clips, "_no_op") == pytest.approx(2.5, abs=0.5)


def test_two_motions_at_a_time():
    clips = [make("statistics", index, CaterOptions(rules=Rules(most=2))) for index in range(COUNT)]
    assert np.mean([c.known.covered_at_end for c in clips]) == pytest.approx(0.52, abs=0.1)
    assert np.mean([c.known.cell() == c.known.cell(0) for c in clips]) == pytest.approx(0.38, abs=0.1)
    for action, mean in (("_pick_place", 6.1), ("_rotate", 3.8), ("_contain", 2.8)):
        assert count(clips, action) == pytest.approx(mean, rel=0.15)
    assert slides(clips) == pytest.approx(4.4, rel=0.15)


def test_objects_are_those_of_the_rules(clips):
    numbers = [len(clip.known.objects) for clip in clips]
    assert (min(numbers), max(numbers)) == (5, 10)
    for clip in clips:
        snitch, *cones = clip.known.objects[:3]
        assert (snitch.shape, snitch.radius, snitch.colour, snitch.material) == ("spl", 0.3, "gold", "metal")
        assert [(c.shape, c.size, c.radius) for c in cones] == [("cone", "medium", 0.5), ("cone", "large", 0.75)]
        assert snitch.locations[0, 2] == pytest.approx(0.3421)
        assert cones[1].locations[0, 2] == pytest.approx(0.75 + 0.181)


def test_what_is_covered_follows_its_cone(clips):
    checked = 0
    for clip in clips[:60]:
        places = {thing.instance: thing.locations for thing in clip.known.objects}
        for inner, outer, first, last in clip.known.covers:
            assert np.allclose(places[inner][first : last + 1, :2], places[outer][first : last + 1, :2])
            checked += last > first
        for frame in (0, 150, 300):  # what the files say is what is drawn, but for heights
            drawn = clip.scene.positions([frame / 24.0])[0]
            assert np.allclose(drawn[:, :2], [p[frame, :2] for p in places.values()], atol=1e-6)
    assert checked > 60


def test_nothing_meets_in_any_frame(clips):
    for clip in clips[:40]:
        known = clip.known
        for frame in range(0, 301, 20):
            under = {inner for inner, _, first, last in known.covers if first <= frame <= last}
            busy = {
                name
                for thing in known.objects
                for move in thing.movements
                if move.start <= frame <= move.end and move.action in ("_contain", "_pick_place")
                for name in (thing.instance, move.other)
            }
            alone = [thing for thing in known.objects if thing.instance not in under | busy]
            for at, one in enumerate(alone):
                for other in alone[:at]:
                    apart = np.linalg.norm(one.locations[frame] - other.locations[frame])
                    assert apart >= one.radius + other.radius + 0.25 - 1e-9


def test_flags_of_a_nested_snitch(clips):
    known = next(clip.known for clip in clips if clip.known.nest_depth == 2)
    assert known.covered_at_end and known.last_uncovered_frame < 300
    assert known.depths[known.last_uncovered_frame] == 0 and (known.depths[known.last_uncovered_frame + 1 :] > 0).all()
    free = next(clip.known for clip in clips if not clip.known.covered_at_end)
    assert (free.nest_depth, free.last_uncovered_frame, free.last_uncovered_cell) == (0, 300, free.cell())


def test_cells():
    for place, cell in (((-3, -3), 0), ((2.999, 2.999), 35), ((0, 0), 21), ((-0.5, 0.2), 20), ((0.2, -0.5), 15)):
        assert cater_cell(*place) == cell
    for place, small, large in (((-3, -3), 0, 0), ((2.999, 2.999), 15, 63), ((0, 0), 10, 36), ((-0.5, 0.2), 9, 35)):
        assert (cater_cell(*place, grid=4), cater_cell(*place, grid=8)) == (small, large)


def test_the_label_is_seen_in_the_picture(clips):
    """Back from the pixel to the plane of the snitch's centre, by the homography of the camera."""
    right = 0
    for clip in clips:
        camera = clip.scene.camera
        corners = np.array([(-3, -3), (3, -3), (3, 3), (-3, 3)], float)
        ground = np.concatenate([corners, np.full((4, 1), 0.3421)], axis=1)
        pixels = camera.project(ground[None], [0.0], (240, 320))[0, :, :2]
        rows = []
        for (x, y), (u, v) in zip(corners, pixels, strict=True):
            rows += [[u, v, 1, 0, 0, 0, -x * u, -x * v], [0, 0, 0, u, v, 1, -y * u, -y * v]]
        matrix = np.append(np.linalg.solve(rows, corners.reshape(-1)), 1).reshape(3, 3)
        u, v, _ = camera.project(clip.known.objects[0].locations[None, -1], [0.0], (240, 320))[0]
        x, y, w = matrix @ (u, v, 1)
        right += cater_cell(x / w, y / w) == clip.known.cell()
    assert right > 0.99 * COUNT


def test_the_camera_of_one_published_video():
    eye = (7.4811 - 0.3887, -6.5076 + 0.2416, 5.3437 - 0.2551)
    camera = Camera(Trajectory.still(eye), Trajectory.still(cater.TARGET), aspect=4 / 3)
    corners = np.array([[(-3, -3, 0.34), (3, -3, 0.34), (3, 3, 0.34), (-3, 3, 0.34)]])
    found = camera.project(corners, [0.0], (240, 320))[0, :, :2]
    assert np.abs(found - [(22.5, 106.3), (146.3, 207.0), (302.7, 113.9), (166.0, 63.5)]).max() < 0.3


def test_the_camera_moves_every_thirty_frames(clips):
    moving = make("statistics", 3, CaterOptions(moving=True))
    assert [o.movements for o in moving.known.objects] == [o.movements for o in clips[3].known.objects]
    eye = moving.scene.camera.eye.poses(np.arange(301) / 24.0).position
    assert np.allclose(eye[0], clips[3].scene.camera.eye.position(0.0))
    for frame in range(30, 271, 30):
        assert 10.0 in np.abs(eye[frame, :2]) and eye[frame, 2] in (8, 10, 12)
        assert np.abs(eye[frame] - eye[frame - 1]).max() < 0.1, "it comes to rest"
    assert np.array_equal(eye[300], eye[270])


def test_the_seed_makes_the_clip(clips):
    again = make("statistics", 5)
    assert to_json(again.known) == to_json(clips[5].known) and again.scene == clips[5].scene
    assert to_json(make("other", 5).known) != to_json(again.known)


def test_a_motion_in_frames():
    bodies = [Body("cube", 0.5, (0.0, 0.0, 0.5))]
    play = Play(bodies, random.Random(2), Rules())
    for kind, _, start, end in play.movements[0]:
        path = play.places[0, start : end + 1]
        assert end - start <= 30 and (kind != "_slide" or (path[:, 2] == 0.5).all())
        if kind == "_pick_place" and (end - start) % 5 == 0:
            fifth = (end - start) // 5
            assert path[fifth, 2] == pytest.approx(2.5) and path[-fifth - 1, 2] == pytest.approx(2.5)
            assert np.allclose(path[fifth, :2], path[0, :2]) and np.allclose(path[-fifth - 1, :2], path[-1, :2])
    assert {kind for kind, *_ in play.movements[0]} >= {"_slide", "_rotate"}


def test_the_files_are_read_back(tmp_path):
    cater.write(Job(tmp_path, "train", 1, (32, 48), 12.0, 3.0, show=True))
    for name in ("all_actions", "all_actions_cameramotion"):
        (clip,) = list(CaterSet(tmp_path / name, "train"))
        known = read_scene(clip.scene)
        assert clip.labels == (known.cell(),) and known.last_frame == 36
        assert CaterSet(tmp_path / name, "train", "localize_8x8")[0].labels == (known.cell(grid=8),)
        assert len(CaterSet(tmp_path / name, "train_subsetT")) == 0 < len(CaterSet(tmp_path / name, "train_subsetV"))
        with open_video(clip.video) as video:
            assert [frame.time for frame in video.frames(None)] == pytest.approx(np.arange(37) / 12.0, abs=1e-3)
        assert (tmp_path / name / "CATER_train_000000.show.png").is_file()
        with open_video(tmp_path / name / "CATER_train_000000.show.mp4") as video:
            frames = list(video.frames(None))
            assert len(frames) == 37 and frames[0].pixels.shape == (480, 720, 3)


def test_impossible_clips_are_refused(tmp_path):
    with pytest.raises(InputError, match="at least 3"):
        CaterOptions(objects=(2, 4))
    with pytest.raises(InputError, match="split 'a/b'"):
        cater.write(Job(tmp_path, "a/b"))
    with pytest.raises(InputError, match="20 frames"):
        cater.write(Job(tmp_path, "a", rate=10.0, seconds=2.0))


def test_where_things_stand_at_first(clips):
    """Apart by 0.25, and by nothing or more than 0.4 along the ways of the camera."""
    for clip in clips[:80]:
        things = clip.known.objects
        for at, one in enumerate(things):
            assert np.abs(one.locations[0, :2]).max() <= 3
            for other in things[:at]:
                away = one.locations[0, :2] - other.locations[0, :2]
                assert np.linalg.norm(away) >= one.radius + other.radius + 0.25 - 1e-6
                for way in ("right", "behind"):
                    assert abs(away @ clip.known.directions[way][:2]) >= 0.4 - 1e-4

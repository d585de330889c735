"""The structured picture tasks: labels by the state, balance, the same bits however made, and the files."""

from __future__ import annotations

import json
import math
import random

import numpy as np
import pytest

from whenwhere.errors import InputError
from whenwhere.media import read_image
from whenwhere.worlds.job import Job
from whenwhere.worlds.render import pictures, render
from whenwhere.worlds.structured import DEPTHS, REACH, SIZE, TASKS, images, write
from whenwhere.worlds.toys import KINDS, toy

CLASSES = {"count": 8, "distance": 6, "location": 16, "orientation": 16, "azimuth": 18, "elevation": 9}


@pytest.fixture(scope="module")
def scenes():
    return {name: [task.scene("train", index) for index in range(150)] for name, task in TASKS.items()}


def test_the_classes_are_those_of_the_benchmark():
    assert {name: len(task.classes) for name, task in TASKS.items()} == CLASSES
    for task in TASKS.values():
        assert list(task.classes) == sorted(set(task.classes)), "folders in the order of the labels"
    assert TASKS["count"].classes[0] == "03_objects" and TASKS["count"].classes[-1] == "10_objects"
    assert TASKS["elevation"].classes == tuple(f"{angle}_degrees" for angle in range(30, 71, 5))


@pytest.mark.parametrize("name", TASKS)
def test_classes_are_balanced(name, scenes):
    """All that are drawn by class come equally often; sextiles of 600 scenes hold 100 +- 4 deviations of 9."""
    task = TASKS[name]
    found = [task.label(scene) for scene in scenes[name]]
    if name == "distance":
        found += [task.label(task.scene("train", index)) for index in range(150, 600)]
    counts = np.bincount(found, minlength=len(task.classes))
    assert len(counts) == len(task.classes)
    assert np.ptp(counts) <= 1 if name != "distance" else np.abs(counts - 100).max() < 37, counts


def test_labels_are_those_of_the_state(scenes):
    for scene in scenes["count"]:
        assert TASKS["count"].label(scene) == len(scene.objects) - 3
    for scene in scenes["distance"]:
        eye, axes = scene.camera.frames([0.0])
        depth = min(float(axes[0, 2] @ (np.array(o.path.position(0.0)) - eye[0])) for o in scene.objects)
        assert TASKS["distance"].label(scene) == sum(depth >= edge for edge in DEPTHS)
    for scene in scenes["location"]:
        x, y, _ = scene.objects[0].path.position(0.0)
        column = scene.camera.project(np.array([[[x, y, 0.0]]]), [0.0], SIZE)[0, 0, 0]
        assert TASKS["location"].label(scene) == int((column - 32 + 32 * REACH / 1.6) / (64 * REACH / 1.6) * 16)
    for scene in scenes["orientation"]:
        (x, y, _), (u, v, _) = (thing.path.position(0.0) for thing in scene.objects)
        angle = math.degrees(math.atan2(v - y, u - x)) % 360
        assert TASKS["orientation"].label(scene) == int(angle / 22.5)


def test_the_toy_turns_and_the_camera_rises(scenes):
    for scene in scenes["azimuth"]:
        label = TASKS["azimuth"].label(scene)
        assert scene.objects[0].path.last.yaw == 20.0 * label and 0 <= label < 18
    for scene in scenes["elevation"]:
        eye = np.array(scene.camera.eye.position(0.0)) - scene.camera.target.position(0.0)
        sine = eye[2] / np.linalg.norm(eye)
        assert math.degrees(math.asin(sine)) == pytest.approx(30 + 5 * TASKS["elevation"].label(scene))


def test_all_that_is_counted_can_be_seen(scenes):
    least = []
    for scene in scenes["count"][:40]:
        seen = render(scene, [0.0], SIZE)
        assert (seen.pixels > 0).all()
        least.append((seen.pixels.min(), seen.visible_fraction.min()))
    assert min(pixels for pixels, _ in least) >= 3 and min(part for _, part in least) > 0.25


def test_sprites_and_toys_stay_in_the_picture(scenes):
    for name in ("location", "orientation", "azimuth", "elevation"):
        for scene in scenes[name][:20]:
            seen = render(scene, [0.0], SIZE)
            shown = seen.boxes[0][seen.visible[0]]
            assert shown.min() > 0 and shown.max() < 64
            assert seen.visible[0, 0] or len(scene.objects) > 2, "of a truck from behind the cab may be hidden"


def test_a_nose_points_where_the_label_says():
    task = TASKS["orientation"]
    for index in range(32):
        sample = task.sample("noses", index)
        bright = sample.image[..., 0].astype(float)
        y, x = ((bright > 200) * np.indices(SIZE)).reshape(2, -1).sum(1) / (bright > 200).sum()
        v, u = (((bright > 100) & (bright < 200)) * np.indices(SIZE)).reshape(2, -1).sum(1) / (
            (bright > 100) & (bright < 200)
        ).sum()
        middle = 22.5 * sample.label + 11.25
        off = (math.degrees(math.atan2(v - y, x - u)) - middle + 180) % 360 - 180
        assert abs(off) < 11.25 + 8 and sample.name == task.classes[sample.label]


@pytest.mark.parametrize("name", TASKS)
def test_the_same_bits_one_by_one_and_at_once(name):
    pixels, labels = images(name, "val", range(6))
    assert pixels.shape == (6, 64, 64, 3) and pixels.dtype == np.uint8 and labels.dtype == np.int64
    some, again = images(name, "val", [4, 1])
    assert np.array_equal(some, pixels[[4, 1]]) and np.array_equal(again, labels[[4, 1]])
    scene = TASKS[name].scene("val", 4)
    assert np.array_equal(render(scene, [0.0], SIZE, smooth=2).rgb[0], pixels[4]), "what render makes of it"
    others, _ = images(name, "test", range(6))
    assert not np.array_equal(others, pixels)


def test_scenes_of_one_batch_must_look_alike(scenes):
    assert np.array_equal(pictures(scenes["count"][:5], (24, 32), chunk=2), pictures(scenes["count"][:5], (24, 32)))
    with pytest.raises(InputError, match="several looks"):
        pictures([scenes["count"][0], scenes["location"][0]], SIZE)
    with pytest.raises(InputError, match="0 scenes"):
        pictures([], SIZE)
    with pytest.raises(InputError, match="one of count"):
        images("counting", "train", range(2))


@pytest.mark.parametrize("kind", KINDS)
def test_a_toy_stands_on_the_floor_and_looks_different_from_the_back(kind):
    low = []
    for thing in toy(kind, random.Random(1), (0.0, 0.0), 0.0):
        key, (x, _, z) = thing.path.last, (thing.radius * factor for factor in thing.stretch)
        low.append(key.position[2] - (x if key.tilt else z * (0.65 if thing.shape == "cylinder" else 1)))
    assert min(low) == pytest.approx(0.0, abs=1e-9)
    front, back = (
        pictures([TASKS["azimuth"].draw(random.Random(3), label)], SIZE)[0].astype(float) for label in (0, 9)
    )
    assert np.abs(front - back[:, ::-1]).mean() > 1 and np.abs(front - back).mean() > 1


def test_the_files_and_the_manifest(tmp_path):
    write("count", Job(tmp_path, "train", 10, SIZE, show=True))
    write("count", Job(tmp_path, "val", 3, SIZE))
    write("count", Job(tmp_path, "val", 3, SIZE))  # the same again is no other run
    rows = [json.loads(line) for line in (tmp_path / "manifest.jsonl").read_text().splitlines()]
    assert [row["split"] for row in rows] == ["train"] * 10 + ["val"] * 3
    for split, count in (("train", 10), ("val", 3)):
        pixels, labels = images("count", split, range(count))
        own = [row for row in rows if row["split"] == split]
        for index, row in enumerate(own):
            assert row["label"] == TASKS["count"].classes[labels[index]]
            assert row["image"] == f"{split}/{row['label']}/{index:05d}.png"
            assert np.array_equal(read_image(tmp_path / row["image"]), pixels[index])
        assert sorted(p.name for p in (tmp_path / split).iterdir()) == list(TASKS["count"].classes)
        assert len(list((tmp_path / split).rglob("*.png"))) == count
    assert (tmp_path.parent / f"{tmp_path.name}.train.show.png").is_file(), "not among the pictures"
    assert not list(tmp_path.glob("*.png"))


def test_what_is_in_the_way_is_told(tmp_path):
    write("location", Job(tmp_path, "train", 5, SIZE))
    with pytest.raises(InputError, match="other files"):
        write("location", Job(tmp_path, "train", 3, SIZE))
    with pytest.raises(InputError, match="split 'a/b'"):
        write("location", Job(tmp_path, "a/b", 3, SIZE))
    (tmp_path / "manifest.jsonl").write_text("{}\n")
    with pytest.raises(InputError, match="no manifest"):
        write("location", Job(tmp_path, "val", 3, SIZE))

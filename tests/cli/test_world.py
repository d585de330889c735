"""``whenwhere world``: labelled clips in a folder."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

from whenwhere.cli import main
from whenwhere.cli.world import TASKS
from whenwhere.media import read_image

FEW = ["--count", "1", "--height", "32", "--width", "48", "--rate", "4", "--seconds", "3"]


@pytest.mark.parametrize("task", TASKS)
def test_every_task_has_a_writer(task):
    assert callable(importlib.import_module(TASKS[task].module).write)


@pytest.mark.parametrize(
    ("task", "said"),
    [
        ("segmentation", "1 picture in"),
        ("elevation", "1 picture in"),
        ("cater", "1 clip of each kind of camera in"),
    ],
)
def test_what_was_made_is_called_by_its_name(task, said, tmp_path, capsys):
    assert main(["world", task, "--out", str(tmp_path), *FEW, "--rate", "10"]) == 0
    assert capsys.readouterr().out.startswith(said)


def test_structured_tasks_have_sizes_of_their_own(tmp_path, capsys):
    assert main(["world", "location", "--out", str(tmp_path), "--count", "20"]) == 0
    assert capsys.readouterr().out == f"20 pictures in {tmp_path}\n"
    made = [read_image(path) for path in (tmp_path / "train").rglob("*.png")]
    assert [picture.shape for picture in made] == [(64, 64, 3)] * 20
    assert TASKS["count"].count == 1000


def test_clips_with_labels_appear_in_a_new_folder(tmp_path, capsys):
    out = tmp_path / "made" / "here"
    assert main(["world", "dense_events", "--out", str(out), *FEW]) == 0
    assert capsys.readouterr().out == f"1 clip in {out}\n"
    assert sorted(path.name for path in out.iterdir()) == [
        *("00000.json", "00000.mp4", "00000.show.png", "captions.json")
    ]


def test_the_first_clip_has_a_sheet_in_any_case(tmp_path):
    assert main(["world", "scenes", "--out", str(tmp_path), *FEW, "--count", "2"]) == 0
    assert [path.name for path in tmp_path.glob("*.show.*")] == ["00000.show.png"]
    assert read_image(tmp_path / "00000.show.png").std() > 1


def test_show_adds_pictures_for_people(tmp_path):
    assert main(["world", "--show", "--out", str(tmp_path), *FEW]) == 0
    assert {"00000.show.mp4", "00000.show.png", "scenes.json"} <= {path.name for path in tmp_path.iterdir()}


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["dense_event"], "there is no task 'dense_event'"),
        (["scenes", "--height", "33"], "even numbers of pixels"),
        (["scenes", "--count", "0"], "0 clips"),
        (["scenes", "--height", "100000", "--width", "100000"], "16 to 2048"),
        (["cater", "--rate", "2"], "20 frames"),
        (["cater", "--seed", "a/b"], "'a/b'"),
        (["acre", "--seed", "a/b"], "'a/b'"),
        (["segmentation", "--seed", "a/b"], "'a/b'"),
        (["count", "--seed", "a/b"], "'a/b'"),
        (["glyphnews", "--seed", "other"], "'other'"),
        (["glyphnews", "--height", "32", "--width", "32"], "at least 64 pixels"),
        (["moments", "--seconds", "600", "--rate", "24"], "500 million"),
    ],
)
def test_mistakes_are_one_line(argv, said, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["world", *argv]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_bad_numbers_are_refused_before_torch_is_imported(tmp_path):
    code = (
        "import sys; from whenwhere.cli import main\n"
        "for bad in (['--count', '0'], ['--height', '33'], ['--seconds', '600', '--rate', '24'], ['--rate', '0']):\n"
        "    assert main(['world', 'scenes', *bad]) == 2\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, cwd=tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("task", ["scenes", "cater"])
def test_a_clip_that_would_not_fit_in_memory_is_refused(task, tmp_path, capsys):
    assert main(["world", task, "--out", str(tmp_path), "--seconds", "600", "--rate", "24"]) == 2
    error = capsys.readouterr().err
    assert "14400 frames of 240 x 320; expected at most 500 million pixels a clip, not 1105 million" in error
    assert error.count("\n") == 1


def test_a_terminal_is_told_what_is_being_made(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich takes stderr for a terminal
    assert main(["world", "location", "--out", str(tmp_path), "--count", "2"]) == 0
    assert "making 2 pictures of location ..." in capsys.readouterr().err


def test_a_file_in_the_way_is_told(tmp_path, capsys):
    (tmp_path / "taken").write_text("")
    assert main(["world", "--out", str(tmp_path / "taken")]) == 2
    assert "cannot be made" in capsys.readouterr().err

"""``whenwhere world``: labelled clips in a folder."""

from __future__ import annotations

import importlib

import pytest

from whenwhere.cli import main
from whenwhere.cli.world import TASKS

FEW = ["--count", "1", "--height", "32", "--width", "48", "--rate", "4", "--seconds", "3"]


@pytest.mark.parametrize("task", TASKS)
def test_every_task_has_a_writer(task):
    assert callable(importlib.import_module(TASKS[task][0]).write)


def test_clips_with_labels_appear_in_a_new_folder(tmp_path, capsys):
    out = tmp_path / "made" / "here"
    assert main(["world", "dense_events", "--out", str(out), *FEW]) == 0
    assert capsys.readouterr().out == f"1 clip in {out}\n"
    assert sorted(path.name for path in out.iterdir()) == ["00000.json", "00000.mp4", "captions.json"]


def test_show_adds_pictures_for_people(tmp_path):
    assert main(["world", "--show", "--out", str(tmp_path), *FEW]) == 0
    assert {"00000.show.mp4", "00000.show.png", "scenes.json"} <= {path.name for path in tmp_path.iterdir()}


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["dense_event"], "there is no task 'dense_event'"),
        (["scenes", "--height", "33"], "even numbers of pixels"),
        (["scenes", "--count", "0"], "0 clips"),
    ],
)
def test_mistakes_are_one_line(argv, said, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["world", *argv]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
    assert not (tmp_path / "world").exists()


def test_a_file_in_the_way_is_told(tmp_path, capsys):
    (tmp_path / "taken").write_text("")
    assert main(["world", "--out", str(tmp_path / "taken")]) == 2
    assert "cannot be made" in capsys.readouterr().err

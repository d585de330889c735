"""``whenwhere caption``: one line an image, and one bad image does not stop the others."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from describe_models import random_image_captioner, saved_space
from whenwhere.cli import caption, main
from whenwhere.media import write_image


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("models")
    random_image_captioner(0, saved_space(folder)).save(folder / "captioner")
    return str(folder / "captioner")


@pytest.fixture
def photos(tmp_path, monkeypatch) -> Path:
    """A folder with three images and other files, from which the command is run."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(3):
        write_image(folder / f"p{number}.png", np.full((40, 60, 3), 80 * number, np.uint8))
    (folder / "notes.txt").write_text("no image")
    (folder / "clip.mp4").write_bytes(b"no image either")
    monkeypatch.chdir(tmp_path)
    return folder


def test_one_line_for_each_image(photos, model, capsys):
    assert main(["caption", "photos/p0.png", "photos/p1.png", "--model", model]) == 0
    said = capsys.readouterr()
    lines = said.out.splitlines()
    assert [line.split(": ")[0] for line in lines] == ["photos/p0.png", "photos/p1.png"]
    assert all(line.split(": ")[1].strip() for line in lines) and said.err == ""


def test_json_lines(photos, model, capsys):
    assert main(["caption", "photos/p0.png", "photos/p2.png", "--jsonl", "--model", model]) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [list(record) for record in found] == [["path", "text", "score"]] * 2
    assert all(record["text"] and 0 < record["score"] <= 1 for record in found)


@pytest.mark.parametrize("given", ["photos", "photos/*", "photos/p*.png", "photos/p%d.png"])
def test_folders_and_patterns(given, photos, model, capsys):
    assert main(["caption", given, "photos/p1.png", "--jsonl", "--model", model]) == 0
    said = capsys.readouterr()
    paths = [json.loads(line)["path"] for line in said.out.splitlines()]
    assert [Path(path).name for path in paths] == ["p0.png", "p1.png", "p2.png"], "each once, and images only"


def test_a_damaged_image_does_not_stop_the_others(photos, model, capsys):
    (photos / "p1.png").write_bytes((photos / "p1.png").read_bytes()[:60])
    assert main(["caption", "photos", "missing.jpg", "--model", model]) == 2
    said = capsys.readouterr()
    assert len(said.out.splitlines()) == 2
    errors = said.err.splitlines()
    assert len(errors) == 2 and all(line.startswith("whenwhere: error: ") for line in errors)
    assert "photos/p1.png" in errors[0] and "missing.jpg does not exist" in errors[1]


def test_standard_input(photos, model):
    run = subprocess.run(
        [sys.executable, "-m", "whenwhere", "caption", "-", "--jsonl", "--model", model],
        input=(photos / "p0.png").read_bytes(),
        capture_output=True,
    )
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout)["path"] == "-"


@pytest.mark.skipif(os.name == "nt", reason="no named pipes there")
def test_named_pipes_and_what_goes_wrong_with_them(photos, model, capsys, monkeypatch):
    for name in ("good", "gone"):
        os.mkfifo(photos / name)
    data = (photos / "p0.png").read_bytes()
    writer = threading.Thread(target=lambda: (photos / "good").write_bytes(data), daemon=True)
    writer.start()
    opened = caption._read

    def read(source):
        if source.path.name == "gone":
            source.path.unlink()  # by somebody else, since the arguments were looked at
        return opened(source)

    monkeypatch.setattr(caption, "_read", read)
    assert main(["caption", "photos/gone", "photos/good", "photos/p1.png", "--model", model]) == 2
    said = capsys.readouterr()
    assert [line.split(": ")[0] for line in said.out.splitlines()] == ["photos/good", "photos/p1.png"]
    assert len(said.err.splitlines()) == 1 and "photos/gone" in said.err
    writer.join(10)


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ([], "no image given"),
        (["missing.jpg"], "missing.jpg does not exist"),
        (["photos/notes.txt"], "photos/notes.txt is not an image"),
        (["photos/p0.png", "--model", "nothing"], "unknown model 'nothing'; expected one of describe, caption"),
        (["https://example.org/cat.jpg"], "is an address or a camera"),
    ],
)
def test_errors_are_one_line(typed, message, photos, model, capsys):
    assert main(["caption", *typed, *([] if "--model" in typed else ["--model", model])]) == 2
    said = capsys.readouterr()
    assert said.out == "" and len(said.err.splitlines()) == 1 and message in said.err


def test_a_hostile_name_cannot_steer_the_terminal(photos, model, capsys):
    (photos / "p0.png").rename(photos / "p\x1b[2J\n.png")
    assert main(["caption", "photos", "--model", model]) == 0
    said = capsys.readouterr().out
    assert "\x1b" not in said and len(said.splitlines()) == 3

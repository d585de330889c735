"""``whenwhere describe`` as people use it: lines as they come, files, pipes, many videos, Ctrl-C and mistakes."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch

from describe_models import random_describer, random_image_captioner, saved_space, scenes
from whenwhere.cli import main
from whenwhere.reports.clock import stamp
from whenwhere.results import Timeline

FILES = {"timeline.json", "captions.vtt", "captions.srt", "report.html"}
LINE = re.compile(r"\d\d:\d\d\.\d – \d\d:\d\d\.\d  \S.*")
RUN = [sys.executable, "-m", "whenwhere", "describe"]
PATIENCE = 240.0  # seconds; a machine that runs many tests at once is slow


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Path:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("models")
    space = saved_space(folder)
    random_describer(0, space).save(folder / "describer")
    random_image_captioner(0, space).save(folder / "captioner")
    return folder


@pytest.fixture(scope="module")
def model(models) -> list[str]:
    return ["--model", str(models / "describer"), "--device", "cpu"]


@pytest.fixture(scope="module")
def original(tmp_path_factory) -> Path:
    return scenes(tmp_path_factory.mktemp("video") / "clip.mkv", 8.0)


@pytest.fixture
def clip(original, tmp_path, monkeypatch) -> Path:
    """A video in the folder from which the command is run."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "clip.mkv"
    path.write_bytes(original.read_bytes())
    return path


@pytest.fixture(scope="module")
def recording(tmp_path_factory) -> bytes:
    """A video whose pictures change often: FFmpeg wants to see some kilobytes before it says what a pipe holds."""
    path = scenes(tmp_path_factory.mktemp("video") / "recording.mkv", 8.0, size=(160, 96), each=0.3)
    return path.read_bytes()


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_lines_files_and_where_they_are(clip, model, capsys):
    assert main(["describe", "clip.mkv", *model]) == 0
    said = capsys.readouterr()
    *lines, summary, report = said.out.splitlines()
    assert lines and all(LINE.fullmatch(line) for line in lines) and said.err == ""
    count = f"{len(lines)} events" if len(lines) > 1 else "1 event"
    assert re.fullmatch(count + r" in 8\.0 s of video, \d+\.\d x real time, \d+ MB", summary)
    assert report == f"report: {Path('clip.whenwhere') / 'report.html'}"
    assert names(Path("clip.whenwhere")) == FILES
    timeline = Timeline.load("clip.whenwhere/timeline.json")
    shown = sorted(f"{stamp(e.start)} – {stamp(e.end)}  {e.text}" for e in timeline.events)
    assert shown == sorted(lines) and timeline.media.path == "clip.mkv"


def test_json_lines_and_nothing_else(clip, model, capsys):
    assert main(["describe", "clip.mkv", "--jsonl", *model]) == 0
    said = capsys.readouterr()
    records = [json.loads(line) for line in said.out.splitlines()]
    assert said.err == "" and names(clip.parent) == {"clip.mkv"}
    assert [list(r) for r in records] == [["path", "start", "end", "text", "score", "emitted_at", "id"]] * len(records)
    assert [r["id"] for r in records] == list(range(len(records))) and records
    assert main(["describe", "clip.mkv", "--jsonl", "--out", "here", *model]) == 0
    said = capsys.readouterr()
    assert [json.loads(line) for line in said.out.splitlines()] == records
    assert names(clip.parent / "here") == FILES and f"report: {Path('here') / 'report.html'}" in said.err


def test_a_second_run_takes_the_place_of_the_first(clip, model, capsys):
    for rate in ("2", "4"):
        assert main(["describe", "clip.mkv", "--rate", rate, *model]) == 0
    assert names(clip.parent) == {"clip.mkv", "clip.whenwhere"}
    assert Timeline.load("clip.whenwhere/timeline.json").settings["rate"] == 4.0


def test_the_same_video_by_another_path_takes_the_place_too(clip, model, capsys):
    for path in ("clip.mkv", "./clip.mkv", str(clip)):
        assert main(["describe", path, "--end", "2", *model]) == 0
    assert names(clip.parent) == {"clip.mkv", "clip.whenwhere"}


def test_standard_input_gets_a_new_folder_each_time(clip, model, monkeypatch, capsys):
    for _ in range(2):
        with open(clip) as handle:
            monkeypatch.setattr(sys, "stdin", handle)
            assert main(["describe", "-", "--end", "2", *model]) == 0
    assert names(clip.parent) == {"clip.mkv", "stdin.whenwhere", "stdin-2.whenwhere"}


@pytest.mark.parametrize("videos", [["clip.mkv"], ["clip.mkv", "other.mkv"]])
def test_a_place_that_cannot_be_written_is_told_before_the_model_is_loaded(videos, clip, capsys):
    (clip.parent / "other.mkv").write_bytes(b"")
    assert main(["describe", *videos, "--out", "clip.mkv/out", "--model", "no such model"]) == 2
    assert "clip.mkv is not a folder" in capsys.readouterr().err


def test_a_rate_far_from_the_trained_one_gives_one_line(clip, models, capsys, tmp_path):
    folder = tmp_path / "trained"
    shutil.copytree(models / "describer", folder)
    config = json.loads((folder / "captioner" / "config.json").read_text())
    config["config"]["trained_rate"] = 2.0
    (folder / "captioner" / "config.json").write_text(json.dumps(config))
    assert main(["describe", "clip.mkv", "--jsonl", "--end", "1", "--rate", "8", "--model", str(folder)]) == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("whenwhere: warning: at 8 frames a second the model's memory reaches back 2 to 4 s;")


def test_a_folder_of_somebody_else_is_left_alone(clip, model, capsys):
    other = clip.parent / "clip.whenwhere"
    other.mkdir()
    (other / "captions.vtt").write_text("mine")
    assert main(["describe", "clip.mkv", "--out", "clip.whenwhere", *model]) == 2
    assert "holds other files" in capsys.readouterr().err
    assert main(["describe", "clip.mkv", *model]) == 0
    assert names(other) == {"captions.vtt"} and (other / "captions.vtt").read_text() == "mine"
    assert names(clip.parent / "clip-2.whenwhere") == FILES


def test_many_videos_and_what_fails_among_them(clip, model, capsys):
    (clip.parent / "more").mkdir()
    (clip.parent / "more" / "clip.mkv").write_bytes(clip.read_bytes())
    (clip.parent / "more" / "empty.mp4").write_bytes(b"")
    (clip.parent / "more" / "photo.jpg").write_bytes(b"not looked at")
    assert main(["describe", "clip.mkv", "more", "clip.mk?", "missing.mp4", "--out", "all", *model]) == 2
    said = capsys.readouterr()
    errors = said.err.splitlines()
    assert [line.split(";")[0] for line in errors] == [
        f"whenwhere: error: {Path('more') / 'empty.mp4'} is empty (0 bytes)",
        "whenwhere: error: missing.mp4 does not exist",
    ]
    assert names(clip.parent / "all") == {"clip.whenwhere", "clip-2.whenwhere"}
    assert said.out.count("report: ") == 2
    both = [
        Timeline.load(clip.parent / "all" / name / "timeline.json") for name in ("clip.whenwhere", "clip-2.whenwhere")
    ]
    assert [t.media.path for t in both] == ["clip.mkv", str(Path("more") / "clip.mkv")]
    assert both[0].events == both[1].events


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ([], "no video given"),
        (["missing.mp4"], "missing.mp4 does not exist"),
        (["clip.mkv", "--rate", "0"], "a rate of 0 frames a second; expected a number above zero"),
        (["clip.mkv", "--start", "5", "--end", "2"], "expected 0 <= start < end"),
        (["clip.mkv", "--start", "100"], "no picture from 100 s in clip.mkv"),
        (["clip.mkv", "--model", "nothing"], "unknown model 'nothing'; expected one of describe, caption"),
        (["https://example.org/clip.mp4"], "--allow-urls"),
        (["camera:0"], "is an address or a camera"),
        (["text.mp4"], "text.mp4"),
    ],
)
def test_errors_are_one_line_and_leave_nothing(typed, message, clip, model, capsys):
    (clip.parent / "text.mp4").write_text("this is no video " * 100)
    assert main(["describe", *typed, *([] if "--model" in typed else model)]) == 2
    said = capsys.readouterr()
    assert said.out == "" and len(said.err.splitlines()) == 1 and message in said.err
    assert names(clip.parent) == {"clip.mkv", "text.mp4"}


def test_a_model_for_images_is_refused(clip, models, capsys):
    assert main(["describe", "clip.mkv", "--model", str(models / "captioner")]) == 2
    assert "captions images" in capsys.readouterr().err


def test_a_wrong_option_is_refused(capsys):
    assert main(["describe", "clip.mkv", "--rate", "fast"]) == 2
    assert "--rate" in capsys.readouterr().err


class Live:
    """The command as a process that reads a video from a pipe that stays open."""

    def __init__(self, arguments: list[str], folder: Path) -> None:
        self.process = subprocess.Popen(
            [*RUN, "-", *arguments],
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self.process.stdout:
            self.lines.append(line.decode())

    def give(self, data: bytes) -> None:
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def wait_for_a_line(self) -> None:
        until = time.monotonic() + PATIENCE
        while not self.lines and time.monotonic() < until and self.process.poll() is None:
            time.sleep(0.05)
        if not self.lines:
            self.process.kill()
            pytest.fail(f"nothing came; {self.process.stderr.read().decode()}")

    def end(self) -> tuple[int, str]:
        errors = self.process.stderr.read().decode()
        code = self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        return code, errors


def test_events_leave_while_the_pipe_is_still_open(recording, model, tmp_path, capsys):
    live = Live(["--jsonl", "--out", "result", *model], tmp_path)
    live.give(recording[: len(recording) * 3 // 4])
    live.wait_for_a_line()
    first = json.loads(live.lines[0])
    assert first["path"] == "-" and first["emitted_at"] < 7.0
    live.give(recording[len(recording) * 3 // 4 :])
    live.process.stdin.close()
    code, said = live.end()
    assert code == 0 and " in 8.0 s of video" in said and said.splitlines()[-1].startswith("report: ")
    (tmp_path / "recording.mkv").write_bytes(recording)
    assert main(["describe", str(tmp_path / "recording.mkv"), "--jsonl", *model]) == 0
    from_file = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [json.loads(line) | {"path": ""} for line in live.lines] == [event | {"path": ""} for event in from_file]


@pytest.mark.skipif(os.name == "nt", reason="signals work otherwise there")
def test_ctrl_c_keeps_what_is_known(recording, model, tmp_path):
    live = Live(model, tmp_path)
    live.give(recording[: len(recording) * 3 // 4])
    live.wait_for_a_line()
    live.process.send_signal(signal.SIGINT)
    code, errors = live.end()
    assert code == 130
    assert errors.splitlines() == ["whenwhere: what was known by then is in stdin.whenwhere", "whenwhere: interrupted"]
    timeline = Timeline.load(tmp_path / "stdin.whenwhere" / "timeline.json")
    assert timeline.events and timeline.settings["partial"].startswith("interrupted at ")
    assert names(tmp_path / "stdin.whenwhere") == FILES


@pytest.mark.skipif(os.name == "nt", reason="pipes end otherwise there")
def test_a_reader_that_goes_away_ends_it_quietly(clip, model):
    reader, writer = os.pipe()
    os.close(reader)
    run = subprocess.run([*RUN, "clip.mkv", "--jsonl", *model], stdout=writer, stderr=subprocess.PIPE, timeout=PATIENCE)
    os.close(writer)
    assert (run.returncode, run.stderr) == (141, b"")


@pytest.mark.skipif(os.name == "nt", reason="no pseudo-terminals there")
def test_a_terminal_shows_a_bar_and_the_pipe_stays_clean(clip, model):
    import pty

    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120"}
    run = subprocess.Popen([*RUN, "clip.mkv", *model], stdout=subprocess.PIPE, stderr=theirs, env=environment)
    os.close(theirs)
    shown = bytearray()

    def watch() -> None:
        try:
            while data := os.read(ours, 4096):
                shown.extend(data)
        except OSError:  # the terminal is gone with the process
            pass

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    out, _ = run.communicate(timeout=PATIENCE)
    watcher.join(10)
    os.close(ours)
    lines = out.decode().splitlines()
    assert run.returncode == 0 and all(LINE.fullmatch(line) for line in lines[:-2]) and b"\x1b" not in out
    text = shown.decode()
    assert re.search(r"\d\d:\d\d\.\d / 00:08\.0  \d+\.\d x real time  \d+ MB", text) and "clip.mkv" in text


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "00:00.0"), (12.54, "00:12.5"), (59.96, "01:00.0"), (3599.99, "1:00:00.0"), (36_061.2, "10:01:01.2")],
)
def test_times_are_written_as_people_read_them(seconds, shown):
    assert stamp(seconds) == shown

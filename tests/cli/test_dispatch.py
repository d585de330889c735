"""The command itself: help, version, unknown names, and how every kind of failure ends."""

from __future__ import annotations

import io
import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whenwhere import __version__, cli
from whenwhere.cli.errors import exit_code, printable
from whenwhere.errors import InputError, MissingDependency


@pytest.mark.parametrize("asking", [["--help"], ["-h"], ["help"]])
def test_help_has_one_line_for_each_command(asking, capsys):
    assert cli.main(asking) == 0
    lines = capsys.readouterr().out.splitlines()
    for name, (_, what) in cli.COMMANDS.items():
        assert [line for line in lines if line.split()[:1] == [name] and line.endswith(what)], name


def test_no_command_is_an_error_that_helps(capsys):
    assert cli.main([]) == 2
    said = capsys.readouterr()
    assert said.out == "" and "usage: whenwhere COMMAND" in said.err


def test_version(capsys):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"whenwhere {__version__}\n"


@pytest.mark.parametrize(
    ("typed", "answer"),
    [("descibe", "whenwhere describe"), ("Models", "whenwhere models"), ("xyzzy", "whenwhere --help")],
)
def test_an_unknown_command_names_the_nearest(typed, answer, capsys):
    assert cli.main([typed]) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.startswith("whenwhere: error: ") and said.err.rstrip().endswith(answer)


def test_help_of_a_command(capsys):
    assert cli.main(["help", "models"]) == 0
    assert "usage: whenwhere models" in capsys.readouterr().out


def test_a_wrong_option_is_refused(capsys):
    assert cli.main(["models", "list", "--colour", "blue"]) == 2
    assert "--colour" in capsys.readouterr().err


def raising(error: BaseException):
    def run() -> int:
        raise error

    return run


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (InputError("x.mp4", "a video", "run: it"), 2, "whenwhere: error: x.mp4; expected a video; run: it\n"),
        (MissingDependency("supervision is not installed"), 2, "whenwhere: error: supervision is not installed\n"),
        (FileNotFoundError(2, "No such file", "a.mp4"), 2, "whenwhere: error: a.mp4: No such file\n"),
        (OSError("disk trouble"), 2, "whenwhere: error: disk trouble\n"),
        (
            ModuleNotFoundError("No module named 'av'", name="av"),
            2,
            "whenwhere: error: the package av is not installed; run: whenwhere doctor\n",
        ),
        (KeyboardInterrupt(), 130, "whenwhere: interrupted\n"),
        (SystemExit(3), 3, ""),
        (SystemExit(None), 0, ""),
        (SystemExit("why"), 1, ""),
    ],
)
def test_foreseen_endings_are_one_line_and_a_code(error, code, line, capsys):
    assert exit_code(raising(error)) == code
    assert capsys.readouterr().err == line


@pytest.mark.parametrize("error", [ZeroDivisionError(), ModuleNotFoundError("gone", name="whenwhere.cli.gone")])
def test_a_mistake_in_the_program_keeps_its_traceback(error):
    with pytest.raises(type(error)):
        exit_code(raising(error))


def test_a_hostile_name_cannot_steer_the_terminal(capsys):
    assert exit_code(raising(InputError("\x1b]0;owned\x07\x1b[2J\nwhenwhere: error: all is well"))) == 2
    said = capsys.readouterr().err
    assert said == "whenwhere: error: \\x1b]0;owned\\x07\\x1b[2J whenwhere: error: all is well\n"


@given(st.text())
def test_messages_are_one_printable_line(text):
    assert printable(text).isprintable()
    assert len(printable(text).splitlines()) <= 1


@given(st.text(st.characters(categories=["L", "N", "P", "S"])))
def test_ordinary_text_is_left_alone(text):
    assert printable(text) == text


@pytest.mark.skipif(os.name == "nt", reason="pipes end otherwise there")
def test_a_reader_that_goes_away_ends_it_quietly():
    reader, writer = os.pipe()
    os.close(reader)
    run = subprocess.run(
        [sys.executable, "-m", "whenwhere", "models", "list", "--json"], stdout=writer, stderr=subprocess.PIPE
    )
    os.close(writer)
    assert (run.returncode, run.stderr) == (141, b"")


def test_a_closed_standard_input_is_one_line():
    command = f"exec {sys.executable} -m whenwhere caption - <&-"
    run = subprocess.run(["sh", "-c", command], capture_output=True, text=True)
    assert run.returncode == 2 and run.stderr.startswith("whenwhere: error: standard input is closed")
    assert run.stderr.count("\n") == 1


def test_a_closed_standard_output_is_no_crash():
    run = subprocess.run(
        ["sh", "-c", f"exec {sys.executable} -m whenwhere --version >&-"], stderr=subprocess.PIPE, text=True
    )
    assert (run.returncode, run.stderr) == (0, "")


def test_what_the_terminal_cannot_show_is_escaped(monkeypatch):
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii"))
    assert exit_code(lambda: print("00:01 \u2013 \u89c6") or 0) == 0
    assert written.getvalue() == b"00:01 \\u2013 \\u89c6\n"

"""docs/adapt.md: its commands and its code run as they stand, and its table has every option."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from whenwhere.adapt.methods import METHODS
from whenwhere.cli.adapt import adapt
from whenwhere.cli.evaluate import evaluate
from whenwhere.cli.predict import predict
from whenwhere.media import write_image

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "adapt.md").read_text(encoding="utf-8")
BLOCKS = dict(re.findall(r"<!-- run -->\n```(\w+)\n(.*?)```", PAGE, re.DOTALL))


@pytest.fixture
def folder(tmp_path) -> Path:
    """The files that the page talks about."""
    rng = np.random.default_rng(0)
    for place, count in (("pictures", 10), ("other_pictures", 5)):
        for label, shade in (("day", 190), ("night", 30)):
            (tmp_path / place / label).mkdir(parents=True)
            for number in range(count):
                picture = rng.integers(shade - 30, shade + 60, (48, 64, 3)).astype(np.uint8)
                write_image(tmp_path / place / label / f"{number}.jpg", picture)
    (tmp_path / "more").mkdir()
    for name in ("new.jpg", "more/1.jpg", "more/2.jpg"):
        write_image(tmp_path / name, np.full((60, 80, 3), 35, np.uint8))
    return tmp_path


def run(command, folder):
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    done = subprocess.run(command, cwd=folder, env={**os.environ, "PATH": path}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.models
@pytest.mark.slow
def test_the_commands_run_as_they_stand(folder):
    said = run(["bash", "-euo", "pipefail", "-c", BLOCKS["sh"]], folder)
    assert "accuracy 1.0000 on 4 test examples" in said[0]
    assert [line.split()[:2] for line in said[-6:-3]] == [
        [f"{name}:", "night"] for name in ("new.jpg", "more/1.jpg", "more/2.jpg")
    ]
    assert said[-2:] == ["  day: 5 of 5", "  night: 5 of 5"]  # all of other pictures


def test_the_code_runs_as_it_stands(folder, cache):
    said = run([sys.executable, "-c", BLOCKS["python"]], folder)
    assert said[0].startswith("1.0 (") and said[0].endswith(" 4")
    assert said[1].startswith("('night', 0.") and said[2] == "[('day', 5, 5), ('night', 5, 5)]"


def test_every_option_is_on_the_page():
    table = PAGE.split("## Options of `adapt`")[1].split("## Which method")[0]
    names = [*adapt.__kwdefaults__, *predict.__kwdefaults__, *evaluate.__kwdefaults__, "json"]
    for name in names:  # evaluate calls its "out" --json
        assert f"`--{name.replace('_', '-')}" in table, name
    rows = re.findall(r"^\| `--([a-z-]+)` \| `?([^|`]*)", table, re.MULTILINE)
    for name, default in rows:
        value = adapt.__kwdefaults__[name.replace("-", "_")]
        if isinstance(value, bool):
            assert default.strip() == "off" and value is False
        elif value not in (None, "", ()):
            assert str(default).strip() == str(value) or float(default) == float(value), name


def test_the_readme_counts_the_methods():
    readme = (Path(__file__).resolve().parents[2] / "README.md").read_text(encoding="utf-8")
    assert len(METHODS) == 14 and "Fourteen methods" in readme

"""The README's commands and code are run as they stand there, and what it links to exists."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from describe_models import scenes
from whenwhere.media import write_image
from whenwhere.recipes.demo_video import SCENES, Pan

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCKS = re.findall(r"<!-- run -->\n```(\w+)\n(.*?)```", README, re.DOTALL)
NUMBERS = [
    "no",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
]


@pytest.fixture
def folder(tmp_path) -> Path:
    """The files that the README talks about."""
    scenes(tmp_path / "video.mp4", 8.0, size=(160, 96))
    (tmp_path / "photos").mkdir()
    for name in ("photo.jpg", "photos/a.jpg", "photos/b.jpg"):
        write_image(tmp_path / name, np.full((60, 80, 3), len(name) * 20, np.uint8))
    return tmp_path


def test_there_is_something_to_run():
    assert [language for language, _ in BLOCKS] == ["sh", "python"]


@pytest.mark.models
@pytest.mark.slow
@pytest.mark.parametrize(("language", "text"), BLOCKS, ids=[language for language, _ in BLOCKS])
def test_it_runs_as_it_stands(language, text, folder):
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    command = ["bash", "-euo", "pipefail", "-c", text] if language == "sh" else [sys.executable, "-c", text]
    run = subprocess.run(command, cwd=folder, env={**os.environ, "PATH": path}, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip()
    assert (folder / ("video.whenwhere" if language == "sh" else "result") / "report.html").is_file()


@pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])
def test_links_lead_somewhere(page):
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        assert target.startswith("https://") or (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])
def test_options_on_the_pages_exist(page):
    from whenwhere.cli import adapt, caption, describe, evaluate, predict, score, search_placement

    known = {"--help", "--version", "--all", "--force", "--json"}
    for function in (
        describe.describe,
        caption.caption,
        score.score,
        adapt.adapt,
        predict.predict,
        evaluate.evaluate,
        search_placement.search_placement,
    ):
        known |= {"--" + name.replace("_", "-") for name in function.__kwdefaults__}
    used = set()
    for command in re.findall(
        r"whenwhere (?:describe|caption|score|adapt|predict|evaluate|search-placement)[^\n`|]*",
        page.read_text(encoding="utf-8"),
    ):
        used |= set(re.findall(r"(?<!\S)--[a-z-]+", command))
    assert used <= known, used - known


def test_the_demo_is_what_the_readme_says_it_is():
    said = " ".join(README.split())
    photographs = sum(isinstance(scene.look, Pan) for scene in SCENES)
    street = sum(scene.file == "bikes.mp4" for scene in SCENES)
    assert f"a real video of {NUMBERS[len(SCENES)]} scenes" in said
    assert f"{NUMBERS[photographs]} photographs of scikit-image" in said
    assert f"{NUMBERS[street]} shots of a street clip" in said


def test_everybody_in_the_credits_is_in_the_readme():
    said = " ".join(README.split())
    for name in (
        "Stefan van der Walt",
        "Rachel Michetti",
        "Lav Varshney",
        "SpaceX",
        "NASA",
        "Brooklyn Museum",
        "Middlebury",
        "vultilion",
        "danielbuechele",
    ):
        assert name in said and any(name in scene.credit for scene in SCENES), name
    assert "Blender Foundation, CC BY 3.0" in said and "COCO" in said and "CC BY 4.0" in said

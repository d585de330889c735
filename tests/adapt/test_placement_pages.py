"""The page's code runs as it stands, and the reproduction's arms, runs and page are what they should be."""

from __future__ import annotations

import importlib
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from whenwhere.adapt.edges import USUAL, kind_of
from whenwhere.adapt.search import top_k

ROOT = Path(__file__).resolve().parents[2]


def test_the_code_on_the_page_runs(make_backbone, tmp_path, monkeypatch, capsys):
    page = (ROOT / "docs" / "adapt_placement.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"<!-- run -->\n```python\n(.*?)```", page, re.DOTALL)
    (tmp_path / "my-vit").symlink_to(make_backbone("vit with mean pooling").name)
    monkeypatch.chdir(tmp_path)
    draw = np.random.default_rng(0)
    labels = [k % 2 for k in range(24)]
    images = [draw.integers(0, 100, (40, 40, 3)).astype(np.uint8) + np.uint8(100 * label) for label in labels]
    exec(compile(code, "adapt_placement.md", "exec"), {"images": images, "labels": labels})
    said = capsys.readouterr().out
    assert said.count("score") == 6 and "6 adapters of rank 8" in said
    assert (tmp_path / "placement.png").stat().st_size > 5000 and (tmp_path / "adapter" / "config.json").is_file()


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "reproductions"))
    return importlib.import_module


def test_arms_have_equal_budgets_and_no_arm_is_in_two_ways(script):
    runs = script("_placement_runs")
    groups = runs.first_arms(17)
    assert {len(arm.edges) for arm in groups["sets"].values()} == {16} and len(groups["sets"]) == 2 * runs.DRAWS
    usual = [arm for name, arm in groups["sets"].items() if name.startswith("usual")]
    assert {kind_of(edge) for arm in usual for edge in arm.edges} == set(USUAL)
    assert {kind_of(edge) for arm in groups["single"].values() for edge in arm.edges} == {
        *USUAL,
        "long_range",
        "recurrent",
    }
    shared = groups["single"].keys() & groups["noise"].keys()
    assert len(shared) == 6 and all(groups["single"][name] == groups["noise"][name] for name in shared)
    scores = np.random.default_rng(0).random((17, 17))
    guided = runs.guided_arms(17, scores)
    assert guided["top 6 / 2"].edges == top_k(scores, 6) and guided["top 6 / 2"].seed == 2
    assert not any(i > j for i, j in guided["guided forward 6 / 0"].edges)
    assert len(guided["guided 12 / 1"].edges) == 12


def test_a_run_trains_from_the_cached_node_as_from_pixels(script, make_backbone):
    runs = script("_placement_runs")
    size = runs.Size(train=32, val=8, test=8, side=32, epochs=3, batch=8, rank=2)
    backbone = make_backbone("vit with mean pooling")
    labels = torch.arange(48) % 2
    pixels = torch.randn(48, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    pixels[labels == 1] += 1.5
    task = runs.Task("toy", backbone, labels, pixels, size)
    assert torch.equal(task.state(6), backbone.states(pixels, [-1])[0])
    found = runs.train(task, runs.Arm(((4, 2), (3, 5))), 3e-3)
    assert found["test"] > 0.8 and found == {
        **runs.train(task, runs.Arm(((4, 2), (3, 5))), 3e-3),
        "cpu_s": found["cpu_s"],
    }
    other = runs.train(task, runs.Arm(((4, 2), (3, 5)), seed=1), 3e-3)
    assert other["loss"] != found["loss"]
    assert runs.measure(task).score("rank").shape == (7, 7)


def example(values):
    return {"runs": {name: {"test": test, "val": val, "loss": 1.0} for name, (test, val) in values.items()}}


def test_figures_are_read_from_the_right_runs(script):
    table = script("_placement_table")
    task = example(
        {
            "extended 4 draw 0 / 0": (0.5, 0.9),
            "extended 4 draw 1 / 0": (0.8, 0.6),
            "parallel / 0": (0.3, 0.3),
            "parallel / 1": (0.5, 0.3),
            "single 0-1 / 0": (0.2, 0.2),
            "single 0-1 / 1": (0.4, 0.2),
            "single 3-0 / 0": (0.9, 0.9),
        }
    )
    assert table.accuracies(task, "parallel") == [30, 50] and table.accuracies(task, "extended 4") == [50, 80]
    assert table.chosen(task, "extended 4") == 50  # the best of validation, whatever its test
    assert table.singles(task) == {(0, 1): pytest.approx(30), (3, 0): 90}
    assert table.seed_noise(task) == pytest.approx(200**0.5)
    above = {claim.text: claim.value for claim in table.claims(4)}
    assert above["... above all parallel"](task) == pytest.approx(10)
    assert table.verdict([1, 2]) == "holds" and table.verdict([3, -1]) == "mixed"
    assert table.verdict([1, -2]) == "does not hold"


def test_the_page_says_what_the_placement_results_say(script):
    table = script("_placement_table")
    record = json.loads(table.RESULTS.read_text(encoding="utf-8"))
    page = table.PAGE.read_text(encoding="utf-8")
    assert table.with_section(page, record) == page, "run python reproductions/_placement_table.py"


def test_when_all_arms_have_run_the_section_lacks_nothing(script, tmp_path):
    runs, table, draw = script("_placement_runs"), script("_placement_table"), np.random.default_rng(0)
    scores = draw.integers(1, 99, (17, 17)).astype(float)
    arms = {name: arm for group in runs.first_arms(17).values() for name, arm in group.items()}
    arms |= runs.guided_arms(17, scores)
    tasks = {}
    for number, name in enumerate(runs.TASKS):
        rows = {
            arm: {"edges": made.edges, "cpu_s": 1.0, "loss": draw.random(), "val": draw.random(), "test": draw.random()}
            for arm, made in arms.items()
        }
        tables = {score: (scores + number).tolist() for score in table.SCORES}
        tasks[name] = {"runs": rows, "scores": {"tables": tables}}
    record = {"settings": {"size": {"side": 64, "train": 1, "epochs": 2, "rank": 3, "test": 4}}, "tasks": tasks}
    section = table.section(record)
    assert "not run" not in section and "nan" not in section and f"{4 * len(arms)} runs" in section
    assert "8 blocks, 17 nodes, 289 edges" in section
    assert section.count("| holds |") + section.count("| mixed |") + section.count("| does not hold |") == len(
        table.claims(16)
    )
    table.draw_maps(record, tmp_path)
    assert len(list(tmp_path.glob("placement_*.png"))) == 2 * len(runs.TASKS)
    print(section)
    partial = {**record, "tasks": {"count": {"runs": {"parallel / 0": tasks["count"]["runs"]["parallel / 0"]}}}}
    assert "not run" in table.section(partial)

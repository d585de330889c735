"""For every task of ``whenwhere score``: perfect is best, empty is worst, order does not matter, bad is told."""

from __future__ import annotations

import copy
import json
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from score_cases import CASES, Case, Files, write
from whenwhere.cli import main
from whenwhere.metrics.tasks import TASKS, score_files

TASK_NAMES = pytest.mark.parametrize("task", CASES)


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def figures(task: str, case: Case, prediction: Files, truth: Files | None = None) -> dict[str, float]:
    write(Path(), case.truth if truth is None else truth)
    write(Path(), prediction)
    options = dict(zip((name.lstrip("-") for name in case.options[::2]), case.options[1::2]))
    return score_files(task, [Path(case.gt)], Path(case.pred), options=options)[1]


def test_every_task_is_here():
    assert CASES.keys() == TASKS.keys()


@TASK_NAMES
@pytest.mark.parametrize("seed", range(3))
def test_perfect_is_best_and_empty_is_worst(task, seed):
    case = CASES[task](random.Random(seed))
    found = figures(task, case, case.perfect)
    assert {name: found[name] for name in case.best} == pytest.approx(case.best, abs=1e-9)
    if isinstance(case.worst, str):
        with pytest.raises(ValueError, match=case.worst):
            figures(task, case, case.empty)
    else:
        found = figures(task, case, case.empty)
        assert {name: found[name] for name in case.worst} == pytest.approx(case.worst, abs=1e-9)


def mixed(one: Any, other: Any) -> Any:
    """Every second part of the one and of the other."""
    if isinstance(one, str):
        return "\n".join(mixed(one.splitlines(), other.splitlines())) + "\n"
    if isinstance(one, dict):
        if "results" in one:
            return {"results": mixed(one["results"], other["results"])}
        return {name: (one, other)[place % 2][name] for place, name in enumerate(one)}
    return [(one, other)[place % 2][place] for place in range(len(one))]


def shuffled(draw: random.Random, content: Any, lists: bool) -> Any:
    """The same records in another order: lines, keys, and lists of objects."""
    if isinstance(content, str) and "\n" in content:
        lines = content.splitlines()
        return "\n".join(draw.sample(lines, len(lines))) + "\n"
    if isinstance(content, dict):
        return {name: shuffled(draw, content[name], lists) for name in draw.sample(list(content), len(content))}
    if isinstance(content, list) and lists and all(isinstance(part, dict) for part in content):
        return [shuffled(draw, part, lists) for part in draw.sample(content, len(content))]
    return content


@TASK_NAMES
def test_the_order_of_records_does_not_matter(task):
    draw = random.Random(0)
    case, other = CASES[task](random.Random(1)), CASES[task](random.Random(2))
    if len(case.perfect) > 1:
        said = mixed(case.perfect, other.perfect)
    else:
        said = {name: mixed(content, other.perfect[name]) for name, content in case.perfect.items()}
    wanted = figures(task, case, said)
    assert any(wanted[name] != pytest.approx(value) for name, value in case.best.items()), "nothing is at stake"
    for path in [path for path in Path().rglob("*") if path.is_file()]:
        path.unlink()
    truth = {name: shuffled(draw, case.truth[name], not case.ordered) for name in reversed(case.truth)}
    lists = task != "words"  # the words of a narrative are in order
    told = {name: shuffled(draw, said[name], lists) for name in reversed(said)}
    if not lists:
        told = {name: draw.sample(content, len(content)) for name, content in told.items()}
    assert figures(task, case, told, truth) == pytest.approx(wanted, abs=1e-12, nan_ok=True)


def leaves(content: Any, path: tuple = ()) -> Iterator[tuple]:
    """Paths to the values that hold no others."""
    if isinstance(content, (dict, list)) and content:
        for name, part in content.items() if isinstance(content, dict) else enumerate(content):
            yield from leaves(part, (*path, name))
    else:
        yield path


def replaced(content: Any, path: tuple, value: Any) -> Any:
    found = copy.deepcopy(content)
    inner = found
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = value
    return found


def complaint(task: str, case: Case, truth: Files, said: Files, capsys) -> str:
    write(Path(), truth)
    write(Path(), said)
    code = main(["score", task, "--gt", case.gt, "--pred", case.pred, *case.options])
    out, err = capsys.readouterr()
    assert (code, out) == (2, "") and len(err.splitlines()) == 1, err or out
    return err


TEXT_TASKS = [task for task in CASES if task not in ("vos", "segmentation")]


@pytest.mark.parametrize("task", TEXT_TASKS)
@pytest.mark.parametrize("side", ["truth", "perfect"])
def test_nan_is_told_with_file_and_line(task, side, capsys):
    draw = random.Random(5)
    case = CASES[task](random.Random(3))
    files = getattr(case, side)
    for _ in range(3):
        name = draw.choice(list(files))
        if isinstance(files[name], str):
            lines = files[name].splitlines()
            row = draw.randrange(len(lines))
            numbers = list(re.finditer(r"(?<![\w.])\d+(\.\d+)?", lines[row]))[:6]
            at = draw.choice(numbers)
            lines[row] = lines[row][: at.start()] + "NaN" + lines[row][at.end() :]
            bad, told = "\n".join(lines) + "\n", rf"{name}(, |: )line {row + 1}\b"
        else:
            bad = replaced(files[name], draw.choice(list(leaves(files[name]))), float("nan"))
            text = [json.dumps(part) for part in bad] if name.endswith("l") else json.dumps(bad, indent=1).split("\n")
            told = rf"{name}, line {1 + next(row for row, line in enumerate(text) if 'NaN' in line)}: NaN"
        sides = {"truth": case.truth, "perfect": case.perfect} | {side: {**files, name: bad}}
        assert re.search(told, complaint(task, case, sides["truth"], sides["perfect"], capsys))


@pytest.mark.parametrize("task", [task for task in TEXT_TASKS if task != "mot"])
@pytest.mark.parametrize("bad", [{"a": 1}, [[1]], True], ids=str)
def test_a_value_of_a_wrong_type_is_told_with_its_file(task, bad, capsys):
    draw = random.Random(7)
    case = CASES[task](random.Random(4))
    (name,) = case.perfect
    places = list(leaves(case.perfect[name]))
    kinds = {tuple(part for part in path if isinstance(part, str)): path for path in draw.sample(places, len(places))}
    for path in list(kinds.values())[:8]:
        said = {name: replaced(case.perfect[name], path, bad)}
        told = complaint(task, case, case.truth, said, capsys)
        assert re.search(rf"{name}(, |: )(line|record|video|box|prediction) ?\S", told), (path, told)


@pytest.mark.parametrize("task", [task for task in TEXT_TASKS if task not in ("mot", "cater")])
def test_a_truth_of_a_wrong_type_is_told_with_a_file(task, capsys):
    """What is not looked at may be anything; what is refused is refused in one sentence."""
    draw = random.Random(9)
    case = CASES[task](random.Random(4))
    refused = 0
    for name in case.truth:
        places = list(leaves(case.truth[name]))
        for path in draw.sample(places, min(6, len(places))):
            write(Path(), case.truth | case.perfect | {name: replaced(case.truth[name], path, {"a": 1})})
            code = main(["score", task, "--gt", case.gt, "--pred", case.pred, *case.options])
            told = capsys.readouterr().err
            assert code == 0 or (code == 2 and name in told and len(told.splitlines()) == 1), (path, told)
            refused += code == 2
    assert refused


@pytest.mark.parametrize("task", [task for task in TEXT_TASKS if task not in ("mot", "segments", "dense-captions")])
def test_a_record_without_a_field_is_told_with_its_place(task, capsys):
    case = CASES[task](random.Random(4))
    (name,) = case.perfect
    content = case.perfect[name]
    records = content if isinstance(content, list) else next(iter(content["results"].values()))
    for key in records[1]:
        if task == "dense-voc" and key == "caption":
            continue  # a box without one is scored as a box
        broken = copy.deepcopy(content)
        rows = broken if isinstance(broken, list) else next(iter(broken["results"].values()))
        del rows[1][key]
        told = complaint(task, case, case.truth, {name: broken}, capsys)
        assert re.search(rf"{name}(, |: ).*(line 2|record 1|prediction 1)\b", told) and key in told, told


@pytest.mark.parametrize("task", ["vos", "segmentation"])
@pytest.mark.parametrize("side", ["gt", "pred"])
def test_a_bad_mask_is_told_with_its_file(task, side, capsys):
    case = CASES[task](random.Random(6))
    name = sorted(getattr(case, "truth" if side == "gt" else "perfect"))[1]
    write(Path(), case.truth | case.perfect)
    whole = Path(name).read_bytes()

    def told() -> str:
        return complaint(task, case, {}, {}, capsys)

    Path(name).write_bytes(whole[: len(whole) // 2])
    assert f"cannot read the mask {name}" in told()
    write(Path(), {name: np.zeros((7, 9), np.uint8)})
    assert Path(name).stem in told() and "7" in told()
    write(Path(), {name: np.zeros((24, 32, 3), np.uint8)})
    assert f"the mask {name} has pixels of mode RGB" in told()


@TASK_NAMES
def test_intervals_of_every_task(task, capsys):
    case = CASES[task](random.Random(8))
    write(Path(), case.truth | case.perfect)
    result, found = score_files(
        task,
        [Path(case.gt)],
        Path(case.pred),
        options=dict(zip((name.lstrip("-") for name in case.options[::2]), case.options[1::2])),
    )
    assert result.convention and sum(result.counts.values()) > 0
    if len(result.ids) < 2:
        with pytest.raises(ValueError, match="an interval of 1 item, which is not defined"):
            result.intervals(resamples=2)
        return
    ends = result.intervals(resamples=5)
    for name in case.best.keys() & ends.keys():
        assert ends[name] == pytest.approx((found[name], found[name]), abs=1e-9), name  # a perfect one does not vary

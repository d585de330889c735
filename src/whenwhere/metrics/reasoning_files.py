"""Scores of files of answers, for ``whenwhere score``: the queries of ACRE, the hidden object of CATER."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from whenwhere.errors import InputError
from whenwhere.metrics.acre import acre
from whenwhere.metrics.cater import snitch_localisation
from whenwhere.metrics.files import read_records
from whenwhere.metrics.records import by_id, field_of, numbers, same_ids
from whenwhere.metrics.result import Result


def score_acre(gt: Sequence[Path], pred: Path) -> Result:
    """Score the answers to the problems of one regime.

    Args:
        gt: the configuration of a split, such as ``config/test.json``.
        pred: records ``{"id": number of the problem, from 0, "answers": [a, b, c, d]}``: 0 off, 1 undetermined, 2 on.

    Returns:
        See :func:`whenwhere.metrics.acre.acre`.

    Raises:
        InputError: naming the file and the record, or the problems that do not agree.
    """
    from whenwhere.datasets.acre import read_problems

    truths = {str(problem.index): problem.truths for problem in read_problems(gt[0], gt[0].stem)}
    said = by_id(read_records(pred), "id", "problem")
    same_ids(said, truths, "problem")
    answers = {}
    for name, record in said.items():
        given = field_of(record, "answers", record.place)
        if (
            not isinstance(given, list)
            or len(given) != 4
            or any(type(one) is not int or one not in (0, 1, 2) for one in given)
        ):
            raise InputError(f"{record.place}: answers {str(given)[:60]}", "four of 0 (off), 1 (undetermined), 2 (on)")
        answers[name] = given
    return acre(answers, truths)


def score_cater(gt: Sequence[Path], pred: Path) -> Result:
    """Score where the hidden object ends.

    Args:
        gt: a list of a localisation task, such as ``lists/localize/val.txt``.
        pred: records ``{"id": name of the video, "scores": [...]}`` with a score for every cell: 36, 16 or 64.

    Returns:
        See :func:`whenwhere.metrics.cater.snitch_localisation`.

    Raises:
        InputError: naming the file and the record or line, or the videos that do not agree.
    """
    from whenwhere.datasets.cater import GRIDS, read_list

    said = by_id(read_records(pred), "id", "video")
    scores = {
        name: numbers(field_of(record, "scores", record.place), f"{record.place}: scores", (None,))
        for name, record in said.items()
    }
    sizes = sorted(grid**2 for grid in GRIDS.values())
    cells = len(next(iter(scores.values()))) if scores else 36
    for name, values in scores.items():
        if len(values) not in sizes or len(values) != cells:
            wanted = f"{cells}, as before" if cells in sizes else f"a score for each cell: {', '.join(map(str, sizes))}"
            raise InputError(f"{said[name].place}: {len(values)} scores", wanted)
    truths: dict[str, int] = {}
    for name, (cell,) in read_list(gt[0], math.isqrt(cells)):
        if name in truths:
            raise InputError(f"{gt[0]}: video {name!r} twice", "every video once")
        truths[name] = cell
    same_ids(scores, truths, "video")
    return snitch_localisation(scores, truths, grid=math.isqrt(cells))

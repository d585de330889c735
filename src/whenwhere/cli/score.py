"""``whenwhere score``: how good a file of predictions is, by the convention that its task is published with."""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

if TYPE_CHECKING:
    from whenwhere.metrics.result import Result


def main(argv: Sequence[str]) -> int:
    """Run ``whenwhere score``."""
    return tyro.cli(score, args=list(argv), prog="whenwhere score", config=(tyro.conf.FlagCreatePairsOff,))


def score(
    task: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="TASK")] = "",
    *,
    gt: tuple[Path, ...] = (),
    pred: Path | None = None,
    out: Annotated[str, tyro.conf.arg(name="json", metavar="FILE")] = "",
    metrics: tuple[str, ...] = (),
    ci: bool = False,
    background: str = "",
    classes: int = 0,
    skip_ends: bool = False,
    news: bool = False,
) -> int:
    """Score a file of predictions against the truth. Files may end in .gz; whenwhere score alone lists the tasks.

    Args:
        task: captions, dense-captions, moments, ...
        gt: the truth; a file for each annotator where a task has several.
        pred: the predictions.
        out: write all figures, the convention and the counts here; - prints them instead of the table.
        metrics: only these figures.
        ci: with 95 % intervals, from 1000 bootstrap resamples of the items.
        background: segmentation: none, ignored, class or folded; segments: the label of frames without a step.
        classes: segmentation: labels are below it.
        skip_ends: vos: without the first and last frame of each video, as DAVIS 2017 has it.
        news: captions: words as in news captioning, with their case and without punctuation, not PTB tokens.
    """
    from whenwhere.metrics.tasks import ALIASES, TASKS, score_files
    from whenwhere.results.files import write_text

    if not task:
        width = max(map(len, TASKS))
        print("\n".join(f"{name:<{width}}  {known.what}" for name, known in TASKS.items()), file=sys.stderr)
        return 2
    options = {"background": background, "classes": classes, "skip_ends": skip_ends, "news": news}
    result, figures = score_files(task, gt, pred, metrics, {name: value for name, value in options.items() if value})
    intervals, left_out = {}, dict(result.left_out)
    if ci and len(result.ids) < 2:
        left_out["intervals"] = "an interval of one item is not defined; it takes two or more"
    elif ci:
        intervals = result.intervals()
        none = [name for name, value in figures.items() if name not in intervals and not math.isnan(value)]
        if none:
            left_out["intervals"] = f"none for {', '.join(none)}, which no resample of the items gives"
    task = ALIASES.get(task, task)
    known = TASKS[task]
    report: dict[str, Any] = {
        "task": task,
        "gt": [str(path) for path in gt],
        "pred": str(pred),
        "convention": result.convention,
        "counts": dict(result.counts),
        "left_out": left_out,
        "figures": {name: None if math.isnan(value) else value for name, value in figures.items()},
    }
    if ci:
        report["intervals"] = {name: list(intervals[name]) for name in figures if name in intervals}
    if known.own_form is not None and not metrics:
        report["published_form"] = known.own_form({k: v for k, v in figures.items() if not math.isnan(v)})
    text = json.dumps(report, indent=1, ensure_ascii=False, allow_nan=False)
    if out == "-":
        print(text)
        return 0
    if out:
        write_text(out, text + "\n")
    shown = {name: figures[name] for name in (metrics or known.brief or figures) if name in figures}
    _show(replace(result, left_out=left_out), shown, intervals, len(figures) - len(shown))
    return 0


def _show(
    result: Result, figures: Mapping[str, float], intervals: Mapping[str, tuple[float, float]], more: int
) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, show_header=bool(intervals), header_style="bold")
    for title in ("figure", "value", "95 % interval"):
        table.add_column(title, justify="left" if title == "figure" else "right", no_wrap=True)
    for name, value in figures.items():
        ends = " to ".join(f"{end:.4f}" for end in intervals.get(name, ()))
        table.add_row(name, f"{value:.4f}", ends)
    console = Console()
    console.print(table)
    if more:
        console.print(f"and {more} more with --json", style="dim", highlight=False)
    counts = ", ".join(
        f"{number} {_one(what) if number == 1 else what}" for what, number in result.counts.items() if number
    )
    lines = [counts, result.convention, *(f"left out: {name}: {why}" for name, why in result.left_out.items())]
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _one(what: str) -> str:
    """What is counted, in the singular: "videos without predictions, which count as 0" is a video that counts."""
    match = re.match(r"(.*?)(?=$|,| (?:of|without|that|skipped|merged|with|left) )", what)
    head = match[0] if match else what
    one = re.sub(r"(?<=[xs])es$|s$", "", re.sub(r"ies$", "y", head))
    rest = what[len(head) :]
    for many, single in (("which do not count", "which does not count"), ("which count", "which counts")):
        rest = rest.replace(many, single)
    return one + rest.replace("that are crowds", "that is a crowd").replace("because they have", "because it has")

"""The papers of an adapter: a card for people, figures for programs, and two pictures."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from whenwhere.reports import charts
from whenwhere.results.files import write_text

CARD, METRICS, PREDICTIONS, CONFUSION, CURVES = (
    "card.md",
    "metrics.json",
    "predictions.jsonl",
    "confusion.png",
    "curves.png",
)
_MIXED_UP = 5  # pairs of classes told
Lines = Mapping[str, Mapping[str, tuple[Sequence[float], Sequence[float]]]]


def write(
    folder: Path, facts: Mapping[str, Any], confusion: np.ndarray, curves: Lines, predictions: Sequence[dict[str, Any]]
) -> None:
    """Write ``card.md``, ``metrics.json``, ``predictions.jsonl``, ``confusion.png`` and ``curves.png``.

    The figures come last: where they are, the rest is there too.

    Args:
        folder: of the run.
        facts: as :func:`whenwhere.training.adapting.adapt_files` gathers them.
        confusion: (C, C) counts, rows are the truth.
        curves: see :func:`whenwhere.reports.charts.curves`.
        predictions: a row for each test example.

    Raises:
        InputError: a file cannot be written.
    """
    recipe, accuracy = facts["recipe"], facts["accuracy"]["test"]
    title = f"{recipe['method']} on {recipe['backbone']}: {accuracy:.1%} of {int(confusion.sum()):,} right"
    charts.confusion(folder / CONFUSION, confusion, facts["classes"], title=title)
    charts.curves(folder / CURVES, curves, title=f"{recipe['method']} on {recipe['backbone']}")
    rows = "".join(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in predictions)
    write_text(folder / PREDICTIONS, rows)
    write_text(folder / CARD, _card(folder, facts, confusion))
    matrix = {**facts, "confusion": confusion.tolist()}
    write_text(folder / METRICS, json.dumps(matrix, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def without_test(classes: Sequence[str]) -> str:
    """One line on classes of which nothing is tested."""
    return f"no test example of {_some(classes)}: the accuracy says nothing of {'it' if len(classes) == 1 else 'them'}"


def usage(folder: Path, *, clips: bool = False) -> list[str]:
    """Commands with which an adapter is used, of clips or of pictures."""
    place = shlex.quote(str(folder))
    return [f"whenwhere predict {place} {'CLIP' if clips else 'IMAGE'} ...", f"whenwhere evaluate {place} DATA"]


def _card(folder: Path, facts: Mapping[str, Any], confusion: np.ndarray) -> str:
    recipe, seconds = facts["recipe"], facts["seconds"]
    low, high = facts["interval"]
    counts = ", ".join(f"{number:,} {split}" for split, number in facts["examples"].items())
    trained = facts["trained"]
    classes = facts["classes"]
    lines = [
        f"# {recipe['method']} on {recipe['backbone']}",
        "",
        f"Says which of {len(classes)} classes a {'clip' if facts['clips'] else 'picture'} shows: {_some(classes)}.",
        "",
        "| | |",
        "|---|---|",
        f"| data | {_cell(facts['data'])}: {counts} examples |",
        f"| test accuracy | {facts['accuracy']['test']:.4f} (95 % interval {low:.4f} to {high:.4f}) |",
        f"| training accuracy | {facts['accuracy']['train']:.4f} |",
        f"| trained numbers | {trained['adapter']:,} in the adapter, {trained['head']:,} in the head |",
        f"| input | {facts['size']} pixels{_clips(recipe['frames'])} |",
        f"| recipe | {recipe['epochs']} epochs of batches of {recipe['batch']}, AdamW at {recipe['lr']:g}, "
        f"weight decay {recipe['weight_decay']:g}, seed {recipe['seed']}"
        f"{_cuts(recipe['views'])}{', with mirror images' if recipe['mirror'] else ''} |",
        *([f"| settings | {_cell(json.dumps(recipe['settings']))} |"] if recipe["settings"] else []),
        f"| time{_since(facts)} | {seconds['prepare']:.0f} s reading and caching, {seconds['train']:.0f} s training, "
        f"{seconds['test']:.0f} s testing |",
        *([f"| cache | {_cell(facts['cache'])} |"] if facts["cache"] else []),
        f"| peak memory | {facts['peak_memory_mb']:,.0f} MB |",
        f"| whenwhere | {facts['version']} |",
        "",
        "The weights are those of the last step; nothing was chosen by looking at the test examples.",
    ]
    if facts["held_out"]:
        lines += [
            "",
            "The data has no test split: the test examples, one in five of each class, were held out by whenwhere.",
        ]
    if facts["untested"]:
        lines += ["", f"There is {without_test(facts['untested'])}."]
    worst = _mixed_up(confusion, classes)
    if worst:
        lines += ["", "Most often mixed up (truth → said):", "", *worst]
    if facts["left_out"]:
        lines += ["", f"Left out, because they cannot be decoded: {_some(facts['left_out'])}."]
    lines += ["", "![confusion](confusion.png)", "", "![curves](curves.png)", "", "## Use", "", "```"]
    return "\n".join([*lines, *usage(folder, clips=facts["clips"]), "```", ""])


def _since(facts: Mapping[str, Any]) -> str:
    return f", from step {facts['resumed_at']} on" if facts["resumed_at"] else ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _clips(frames: int) -> str:
    return f", {frames} frames of each clip" if frames > 1 else ""


def _cuts(views: int) -> str:
    return f", {views} cuts of each picture" if views > 1 else ""


def _mixed_up(confusion: np.ndarray, classes: Sequence[str]) -> list[str]:
    wrong = np.array(confusion)
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:_MIXED_UP]
    cells = [divmod(int(place), len(classes)) for place in order]
    return [f"- {classes[a]} → {classes[b]}: {wrong[a, b]}" for a, b in cells if wrong[a, b]]


def _some(names: Sequence[str], most: int = 12) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")

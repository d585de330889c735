"""The section of REPRODUCTIONS.md about adapter placement, and its heat maps, made from the results file alone.

Command: ``python reproductions/_placement_table.py`` writes both anew.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from statistics import mean, stdev
from textwrap import fill
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import spearmanr

from whenwhere.adapt.edges import Edge, kind_of
from whenwhere.reports import charts
from whenwhere.results.files import write_text

PAGE = Path(__file__).resolve().parents[1] / "REPRODUCTIONS.md"
RESULTS = Path(__file__).parent / "results" / "placement_claims.json"
BEGIN, END = "<!-- placement_claims.json -->", "<!-- end of placement_claims.json -->"
ROWS = {
    "linear probe": "linear probe",
    "adaptformer": "beside every MLP, rank 16",
    "parallel": "parallel, all",
    "sequential": "sequential, all",
    **{f"guided {count}": f"guided, {count}" for count in (1, 3, 6, 12)},
    "guided forward 6": "guided, 6, without recurrent edges",
    **{f"{name} {count}": f"{name} {count}" for count in (3, 6) for name in ("top", "first", "last", "random")},
    "gamma 0.2": "guided, 6, gamma 0.2",
    "gamma 0.4": "guided, 6, gamma 0.4",
    "gamma 0.8": "guided, 6, gamma 0.8",
    "gamma 0.95": "guided, 6, gamma 0.95",
}
SCORES = {
    "rank": "rank, rtol 1e-3",
    "rank 0.0001": "rank, rtol 1e-4",
    "rank 0.01": "rank, rtol 1e-2",
    "frobenius": "Frobenius norm",
    "spectral": "spectral norm",
    "nuclear": "nuclear norm",
    "stable_rank": "stable rank",
}


def accuracies(task: dict[str, Any], arm: str, figure: str = "test") -> list[float]:
    """A figure in percent of all runs of an arm: its seeds, or its draws."""
    pattern = re.compile(rf"{re.escape(arm)}( draw \d+)? / \d+")
    scale = 1 if figure == "loss" else 100
    return [scale * run[figure] for name, run in task["runs"].items() if pattern.fullmatch(name)]


def singles(task: dict[str, Any], figure: str = "test") -> dict[Edge, float]:
    """A figure of every edge that was tried alone, mean over its seeds; accuracy in percent."""
    found: dict[Edge, list[float]] = {}
    for name, run in task["runs"].items():
        if match := re.match(r"single (\d+)-(\d+) ", name):
            found.setdefault((int(match[1]), int(match[2])), []).append(run[figure])
    return {edge: mean(values) * (1 if figure == "loss" else 100) for edge, values in found.items()}


def seed_noise(task: dict[str, Any]) -> float:
    """Standard deviation over seeds of the test accuracy of one adapter, pooled over the edges with several seeds."""
    by_edge: dict[str, list[float]] = {}
    for name, run in task["runs"].items():
        if name.startswith("single "):
            by_edge.setdefault(name.split(" / ")[0], []).append(100 * run["test"])
    squares = [stdev(values) ** 2 for values in by_edge.values() if len(values) > 1]
    return mean(squares) ** 0.5 if squares else float("nan")


def chosen(task: dict[str, Any], arm: str) -> float:
    """Test accuracy of the draw of an arm that is best in validation."""
    val, test = accuracies(task, arm, "val"), accuracies(task, arm)
    return test[val.index(max(val))]


def correlation(task: dict[str, Any], score: str, figure: str) -> tuple[float, float]:
    """Rank correlation of a score with a figure of single adapters, and its p value."""
    table, found = np.array(task["scores"]["tables"][score]), singles(task, figure)
    result = spearmanr([table[edge] for edge in found], list(found.values()))
    return float(result.statistic), float(result.pvalue)


class Claim(NamedTuple):
    """A number for each task that should be above zero.

    Attributes:
        text: the claim.
        value: of one task; raises KeyError, IndexError, ValueError or StatisticsError where its runs are missing.
        published: what the paper has.
        digits: of the number in the table.
    """

    text: str
    value: Callable[[dict[str, Any]], float]
    published: str
    digits: int = 1


def _above(better: str, worse: str) -> Callable[[dict[str, Any]], float]:
    return lambda task: mean(accuracies(task, better)) - mean(accuracies(task, worse))


def _best_above(draws: str, worse: str) -> Callable[[dict[str, Any]], float]:
    """The chosen draw above the mean over seeds of another arm."""
    return lambda task: chosen(task, draws) - mean(accuracies(task, worse))


def _spread(task: dict[str, Any]) -> float:
    found = singles(task).values()
    return max(found) - min(found) - 6 * seed_noise(task)  # the noise alone spans about 5 over 80 edges


def _recurrent(task: dict[str, Any]) -> float:
    """How far the best three recurrent edges are above the best three others."""
    kinds: dict[bool, list[float]] = {True: [], False: []}
    for edge, value in singles(task).items():
        kinds[kind_of(edge) == "recurrent"].append(value)
    return mean(sorted(kinds[True])[-3:]) - mean(sorted(kinds[False])[-3:])


def claims(every: int) -> tuple[Claim, ...]:
    """The claims, for a net of so many parallel edges."""
    extended, usual = f"extended {every}", f"usual {every}"
    return (
        Claim("one adapter: best minus worst edge, less 6 standard deviations of the seed", _spread, "several points"),
        Claim("one adapter: the best 3 recurrent edges above the best 3 others", _recurrent,
              "recurrent ones among the top 3"),
        Claim(f"best random set of {every} of all edges above that of usual ones",
              lambda task: chosen(task, extended) - chosen(task, usual), "better"),
        Claim("... above all parallel", _best_above(extended, "parallel"), "better"),
        Claim("... above every MLP, equal parameters", _best_above(extended, "adaptformer"), "-"),
        Claim("gradient rank goes with accuracy (Spearman)", lambda task: correlation(task, "rank", "test")[0],
              "strong on large tasks, weak on small", 2),
        Claim("gradient rank goes against training loss (Spearman, sign changed)",
              lambda task: -correlation(task, "rank", "loss")[0], "as above", 2),
        Claim("... better than the Frobenius norm does with accuracy",
              lambda task: correlation(task, "rank", "test")[0] - correlation(task, "frobenius", "test")[0],
              "best of several", 2),
        *(
            Claim(f"{count} guided reach all parallel ({every})", _above(f"guided {count}", "parallel"), known)
            for count, known in ((3, "3 of 24 on iNaturalist18"), (6, "-"), (12, "12 of 24 on Places365"))
        ),
        *(
            Claim(f"guided above {name}, {count}", _above(f"guided {count}", f"{name} {count}"), known)
            for count in (3, 6)
            for name, known in (("random", "-"), ("top", "better"), ("first", "better"), ("last", "better"))
        ),
        Claim("recurrent edges help the guided 6", _above("guided 6", "guided forward 6"), "better"),
    )  # fmt: skip


def verdict(found: list[float]) -> str:
    """``holds`` if every task agrees, ``mixed`` if only their mean does, else ``does not hold``."""
    if all(value > 0 for value in found):
        return "holds"
    return "mixed" if mean(found) > 0 else "does not hold"


def spread(found: list[float]) -> str:
    """Mean, and standard deviation where there are several."""
    if not found:
        return "not run"
    return f"{mean(found):.1f}" + (f" ± {stdev(found):.1f}" if len(found) > 1 else "")


def section(record: dict[str, Any]) -> str:
    """The section, markers included."""
    tasks, size = record["tasks"], record["settings"]["size"]
    runs = [run for task in tasks.values() for run in task["runs"].values()]
    every = max((len(run["edges"]) for run in runs), default=0)
    cpu = sum(run["cpu_s"] for run in runs) / 60
    names = list(tasks)
    lines = [
        BEGIN,
        "## Adapter placement (Nowak et al., 2024)",
        "",
        fill(
            f"`placement_claims.py`: {len(runs)} runs, {cpu:.0f} minutes of one core, on `vit-tiny` at {size['side']} "
            f"pixels ({every // 2} blocks, {every + 1} nodes, {(every + 1) ** 2} edges). {size['train']} training "
            f"pictures, {size['epochs']} epochs, rank {size['rank']}; test accuracy in percent on {size['test']} "
            "pictures, mean ± standard deviation over three seeds, or over draws for random sets; one number is one "
            "run. The paper has ViT-B/16 on tasks of 1,000 pictures and more: only the direction can be compared.",
            120,
        ),
        "",
        f"| adapters | {' | '.join(names)} |",
        f"|{'---|' * (len(names) + 1)}",
    ]
    for arm, text in ROWS.items():
        lines.append(f"| {text} | {' | '.join(spread(accuracies(tasks[name], arm)) for name in names)} |")
    for arm, text in ((f"usual {every}", "usual"), (f"extended {every}", "all")):
        cells = []
        for name in names:
            draws = accuracies(tasks[name], arm)
            cells.append(f"{spread(draws)}, chosen {chosen(tasks[name], arm):.1f}" if draws else "not run")
        lines.append(f"| random sets of {every} of {text} edges | {' | '.join(cells)} |")
    lines += ["", *_alone(tasks), "", *_predictors(tasks), "", *_claims(tasks, every)]
    maps = [name for name in names if singles(tasks[name]) and "scores" in tasks[name]]
    if maps:
        lines += ["", "Heat maps, rows the source and columns the target node:", ""]
        lines += [
            f"- {name}: [accuracy of one adapter](reproductions/results/placement_accuracy_{name}.png), "
            f"[gradient rank](reproductions/results/placement_rank_{name}.png) with the 6 guided edges framed"
            for name in maps
        ]
    return "\n".join([*lines, END])


def _alone(tasks: dict[str, Any]) -> list[str]:
    """What one adapter does, and whether the tasks agree on where it should sit."""
    lines = [
        "| one adapter | edges tried | worst | best | at edge | seed noise | kinds of the best 3 |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, task in tasks.items():
        found = singles(task)
        if not found:
            continue
        order = sorted(found, key=lambda edge: -found[edge])
        kinds = ", ".join(kind_of(edge).replace("_", "-") for edge in order[:3])
        (best, worst), edge = (found[order[0]], found[order[-1]]), "{} to {}".format(*order[0])
        noise = seed_noise(task)
        lines.append(f"| {name} | {len(found)} | {worst:.1f} | {best:.1f} | {edge} | {noise:.1f} | {kinds} |")
    rows = []
    for a, b in combinations(tasks, 2):
        shared = sorted(singles(tasks[a]).keys() & singles(tasks[b]).keys())
        if len(shared) > 9:
            found = spearmanr([singles(tasks[a])[e] for e in shared], [singles(tasks[b])[e] for e in shared]).statistic
            rows.append((f"{a} and {b} {found:+.2f}", found))
    if rows:
        said = "holds" if all(found < 0.5 for _, found in rows) else "does not hold"
        text = (
            f"Rank correlation of these accuracies between tasks: {', '.join(row for row, _ in rows)}. That the best "
        )
        lines += ["", fill(f"{text}place depends on the task (all below 0.5; published: near 0) {said}.", 120)]
    return lines


def _predictors(tasks: dict[str, Any]) -> list[str]:
    """How scores go with what single adapters reach."""
    names = [name for name, task in tasks.items() if "scores" in task and len(singles(task)) > 9]
    if not names:
        return ["Correlation of scores with single adapters: not run."]
    lines = [
        f"| score of the gradient, Spearman with accuracy / training loss | {' | '.join(names)} |",
        f"|{'---|' * (len(names) + 1)}",
    ]
    for score, text in SCORES.items():
        pairs = [[correlation(tasks[name], score, figure)[0] for figure in ("test", "loss")] for name in names]
        lines.append(f"| {text} | {' | '.join(f'{a:+.2f} / {b:+.2f}' for a, b in pairs)} |")
    return lines


def _claims(tasks: dict[str, Any], every: int) -> list[str]:
    lines = [
        "A claim holds if every task agrees, and is mixed if only their mean does.",
        "",
        f"| claim | {', '.join(tasks)} | mean | published | verdict |",
        "|---|---|---|---|---|",
    ]
    for claim in claims(every):
        cells, found = [], []
        for task in tasks.values():
            try:
                value = claim.value(task)
            except (KeyError, IndexError, ValueError):  # its runs are missing
                cells.append("not run")
                continue
            found.append(value)
            cells.append(f"{value:+.{claim.digits}f}")
        summary = (f"{mean(found):+.{claim.digits}f}", verdict(found)) if found else ("", "")
        lines.append(f"| {claim.text} | {', '.join(cells)} | {summary[0]} | {claim.published} | {summary[1]} |")
    return lines


def with_section(page: str, record: dict[str, Any]) -> str:
    """The page with the section in its place, or at its end."""
    if BEGIN not in page:
        return page.rstrip("\n") + "\n\n" + section(record) + "\n"
    head, rest = page.split(BEGIN, 1)
    return head + section(record) + rest.split(END, 1)[1]


def write_section(record: dict[str, Any]) -> None:
    """Write the section into REPRODUCTIONS.md."""
    write_text(PAGE, with_section(PAGE.read_text(encoding="utf-8"), record))


def draw_maps(record: dict[str, Any], folder: Path) -> None:
    """Write two heat maps for each task that has what they show."""
    for name, task in record["tasks"].items():
        found = singles(task)
        if not found or "scores" not in task:
            continue
        ranks = np.array(task["scores"]["tables"]["rank"])
        nodes = [str(node) for node in range(len(ranks))]
        accuracy = np.full(ranks.shape, np.nan)
        for edge, value in found.items():
            accuracy[edge] = value
        guided = [tuple(edge) for edge in task["runs"].get("guided 6 / 0", {"edges": []})["edges"]]
        best = sorted(found, key=lambda edge: -found[edge])[:3]
        for what, table, bar, marks, title in (
            ("accuracy", accuracy, "test accuracy, %", best, f"{name}: one adapter, the best three framed"),
            ("rank", ranks, "gradient rank; lowest tenth drawn alike", guided, f"{name}: six guided edges framed"),
        ):
            charts.heat_map(
                folder / f"placement_{what}_{name}.png",
                table,
                nodes,
                nodes,
                rows="source node",
                columns="target node",
                title=title,
                bar=bar,
                low=float(np.quantile(table, 0.1)) if what == "rank" else _below(list(found.values())),
                marks=marks,
            )


def _below(values: list[float]) -> float:
    """A little below the least value, so that no cell is as white as those that were not tried."""
    return min(values) - 0.2 * (max(values) - min(values))


if __name__ == "__main__":
    RECORD = json.loads(RESULTS.read_text(encoding="utf-8"))
    write_section(RECORD)
    draw_maps(RECORD, RESULTS.parent)

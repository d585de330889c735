"""The section of REPRODUCTIONS.md about accuracy against trained weights, made from its results file alone."""

from __future__ import annotations

from pathlib import Path
from statistics import mean, stdev
from textwrap import fill
from typing import Any

from whenwhere.reports.charts import points
from whenwhere.results.files import write_text

PAGE = Path(__file__).resolve().parents[1] / "REPRODUCTIONS.md"
OUT = Path(__file__).parent / "results" / "vtab_suite.json"
PICTURE = OUT.with_suffix(".png")
NONE = 500  # where the linear probe stands on the logarithmic axis, left of all others
BEGIN, END = "<!-- vtab_suite.json -->", "<!-- end of vtab_suite.json -->"


def accuracies(runs: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Seed to task to accuracy in percent, of one arm."""
    found: dict[str, dict[str, float]] = {}
    for what, run in runs.items():
        task, seed = what.split("/")
        found.setdefault(seed, {})[task] = 100 * run["accuracy"]
    return found


def complete(record: dict[str, Any]) -> tuple[list[str], dict[str, list[str]]]:
    """All tasks, and for each arm the seeds that have a result for each task."""
    tasks = list(dict.fromkeys(what.split("/")[0] for runs in record["runs"].values() for what in runs))
    return tasks, {
        name: [seed for seed, of in accuracies(runs).items() if len(of) == len(tasks)]
        for name, runs in record["runs"].items()
    }


def spread(values: list[float]) -> str:
    """Mean and standard deviation over seeds."""
    return f"{mean(values):.1f} ± {stdev(values):.1f}" if len(values) > 1 else f"{values[0]:.1f}" if values else "-"


def front(record: dict[str, Any]) -> dict[str, tuple[float, float, float]]:
    """Arm to (trained weights without the head, mean accuracy over tasks, its standard deviation over seeds)."""
    tasks, seeds = complete(record)
    found = {}
    for name, done in seeds.items():
        means = [mean(accuracies(record["runs"][name])[seed][task] for task in tasks) for seed in done]
        if means:
            weights = next(iter(record["runs"][name].values()))["adapter"]
            found[name] = (weights, mean(means), stdev(means) if len(means) > 1 else 0.0)
    return found


def section(record: dict[str, Any]) -> str:
    """The section, markers included."""
    tasks, seeds = complete(record)
    fit, places = record["settings"]["fit"], front(record)
    rows = [run for runs in (*record["runs"].values(), *record["tuning"].values()) for run in runs.values()]
    lines = [
        BEGIN,
        "## Accuracy against trained weights: LoSA and its peers",
        "",
        fill(
            f"`vtab_suite.py`: {len(tasks)} tasks in the manner of VTAB-1k (Zhai et al., 2019) on `vit-tiny` at "
            f"{record['settings']['side']} pixels, "
            f"{len(rows)} rows, {sum(run['train_cpu_s'] for run in rows) / 3600:.1f} hours of one core in training. "
            f"Every row: {fit['steps']} steps of {fit['batch']} pictures; the learning rate of a method is the best of "
            f"three by the mean over {', '.join(record['settings']['tuned_on'])}, 800 pictures to train and 200 to "
            "choose, the same for all tasks; scales stay 1. Accuracy in "
            "percent, mean ± standard deviation over seeds; weights without the head. With so few steps on so small a "
            "backbone, compare within the table, not with published figures.",
            120,
        ),
        "",
        f"| method | trained weights | learning rate | CPU s a row | {' | '.join(tasks)} | mean | seeds |",
        "|---" * (len(tasks) + 6) + "|",
    ]
    for name, runs in record["runs"].items():
        of = accuracies(runs)
        cells = [spread([values[task] for values in of.values() if task in values]) for task in tasks]
        first, whole = next(iter(runs.values())), "-"
        if name in places:
            _, value, deviation = places[name]
            whole = f"{value:.1f} ± {deviation:.1f}" if deviation else f"{value:.1f}"
        seconds = mean(run["train_cpu_s"] for run in runs.values())
        lines.append(
            f"| {name} | {first['adapter']:,} | {first['lr']:g} | {seconds:.0f} | {' | '.join(cells)} | {whole} | "
            f"{len(seeds[name])} |"
        )
    lines += ["", f"![Mean accuracy against trained weights](reproductions/results/{PICTURE.name})", END]
    return "\n".join(lines)


def with_section(page: str, record: dict[str, Any]) -> str:
    """The page with the section in its place, or at its end."""
    if BEGIN not in page:
        return page.rstrip("\n") + "\n\n" + section(record) + "\n"
    head, rest = page.split(BEGIN, 1)
    return head + section(record) + rest.split(END, 1)[1]


def write_page(record: dict[str, Any]) -> None:
    """Write the section into REPRODUCTIONS.md, and the picture."""
    write_text(PAGE, with_section(PAGE.read_text(encoding="utf-8"), record))
    groups: dict[str, list[tuple[float, float, float]]] = {}
    for name, (weights, value, bar) in front(record).items():
        groups.setdefault(name.split(",")[0], []).append((weights or NONE, value, bar))
    if groups:
        points(
            PICTURE,
            groups,
            x=f"trained weights without the head ({NONE} stands for none)",
            y="mean accuracy over tasks, %",
            logarithmic=True,
            joined=True,
            front=True,
        )

"""The section of REPRODUCTIONS.md about Mixture of Nested Experts, made from its results file and nothing else.

Command: ``python reproductions/_mone_table.py`` writes the section anew.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from textwrap import fill
from typing import Any, NamedTuple

from _claims_table import spread, write_page

RESULTS = Path(__file__).parent / "results" / "mone_claims.json"
BEGIN, END = "<!-- mone_claims.json -->", "<!-- end of mone_claims.json -->"

# Title, arm, what it is run at, name of its milliseconds.
ROWS = (
    ("dense, width 96", "dense", "1.0", "dense"),
    ("dense, width 80", "dense 80", "1.0", "dense 80"),
    ("dense, width 64", "dense 64", "1.0", "dense 64"),
    ("dense, width 48", "dense 48", "1.0", "dense 48"),
    *((f"MoNE, e_c = {b}", f"mone {b}", f"{b}", f"nested {b}") for b in (0.8, 0.6, 0.4, 0.2)),
    *((f"MoNE, e_c = {b}, equal steps", f"mone {b}, equal steps", f"{b}", f"nested {b}") for b in (0.4, 0.2)),
    *((f"random router, e_c = {b}", f"random {b}", f"{b}", f"nested {b}") for b in (0.6, 0.4, 0.2)),
    *((f"MoNE {b}, router random in test", f"mone {b}", f"random {b}", f"nested {b}") for b in (0.6, 0.4, 0.2)),
    *((f"MatViT, width {int(96 * w)}", "matvit", f"{w}", f"widths {w}") for w in (0.5, 0.25, 0.125)),
    *((f"MatViT, width {int(96 * w)}, equal steps", "matvit, equal steps", f"{w}", f"widths {w}") for w in (0.5, 0.25)),
    *((f"ToMe on the dense model, as e_c = {b}", "dense", f"merging {b}", f"merging {b}") for b in (0.8, 0.6, 0.4)),
    ("ToMe, trained so, as e_c = 0.4", "merging 0.4", "0.4", "merging 0.4"),
    ("token dropping, as e_c = 0.4", "dropping 0.4", "0.4", "dropping 0.4"),
)
# The same, from one dense model.
TUNED_ROWS = (
    ("dense, width 96", "tuned dense", "1.0", "dense"),
    *((f"MoNE, e_c = {b}", f"tuned mone {b}", f"{b}", f"nested {b}") for b in (0.8, 0.6, 0.4, 0.2)),
    ("random router, e_c = 0.2", "tuned random 0.2", "0.2", "nested 0.2"),
    *((f"MoNE {b}, router random in test", f"tuned mone {b}", f"random {b}", f"nested {b}") for b in (0.6, 0.4, 0.2)),
    *(
        (f"ToMe on the dense model, as e_c = {b}", "tuned dense", f"merging {b}", f"merging {b}")
        for b in (0.8, 0.6, 0.4)
    ),
    ("ToMe, trained so, as e_c = 0.4", "tuned merging 0.4", "0.4", "merging 0.4"),
    ("token dropping, as e_c = 0.4", "tuned dropping 0.4", "0.4", "dropping 0.4"),
)
CURVES = (("one model for all budgets", "adaptive"), *((f"trained at {b}", f"mone {b}") for b in (0.2, 0.4, 0.6, 0.8)))
LOOKS = (("0.4", "mone 0.4"), ("0.6", "mone 0.6"), ("0.8", "mone 0.8"), ("all budgets, run at 0.4", "adaptive"))
TUNED_CURVES = (
    ("one model for all budgets", "tuned adaptive"),
    ("the same, all widths trained first", "tuned adaptive, widths first"),
    *((f"trained at {b}", f"tuned mone {b}") for b in (0.2, 0.4, 0.6, 0.8)),
)
CURVE = (0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 1.0)


class Claim(NamedTuple):
    """A difference in accuracy.

    Attributes:
        text: the claim.
        better, worse: arm, and what it is run at.
        published: what the paper says.
        least: the claim holds for a seed if the difference is above this (percentage points).
        of: the rest of a second difference that is subtracted, as (better, worse).
    """

    text: str
    better: tuple[str, str]
    worse: tuple[str, str]
    published: str
    least: float = 0.0
    of: tuple[tuple[str, str], tuple[str, str]] | None = None


CLAIMS = (
    Claim("equal accuracy at half the FLOPs: e_c = 0.4 within a point of the dense model", ("mone 0.4", "0.4"),
          ("dense", "1.0"), "equal at about half", -1.0),
    Claim("MoNE beats a dense model of its FLOPs (0.4, width 64)", ("mone 0.4", "0.4"), ("dense 64", "1.0"), "-"),
    Claim("... (0.2, width 48)", ("mone 0.2", "0.2"), ("dense 48", "1.0"), "-"),
    Claim("MoNE at 0.4 beats MatViT at fewer FLOPs (width 24)", ("mone 0.4", "0.4"), ("matvit", "0.25"),
          "clearly above (plot)"),
    Claim("... MatViT with equal steps", ("mone 0.4", "0.4"), ("matvit, equal steps", "0.25"), "-"),
    Claim("... and even at more (width 48)", ("mone 0.4", "0.4"), ("matvit, equal steps", "0.5"), "-"),
    Claim("MoNE beats ToMe without training at equal FLOPs, 0.4", ("mone 0.4", "0.4"), ("dense", "merging 0.4"), "-"),
    Claim("... trained ToMe", ("mone 0.4", "0.4"), ("merging 0.4", "0.4"), "-"),
    Claim("MoNE beats token dropping at equal FLOPs, 0.4", ("mone 0.4", "0.4"), ("dropping 0.4", "0.4"),
          "+0.7 (MoD's greedy rule, SSv2)"),
    Claim("a learned router beats a random one, 0.6", ("mone 0.6", "0.6"), ("random 0.6", "0.6"), "+0.1 (SSv2)"),
    Claim("... 0.2", ("mone 0.2", "0.2"), ("random 0.2", "0.2"), "+1.3 (SSv2)"),
    Claim("... and the gap grows from 0.6 to 0.2", ("mone 0.2", "0.2"), ("random 0.2", "0.2"), "+1.2",
          of=(("mone 0.6", "0.6"), ("random 0.6", "0.6"))),
    Claim("a random router in test only hurts, 0.4", ("mone 0.4", "0.4"), ("mone 0.4", "random 0.4"), "about +6"),
    *(
        Claim(f"one model for all budgets is within a point of its own model, {b} (unseen)", ("adaptive", f"{b}"),
              (f"mone {b}", f"{b}"), "close (plot)", -1.0)
        for b in (0.2, 0.4, 0.6, 0.8)
    ),
    Claim("an unseen budget is no worse than the next lower seen one (0.3 against 0.25)", ("adaptive", "0.3"),
          ("adaptive", "0.25"), "smooth (plot)", -1.0),
    Claim("isoFLOPs beats equal steps, 0.4", ("mone 0.4", "0.4"), ("mone 0.4, equal steps", "0.4"), "helps"),
    Claim("... 0.2, where it helps most", ("mone 0.2", "0.2"), ("mone 0.2, equal steps", "0.2"), "helps most"),
    Claim("a model trained at 0.8 falls when run at 0.2", ("mone 0.8", "0.8"), ("mone 0.8", "0.2"), "falls"),
)  # fmt: skip
TUNED_CLAIMS = (
    Claim("equal accuracy at half the FLOPs: e_c = 0.4 within a point of the dense model", ("tuned mone 0.4", "0.4"),
          ("tuned dense", "1.0"), "equal at about half", -1.0),
    Claim("... e_c = 0.6", ("tuned mone 0.6", "0.6"), ("tuned dense", "1.0"), "-", -1.0),
    Claim("MoNE beats ToMe without training at equal FLOPs, 0.4", ("tuned mone 0.4", "0.4"),
          ("tuned dense", "merging 0.4"), "-"),
    Claim("... trained ToMe", ("tuned mone 0.4", "0.4"), ("tuned merging 0.4", "0.4"), "-"),
    Claim("MoNE beats token dropping at equal FLOPs, 0.4", ("tuned mone 0.4", "0.4"), ("tuned dropping 0.4", "0.4"),
          "+0.7 (MoD's greedy rule, SSv2)"),
    Claim("a learned router beats a random one, 0.2", ("tuned mone 0.2", "0.2"), ("tuned random 0.2", "0.2"),
          "+1.3 (SSv2)"),
    *(
        Claim(f"one model for all budgets is within a point of its own model, {b} (unseen)",
              ("tuned adaptive", f"{b}"), (f"tuned mone {b}", f"{b}"), "close (plot)", -1.0)
        for b in (0.2, 0.4, 0.6, 0.8)
    ),
    Claim("an unseen budget is no worse than the next lower seen one (0.3 against 0.25)", ("tuned adaptive", "0.3"),
          ("tuned adaptive", "0.25"), "smooth (plot)", -1.0),
    Claim("training all widths first helps the one model (0.4)", ("tuned adaptive, widths first", "0.4"),
          ("tuned adaptive", "0.4"), "-"),
)  # fmt: skip


def values(record: dict[str, Any], arm: str, at: str, figure: str = "accuracy") -> dict[str, float]:
    """A figure of an arm by seed."""
    found = {}
    for name, run in record["runs"].items():
        if name.rpartition("/")[0] == arm:
            found[name.rpartition("/")[2]] = run[figure][at]
    return found


def on_digit(record: dict[str, Any], arm: str) -> dict[str, float]:
    """Of the patches on the full expert, the percent that lie on the digit, by seed."""
    runs = {name.rpartition("/")[::2]: run for name, run in record["runs"].items()}
    return {seed: run["on_digit"] for (name, seed), run in runs.items() if name == arm}


def differences(record: dict[str, Any], claim: Claim) -> list[float]:
    """The difference of a claim for each seed that has all its runs."""
    signed = [(1, claim.better), (-1, claim.worse)]
    if claim.of:
        signed += [(-1, claim.of[0]), (1, claim.of[1])]
    parts = [(sign, values(record, *place)) for sign, place in signed]
    seeds = sorted(set.intersection(*(set(part) for _, part in parts)))
    return [sum(sign * part[seed] for sign, part in parts) for seed in seeds]


def verdict(found: list[float], least: float) -> str:
    """``holds`` if every seed agrees, ``mixed`` if only their mean does, else ``does not hold``."""
    if all(value > least for value in found):
        return "holds"
    return "mixed" if mean(found) > least else "does not hold"


def _rows(record: dict[str, Any], rows: Sequence[tuple[str, str, str, str]]) -> list[str]:
    """A table of models: what they cost and what they reach."""
    runs, times = record["runs"], record["milliseconds"]
    lines = ["| model | M | ms | steps | accuracy |", "|---|---|---|---|---|"]
    for title, arm, at, timed in rows:
        found = values(record, arm, at)
        if not found:
            lines.append(f"| {title} | | {times[timed]:.2f} | | not run |")
            continue
        flops = next(iter(values(record, arm, at, "flops").values())) / 1e6
        steps = next(run["steps"] for name, run in runs.items() if name.rpartition("/")[0] == arm)
        lines.append(f"| {title} | {flops:.1f} | {times[timed]:.2f} | {steps} | {spread(found)} |")
    return lines


def _curves(record: dict[str, Any], curves: Sequence[tuple[str, str]]) -> list[str]:
    """A table of accuracies over budgets."""
    lines = [f"| run at e_c | {' | '.join(map(str, CURVE))} |", f"|---|{'---|' * len(CURVE)}"]
    for title, arm in curves:
        cells = [spread(values(record, arm, f"{budget}")) for budget in CURVE]
        lines.append(f"| {title} | {' | '.join(cells)} |")
    return lines


def _claims(record: dict[str, Any], claims: Sequence[Claim]) -> list[str]:
    """A table of claims, with what a verdict means above it."""
    lines = [
        "A claim holds if every seed agrees, and is mixed if only the mean does.",
        "",
        "| claim | difference in points, by seed | mean | published | verdict |",
        "|---|---|---|---|---|",
    ]
    for claim in claims:
        found = differences(record, claim)
        if found:
            by_seed = ", ".join(f"{value:+.1f}" for value in found)
            judged = verdict(found, claim.least) + ("" if len(found) > 1 else " (one seed)")
            cells = [claim.text, by_seed, f"{mean(found):+.1f}", claim.published, judged]
        else:
            cells = [claim.text, "not run", "", claim.published, ""]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def section(record: dict[str, Any]) -> str:
    """The section, markers included."""
    runs, size = record["runs"], record["settings"]
    seeds = sorted({name.rpartition("/")[2] for name in runs})
    cpu = sum(run["train_cpu_s"] + run["test_cpu_s"] for run in runs.values()) / 60
    lines = [
        BEGIN,
        "## Mixture of Nested Experts (Jain et al., NeurIPS 2024)",
        "",
        fill(
            f"`mone_claims.py`: {len(runs)} runs, seeds {', '.join(seeds)}, {cpu:.0f} minutes of one core. "
            f"Transformers of {size['depth']} blocks and width {size['width']} name a digit on a cluttered canvas of "
            "36 patches; every arm is trained from random weights with the multiply-adds of "
            f"{size['steps']} dense steps of {size['batch']}, unless it says equal steps. Accuracy in percent on "
            f"{size['tests']} canvases, mean ± standard deviation over seeds. M is million multiply-adds an image; ms "
            "is the median CPU time of an image in batches of 256, one thread, all models in one interleaved run. "
            "Models this narrow are bound by memory and by calls, so milliseconds fall less than FLOPs; "
            "`benchmarks/mone.py` measures the shape of ViT-B.",
            120,
        ),
        "",
        *_rows(record, ROWS),
        "",
        *_curves(record, CURVES),
    ]
    looks = [f"{spread(found)} % ({title})" for title, arm in LOOKS if (found := on_digit(record, arm))]
    if looks:
        lines += [
            "",
            fill(
                "A digit covers 4 of 36 patches (11 %). Of the patches on the full expert there lie on it, by what the "
                f"model was trained for: {', '.join(looks)}. At 0.2 no patch gets the full expert.",
                120,
            ),
        ]
    lines += ["", *_claims(record, CLAIMS)]
    if any(name.startswith("tuned") for name in runs):
        lines += [
            "",
            fill(
                "A second set-up, as users have it: each arm starts from one dense model of 1,200 steps and spends the "
                f"multiply-adds of {size['steps']} more, at half the learning rate.",
                120,
            ),
            "",
            *_rows(record, TUNED_ROWS),
            "",
            *_curves(record, TUNED_CURVES),
            "",
            *_claims(record, TUNED_CLAIMS)[2:],
        ]
    return "\n".join([*lines, END])


if __name__ == "__main__":
    write_page(section(json.loads(RESULTS.read_text(encoding="utf-8"))))

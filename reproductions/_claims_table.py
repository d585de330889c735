"""The section of REPRODUCTIONS.md about Streaming Dense Video Captioning, made from its results file and nothing else.

Command: ``python reproductions/_claims_table.py`` writes the section anew.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from statistics import mean, stdev
from textwrap import fill
from typing import Any, NamedTuple

PAGE = Path(__file__).resolve().parents[1] / "REPRODUCTIONS.md"
RESULTS = Path(__file__).parent / "results" / "streaming_claims.json"
BEGIN, END = "<!-- streaming_claims.json -->", "<!-- end of streaming_claims.json -->"

KINDS = {
    "kmeans": ("K-means", "30.6 / 30.4"),
    "temporal_pool": ("temporal pool", "- / 25.2"),
    "spatial_pool": ("spatial pool", "-"),
    "ema": ("moving average", "22.0 falling to 16.3"),
    "adjacent_merge": ("adjacent merge", "about 29, flat"),
    "none": ("none", "-"),
}
# Arm, decoding points in test, what it is called, published CIDEr.
ROWS = (
    ("kmeans-64", "1", "1 point in training, 1 in test", "30.6"),
    ("kmeans-64-longer", "1", "the same, 4 times the steps", "-"),
    ("kmeans-64-equal", "1", "1 point, without momentum", "29.7"),
    ("full", "2", "8 points in training, 2 in test, prefix of captions, random cut", "40.6"),
    ("full", "1", "the same, 1 point in test", "-"),
    ("full", "8", "the same, 8 points in test", "-"),
    ("no-prefix", "2", "without prefix", "23.1"),
    ("timed-prefix", "2", "prefix of captions and times", "39.3"),
    ("no-split", "2", "without random cut", "37.6"),
    ("no-split", "8", "without random cut, 8 points in test", "-"),
)


class Claim(NamedTuple):
    """A difference of one figure between two arms.

    Attributes:
        text: the claim.
        better: arm and decoding points in test.
        worse: arm and decoding points in test, subtracted.
        published: the difference in the paper.
        figure: what is compared.
        kind: ``more``: the difference should be above 0; ``less``: below; ``flat``: within a tenth of ``worse``.
    """

    text: str
    better: tuple[str, str]
    worse: tuple[str, str]
    published: str
    figure: str = "CIDEr"
    kind: str = "more"


CLAIMS = (
    Claim("K-means does not suffer from more frames (T = 256 against 16)", ("kmeans-256", "1"), ("kmeans-16", "1"),
          "-0.2 (128 against 64)", kind="flat"),
    Claim("a moving average suffers from more frames (256 against 16)", ("ema-256", "1"), ("ema-16", "1"), "-5.7",
          kind="less"),
    *(
        Claim(f"K-means beats {KINDS[kind][0]}, T = {t}", (f"kmeans-{t}", "1"), (f"{kind}-{t}", "1"), known)
        for t in (64, 256)
        for kind, known in (
            ("temporal_pool", "+5.2 (T = 128)"),
            ("ema", "+8.6 to +14.1"),
            ("adjacent_merge", "about +1.6"),
            ("spatial_pool", "-"),
        )
    ),
    Claim("momentum helps, T = 64", ("kmeans-64", "1"), ("kmeans-64-equal", "1"), "+0.9"),
    Claim("momentum helps, T = 256", ("kmeans-256", "1"), ("kmeans-256-equal", "1"), "-"),
    Claim("8 decoding points in training beat 1, equal steps", ("full", "2"), ("kmeans-64", "1"), "+10.0 (16 to 1)"),
    Claim("... and 1 with 4 times the steps", ("full", "2"), ("kmeans-64-longer", "1"), "-"),
    Claim("the prefix helps", ("full", "2"), ("no-prefix", "2"), "+17.5"),
    Claim("... and avoids repeated captions (a video)", ("full", "2"), ("no-prefix", "2"), "not given",
          figure="duplicates", kind="less"),
    Claim("times in the prefix hurt", ("full", "2"), ("timed-prefix", "2"), "+1.3"),
    Claim("the random cut of the prefix helps", ("full", "2"), ("no-split", "2"), "+3.0"),
)  # fmt: skip


def values(record: dict[str, Any], arm: str, points: str, figure: str) -> dict[str, float]:
    """A figure of an arm by seed."""
    return {
        name.rpartition("/")[2]: run["scores"][points][figure]
        for name, run in record["runs"].items()
        if name.rpartition("/")[0] == arm
    }


def differences(record: dict[str, Any], claim: Claim) -> list[float]:
    """The difference of a claim for each seed that both arms have."""
    better = values(record, *claim.better, claim.figure)
    worse = values(record, *claim.worse, claim.figure)
    return [better[seed] - worse[seed] for seed in sorted(better.keys() & worse.keys())]


def verdict(record: dict[str, Any], claim: Claim) -> str:
    """``holds`` if every seed agrees, ``mixed`` if only their mean does, else ``does not hold``."""
    found = differences(record, claim)
    if claim.kind == "flat":
        room = 0.1 * mean(values(record, *claim.worse, claim.figure).values())
        return "holds" if abs(mean(found)) <= room else "does not hold" if mean(found) < 0 else "rises"
    sign = -1 if claim.kind == "less" else 1
    if all(sign * value > 0 for value in found):
        return "holds"
    return "mixed" if sign * mean(found) > 0 else "does not hold"


def spread(found: dict[str, float]) -> str:
    """Mean and standard deviation over seeds."""
    if len(found) < 2:
        return " ".join(f"{value:.1f}" for value in found.values()) or "not run"
    return f"{mean(found.values()):.1f} ± {stdev(found.values()):.1f}"


def section(record: dict[str, Any]) -> str:
    """The section, markers included."""
    size, runs = record["settings"]["size"], record["runs"]
    seeds = sorted({name.rpartition("/")[2] for name in runs})
    cpu = sum(run["train_cpu_s"] + run["test_cpu_s"] for run in runs.values()) / 60
    lines = [
        BEGIN,
        "## Streaming Dense Video Captioning (Zhou et al., CVPR 2024)",
        "",
        fill(
            f"`streaming_claims.py`: {len(runs)} runs of the real model on synthetic videos of tokens, seeds "
            f"{', '.join(seeds)}, {cpu:.0f} minutes of one core. {size['train']} training and {size['test']} held-out "
            f"videos, {size['steps']} steps of {size['batch']} videos, K = {size['memory']}, {size['width']} channels; "
            "the script says how the task was chosen and how it departs from the paper. CIDEr is that of densevid, F1 "
            "is per video, both times 100; mean ± standard deviation over seeds. Published figures are of ActivityNet "
            "with the GIT form: only the direction can be compared.",
            120,
        ),
        "",
        "| memory (1 decoding point) | CIDEr, T = 16 | 64 | 256 | F1, T = 16 | 64 | 256 | bytes, T = 64 | 256 "
        "| published CIDEr, T = 64 / 128 |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for kind, (name, published) in KINDS.items():
        cells = [spread(values(record, f"{kind}-{t}", "1", f)) for f in ("CIDEr", "F1") for t in (16, 64, 256)]
        sizes = [
            next((f"{run['state_bytes']}" for key, run in runs.items() if key.startswith(f"{kind}-{t}/")), "not run")
            for t in (64, 256)
        ]
        lines.append(f"| {name} | {' | '.join(cells + sizes)} | {published} |")
    lines += ["", _use_of_memory(record["use_of_memory"], size["memory"])]
    lines += ["", "| T = 64, K-means | CIDEr | F1 | events | repeated | published CIDEr |", "|---|---|---|---|---|---|"]
    for arm, points, name, published in ROWS:
        cells = [spread(values(record, arm, points, f)) for f in ("CIDEr", "F1", "events", "duplicates")]
        lines.append(f"| {name} | {' | '.join(cells)} | {published} |")
    lines += [
        "",
        "Decoding points with nothing to say are left out of training, as in the released code, so with 8 points in",
        "test the model speaks at every point.",
        "",
        "A claim holds if every seed agrees, and is mixed if only the mean does; flat means within a tenth.",
        "",
        "| claim | difference, by seed | mean | published | verdict |",
        "|---|---|---|---|---|",
    ]
    for claim in CLAIMS:
        found = differences(record, claim)
        if found:
            by_seed = ", ".join(f"{value:+.1f}" for value in found)
            cells = [claim.text, by_seed, f"{mean(found):+.1f}", claim.published, verdict(record, claim)]
        else:
            cells = [claim.text, "not run", "", claim.published, ""]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, END])


def _use_of_memory(use: dict[str, dict[str, float]], size: int) -> str:
    """What the memories do with their tokens."""

    def row(kind: str, figure: str, digits: int) -> str:
        return ", ".join(f"{use[f'{kind}-{t}'][figure]:.{digits}f}" for t in (16, 64, 256))

    return fill(
        f"K-means falls with T here. A likely reason: its centres begin as the tokens of the first {size // 6} frames, "
        "which are 8, 2 and 0.5 s of the 32 s and mostly alike, and a centre that no new token is nearest to stays "
        f"where it is. Of its {size} centres, {row('kmeans', 'in_use', 1)} stand for a hundredth of the tokens or more "
        f"at T = 16, 64, 256 ({row('adjacent_merge', 'in_use', 1)} with adjacent merge); the mean squared distance of "
        f"what was shown to the nearest memory token is {row('kmeans', 'error', 2)} "
        f"({row('adjacent_merge', 'error', 2)}). A frame of the paper has 257 unlike tokens, one of the toy has three. "
        "Spatial pooling loses little here, and it is not bounded: its state grows with T.",
        120,
    )


def put(page: str, text: str) -> str:
    """The page with a section, whose first and last lines are markers, in its place, or at its end."""
    begin, end = text.splitlines()[0], text.splitlines()[-1]
    if begin not in page:
        return page.rstrip("\n") + "\n\n" + text + "\n"
    head, rest = page.split(begin, 1)
    return head + text + rest.split(end, 1)[1]


def with_section(page: str, record: dict[str, Any]) -> str:
    """The page with the section in its place, or at its end."""
    return put(page, section(record))


def write_page(text: str) -> None:
    """Write a section into REPRODUCTIONS.md."""
    part = PAGE.with_name(PAGE.name + ".part")
    part.write_text(put(PAGE.read_text(encoding="utf-8"), text), encoding="utf-8")
    os.replace(part, PAGE)


def write_section(record: dict[str, Any]) -> None:
    """Write the section into REPRODUCTIONS.md."""
    write_page(section(record))


if __name__ == "__main__":
    write_section(json.loads(RESULTS.read_text(encoding="utf-8")))

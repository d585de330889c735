"""Time and figures of METEOR, CIDEr and the Penn Treebank tokeniser, here and in pycocoevalcap (Java, Python, Java).

Run: python benchmarks/meteor.py [--captions coco_captions.jsonl.gz] [--images 1000] [--rounds 3] [--out FILE.json]
Needs: the extra ``meteor``, ``java``, Linux (the processor time of a running program). Cost: two minutes on one core.
The file holds lines {"captions": [text, ...]}: the first caption of an image is scored against the others; every second
image gets the caption of its neighbour. Each side is measured in a process of its own, in turns:
the tables of METEOR are in the cache folder (a first run is timed apart), nothing else is warm. Times are wall and
processor seconds of the process with its children, the medians of the rounds.
"""

from __future__ import annotations

import argparse
import gzip
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


class Clock:
    """Wall and processor seconds since the last look.

    Attributes:
        child: process number of a program that is running, whose processor time counts as well.
    """

    def __init__(self) -> None:
        self.child: int | None = None
        self._last = self._now()

    def look(self) -> tuple[float, float]:
        """Wall and processor seconds."""
        now, last = self._now(), self._last
        self._last = now
        return now[0] - last[0], now[1] - last[1]

    def _now(self) -> tuple[float, float]:
        used = sum(os.times()[:4])
        if self.child is not None:
            fields = Path(f"/proc/{self.child}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()
            used += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        return time.perf_counter(), used


def read(path: Path, images: int) -> tuple[list[str], list[list[str]]]:
    """Candidates and references as written."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        groups = [json.loads(line)["captions"] for line, _ in zip(lines, range(images))]
    said = [groups[place - place % 2][0] for place in range(len(groups))]
    return said, [group[1:] for group in groups]


def measure_ours(said: list[str], wanted: list[list[str]], clock: Clock, note: Callable[[str], None]) -> dict[str, Any]:
    """Times and figures of this library."""
    from whenwhere.metrics.cider import cider
    from whenwhere.metrics.meteor import meteor
    from whenwhere.metrics.ptb import tokenize

    note("import")
    said, wanted = [tokenize(text) for text in said], [[tokenize(text) for text in group] for group in wanted]
    note("tokens")
    meteor(["a"], [["a"]])
    note("meteor start")
    lexical = meteor(said, wanted)
    note("meteor")
    agreement = cider(said, wanted)
    note("cider")
    figures = {"METEOR": [lexical.corpus, *lexical.items], "CIDEr": [agreement.corpus, *agreement.items]}
    return {"figures": figures, "tokens": [said, wanted]}


def measure_theirs(
    said: list[str], wanted: list[list[str]], clock: Clock, note: Callable[[str], None]
) -> dict[str, Any]:
    """Times and figures of pycocoevalcap."""
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.meteor.meteor import Meteor
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    note("import")
    both = [{place: [text] for place, text in enumerate(said)}, dict(enumerate(wanted))]
    guesses, truth = (
        PTBTokenizer().tokenize({place: [{"caption": text} for text in group] for place, group in side.items()})
        for side in both
    )
    note("tokens")
    program = Meteor()
    clock.child = program.meteor_p.pid
    program.compute_score({0: ["a"]}, {0: ["a"]})
    note("meteor start")
    lexical = program.compute_score(truth, guesses)
    note("meteor")
    clock.child = None
    clock.look()
    agreement = Cider().compute_score(truth, guesses)
    note("cider")
    figures = {name: [found[0], *found[1]] for name, found in (("METEOR", lexical), ("CIDEr", agreement))}
    return {"figures": figures, "tokens": [[guesses[place][0] for place in guesses], list(truth.values())]}


def one(side: str, path: Path, images: int) -> dict[str, Any]:
    """One side in this very process."""
    said, wanted = read(path, images)
    times: dict[str, tuple[float, float]] = {}
    clock = Clock()

    def note(name: str) -> None:
        times[name] = clock.look()

    found = {"ours": measure_ours, "theirs": measure_theirs}[side](said, wanted, clock, note)
    start, rest = times["meteor start"], times["meteor"]
    times["meteor with start"] = start[0] + rest[0], start[1] + rest[1]
    return {"times": times, **found}


def differences(ours: dict[str, Any], theirs: dict[str, Any]) -> dict[str, Any]:
    """How far the figures are apart."""
    table: dict[str, Any] = {}
    for name in ("METEOR", "CIDEr"):
        apart = [abs(left - right) for left, right in zip(ours["figures"][name], theirs["figures"][name], strict=True)]
        table[name] = {
            "corpus here": ours["figures"][name][0],
            "corpus": apart[0],
            "largest of items": max(apart[1:]),
            "items above 1e-9": sum(value > 1e-9 for value in apart[1:]),
            "items": len(apart) - 1,
        }
    flat = [
        [*said, *(text for group in wanted for text in group)] for said, wanted in (ours["tokens"], theirs["tokens"])
    ]
    table["captions with other tokens"] = sum(left != right for left, right in zip(*flat, strict=True))
    table["captions"] = len(flat[0])
    return table


def main() -> None:
    """Measure both sides in turns and write times, ratios and differences."""
    parser = argparse.ArgumentParser(description=__doc__)
    shared = Path(os.environ.get("WHENWHERE_SHARED", "../shared"))
    parser.add_argument("--captions", type=Path, default=shared / "data" / "text" / "coco_captions.jsonl.gz")
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "meteor.json")
    parser.add_argument("--one", choices=("ours", "theirs"), help="measure one side and print it")
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(one(arguments.one, arguments.captions, arguments.images)))
        return

    with tempfile.TemporaryDirectory() as cache:
        command = [sys.executable, __file__, "--captions", str(arguments.captions), "--images", str(arguments.images)]
        environment = {**os.environ, "WHENWHERE_CACHE": cache}

        def run(side: str) -> dict[str, Any]:
            done = subprocess.run(
                [*command, "--one", side], capture_output=True, text=True, check=True, env=environment
            )
            return json.loads(done.stdout)

        first = run("ours")["times"]["meteor start"]
        runs = [(run("ours"), run("theirs")) for _ in range(arguments.rounds)]
    times = {
        side: {
            step: [round(statistics.median(pair[place]["times"][step][kind] for pair in runs), 3) for kind in (0, 1)]
            for step in runs[0][place]["times"]
        }
        for place, side in enumerate(("here", "pycocoevalcap"))
    }
    steps = ("tokens", "meteor with start", "meteor", "cider")
    result = {
        "about": {
            "python": platform.python_version(),
            "pycocoevalcap": importlib.metadata.version("pycocoevalcap"),
            "images": arguments.images,
            "rounds": arguments.rounds,
            "machine": f"{platform.machine()}, {os.cpu_count()} cores",
            "times": "[wall, processor] seconds, medians",
        },
        "tables of METEOR, first run": [round(value, 3) for value in first],
        "seconds": times,
        "times faster": {
            step: [round(theirs / ours, 2) for ours, theirs in zip(times["here"][step], times["pycocoevalcap"][step])]
            for step in steps
        },
        "differences": differences(*runs[-1]),
    }
    arguments.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()

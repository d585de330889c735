"""Time of METEOR here, against the Java program that pycocoevalcap runs.

Run: python benchmarks/meteor.py --captions coco_captions.jsonl.gz [--images 500] [--out benchmarks/results/meteor.json]
Needs: the extra ``meteor``, and ``java``. Cost: a minute or two on one core.
The file holds lines {"captions": [text, ...]}: the first caption of an image is scored against the others. Each side is
measured in a process of its own, as a user meets it: start-up, first scores, and the same captions scored again.
"""

from __future__ import annotations

import argparse
import gzip
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def read(path: Path, images: int) -> tuple[list[str], list[list[str]]]:
    """Tokenised candidates and references."""
    from whenwhere.metrics.ptb import tokenize

    with gzip.open(path, "rt", encoding="utf-8") as lines:
        groups = [[tokenize(text) for text in json.loads(line)["captions"]] for line, _ in zip(lines, range(images))]
    return [group[0] for group in groups], [group[1:] for group in groups]


def measure(side: str, path: Path, images: int) -> dict[str, float]:
    """Seconds of one side in this very process, and its corpus figure."""
    said, wanted = read(path, images)
    half = len(said) // 2
    start = time.perf_counter()
    if side == "java":
        from pycocoevalcap.meteor.meteor import Meteor

        program = Meteor()

        def score(first: int, last: int) -> float:
            chosen = range(first, last)
            return program.compute_score({i: wanted[i] for i in chosen}, {i: [said[i]] for i in chosen})[0]
    else:
        from whenwhere.metrics.meteor import meteor

        def score(first: int, last: int) -> float:
            return meteor(said[first:last], wanted[first:last]).corpus

    score(0, 1)
    started = time.perf_counter()
    score(0, half)  # warms up: the compiler there, the caches of words here
    warm = time.perf_counter()
    score(half, len(said))
    end = time.perf_counter()
    return {
        "start_seconds": started - start,
        "whole_seconds": end - start,
        "warm_milliseconds_an_item": 1e3 * (end - warm) / (len(said) - half),
        "corpus": score(0, len(said)),
    }


def main() -> None:
    """Measure a first run with an empty cache, later runs, and Java, and write the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    shared = Path(os.environ.get("WHENWHERE_SHARED", "../shared"))
    parser.add_argument("--captions", type=Path, default=shared / "data" / "text" / "coco_captions.jsonl.gz")
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "meteor.json")
    parser.add_argument("--one", choices=("java", "python"), help="measure one side and print it")
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measure(arguments.one, arguments.captions, arguments.images)))
        return

    def other(side: str, cache: str) -> dict[str, float]:
        command = [sys.executable, __file__, "--captions", str(arguments.captions), "--images", str(arguments.images)]
        environment = {**os.environ, "WHENWHERE_CACHE": cache}
        done = subprocess.run([*command, "--one", side], capture_output=True, text=True, check=True, env=environment)
        return json.loads(done.stdout)

    with tempfile.TemporaryDirectory() as cache:
        first, later, java = other("python", cache), other("python", cache), other("java", cache)
    result = {
        "about": {
            "python": platform.python_version(),
            "pycocoevalcap": importlib.metadata.version("pycocoevalcap"),
            "images": arguments.images,
            "machine": platform.machine(),
        },
        "first_run": first,
        "later_run": later,
        "java": java,
        "times_faster_with_start": java["whole_seconds"] / later["whole_seconds"],
        "times_faster_without_start": java["warm_milliseconds_an_item"] / later["warm_milliseconds_an_item"],
    }
    arguments.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()

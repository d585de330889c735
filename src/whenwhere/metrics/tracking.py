"""Score the tracks of a tracker from files: HOTA, CLEAR MOT and identity scores, with intervals over videos."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from whenwhere.errors import WhenwhereError
from whenwhere.metrics.bootstrap import intervals
from whenwhere.metrics.clear_mot import clear_mot
from whenwhere.metrics.hota import hota
from whenwhere.metrics.identity import identity
from whenwhere.metrics.result import Result
from whenwhere.metrics.track_files import read_mot
from whenwhere.metrics.tracks import Detections


def tracking(sequences: Mapping[str, tuple[Detections, Detections]]) -> dict[str, Result]:
    """All tracking scores of the same videos: ``{"HOTA": ..., "CLEAR": ..., "identity": ...}``.

    Args:
        sequences: by video, ``(truth, prediction)``.

    Raises:
        InputError: if there is no video.
    """
    return {"HOTA": hota(sequences), "CLEAR": clear_mot(sequences), "identity": identity(sequences)}


def report(results: Mapping[str, Result], *, ci: bool = False, samples: int = 1000, seed: int = 0) -> dict[str, Any]:
    """Results as they are written to JSON: convention, counts, figures, what was left out and, if asked, intervals.

    Args:
        results: by name.
        ci: whether to add 95 % intervals from resampling the items.
        samples: number of resamples.
        seed: of the resampling.

    Raises:
        InputError: intervals of fewer than two items.
    """
    told: dict[str, Any] = {}
    for name, result in results.items():
        told[name] = {
            "convention": result.convention,
            "counts": dict(result.counts),
            "left_out": dict(result.left_out),
            "figures": {figure: _json_number(value) for figure, value in result.figures().items()},
        }
        if ci:
            ends = intervals(result, samples=samples, seed=seed).items()
            told[name]["intervals"] = {figure: [_json_number(end) for end in pair] for figure, pair in ends}
    return told


def main(arguments: Sequence[str]) -> int:
    """Score MOTChallenge files: ``python -m whenwhere.metrics.tracking TRUTH PREDICTIONS [--ci]`` prints JSON."""
    parser = argparse.ArgumentParser(prog="python -m whenwhere.metrics.tracking", description=__doc__)
    parser.add_argument("truth", help="a file, or a folder of <video>.txt or <video>/gt/gt.txt")
    parser.add_argument("predictions", help="a file, or a folder of <video>.txt")
    parser.add_argument("--ci", action="store_true", help="add 95%% intervals over videos")
    parser.add_argument("--samples", type=int, default=1000, help="resamples for the intervals")
    parser.add_argument("--seed", type=int, default=0, help="of the resampling")
    try:
        options = parser.parse_args(arguments)
    except SystemExit as stop:
        return int(stop.code or 0)
    try:
        results = tracking(read_mot(options.truth, options.predictions))
        told = report(results, ci=options.ci, samples=options.samples, seed=options.seed)
    except WhenwhereError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(json.dumps(told, indent=1, allow_nan=False))
    return 0


def _json_number(value: float) -> float | None:
    return value if value == value else None  # JSON has no NaN


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

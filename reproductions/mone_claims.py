"""Do the claims of Mixture of Nested Experts (Jain et al., NeurIPS 2024) hold at small scale?

Command: ``python reproductions/mone_claims.py [--arms NAME ...] [--seeds 0 1 2]``
Cost: about a minute of one core for each of 84 runs. A run that is done is in the results at once, and a second call
goes on with those that are missing; results of another version of the task are refused, not mixed.

The task is to name a digit somewhere on a cluttered canvas (``_cluttered_digits.py``); the models are small vision
transformers of 36 tokens, all from random weights (``_nested_arms.py``). The training budget was settled with the dense
model alone in view: 300 steps bring it to about 70 % where 10 % is chance, so there is room both ways. Every arm is
trained with as many multiply-adds as those 300 steps take (the paper's isoFLOPs); the arms "equal steps" are not. The
arms "tuned" start from one dense model of 1,200 steps and spend the same again as the others at half the learning rate.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from _claims_table import write_page
from _mone_table import section
from _nested_arms import Arm, Size, milliseconds, run
from _record import read_record, write_record

OUT = Path(__file__).parent / "results" / "mone_claims.json"

PACKAGES = ("torch", "numpy", "scikit-learn")

TUNED: dict[str, Any] = {"start": 1200, "lr": 7.5e-4}

ARMS = {
    "dense": Arm("dense"),
    "mone 0.4": Arm("nested", 0.4),
    "mone 0.2": Arm("nested", 0.2),
    "adaptive": Arm("nested", None),
    "dense 64": Arm("dense", width=64),
    "dense 48": Arm("dense", width=48),
    "random 0.2": Arm("nested", 0.2, random=True),
    "random 0.4": Arm("nested", 0.4, random=True),
    "merging 0.4": Arm("merging", 0.4),
    "dropping 0.4": Arm("dropping", 0.4),
    "matvit": Arm("widths"),
    "mone 0.6": Arm("nested", 0.6),
    "mone 0.8": Arm("nested", 0.8),
    "mone 0.4, equal steps": Arm("nested", 0.4, equal_steps=True),
    "mone 0.2, equal steps": Arm("nested", 0.2, equal_steps=True),
    "random 0.6": Arm("nested", 0.6, random=True),
    "dense 80": Arm("dense", width=80),
    "matvit, equal steps": Arm("widths", equal_steps=True),
    "tuned dense": Arm("dense", **TUNED),
    "tuned mone 0.4": Arm("nested", 0.4, **TUNED),
    "tuned adaptive": Arm("nested", None, **TUNED),
    "tuned mone 0.2": Arm("nested", 0.2, **TUNED),
    "tuned adaptive, widths first": Arm("nested", None, widths_first=0.1, **TUNED),
    "tuned merging 0.4": Arm("merging", 0.4, **TUNED),
    "tuned dropping 0.4": Arm("dropping", 0.4, **TUNED),
    "tuned mone 0.6": Arm("nested", 0.6, **TUNED),
    "tuned mone 0.8": Arm("nested", 0.8, **TUNED),
    "tuned random 0.2": Arm("nested", 0.2, random=True, **TUNED),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is missing, and write the results and the section of REPRODUCTIONS.md."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--arms", nargs="+", choices=list(ARMS), default=list(ARMS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--time", action="store_true", help="measure the milliseconds again")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)  # sums come out the same everywhere
    size = Size()
    record = read_record(options.out, dataclasses.asdict(size))
    if options.time or "milliseconds" not in record:
        record["milliseconds"] = milliseconds(size, rounds=15)
        write_record(record, options.out, PACKAGES)
    for seed in options.seeds:
        for name in options.arms:
            if f"{name}/{seed}" in record["runs"]:
                continue
            record["runs"][f"{name}/{seed}"] = result = run(ARMS[name], size, seed)
            write_record(record, options.out, PACKAGES)
            print(name, seed, f"{result['train_cpu_s']:.0f} s", json.dumps(result["accuracy"]), flush=True)
    if options.out == OUT:
        write_page(section(record))


if __name__ == "__main__":
    main()

"""Do the claims of "Towards Optimal Adapter Placement" (Nowak et al., 2024) hold for a small vision transformer?

Command: ``python reproductions/placement_claims.py [--tasks location cifar10 count digits] [--minutes M]``
Cost: with a backbone of 6 blocks 656 runs of 5 to 25 s of one core. A run that is done is in the results at once, and
a second call goes on with those that are missing, so two may run side by side, each with its own ``--tasks``; results
of other settings are refused, not mixed. ``--only-table`` writes section and heat maps anew.

The backbone is ``vit-tiny`` with its position embeddings resampled to pictures of 64 pixels, so that a run takes
seconds. Tasks: two of ``whenwhere.worlds.structured`` (how many objects; the column of a sprite), CIFAR-10 mini, which
lies outside of the repository (see CONTRIBUTING), and the digits of scikit-learn. 400 training pictures each, 200 to
choose by, 1000 to test. The learning rate is chosen for each task on the 200, with adapters at all parallel edges, and
is then the same for all placements. Sets of random edges are compared by the best of the 200 pictures.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import platform
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from tempfile import gettempdir
from typing import Any

import numpy as np
import torch
from _placement_runs import (
    RATES,
    TASKS,
    Arm,
    Size,
    Task,
    first_arms,
    guided_arms,
    make_task,
    measure,
    shared_folder,
    small_backbone,
    train,
)
from _placement_table import draw_maps, write_section
from filelock import FileLock

from whenwhere.adapt.gradient_rank import SCORES
from whenwhere.backbones.vision import Backbone
from whenwhere.results.files import write_text

OUT = Path(__file__).parent / "results" / "placement_claims.json"
GROUPS = ("rates", "scores", "baselines", "guided", "noise", "few", "single", "sets")


def settings(size: Size, backbone: Backbone) -> dict[str, Any]:
    """What decides the results besides task and arm."""
    return {"size": dataclasses.asdict(size), "backbone": backbone.name, "fingerprint": backbone.fingerprint()}


def read(out: Path, new: dict[str, Any]) -> dict[str, Any]:
    """The results so far; a new record if there are none.

    Raises:
        SystemExit: the file holds results of other settings.
    """
    if not out.exists():
        return {"settings": new, "tasks": {}}
    record = json.loads(out.read_text(encoding="utf-8"))
    if record["settings"] != new:
        raise SystemExit(f"{out} holds results of other settings: move it away, or give --out")
    return record


def add(out: Path, new: dict[str, Any], name: str, **found: Any) -> dict[str, Any]:
    """Add runs or other fields to what the file has of a task by now: several calls may run side by side.

    Returns:
        The record as it then is.
    """
    with FileLock(Path(gettempdir()) / f"{out.stem}.lock"):
        record = read(out, new)
        task = record["tasks"].setdefault(name, {"runs": {}})
        task["runs"].update(found.pop("runs", {}))
        task.update(found)
        record["tasks"] = {task: record["tasks"][task] for task in TASKS if task in record["tasks"]}
        write(record, out)
    return record


def write(record: dict[str, Any], out: Path) -> None:
    """Write whole or not at all, a line for each run."""
    record["versions"] = {name: version(name) for name in ("torch", "timm", "numpy")}
    record["machine"] = f"{platform.machine()}, {torch.get_num_threads()} thread"
    head = {name: record[name] for name in ("settings", "versions", "machine")}
    lines = [f"{json.dumps(name)}: {json.dumps(value)}" for name, value in head.items()]
    tasks = []
    for name, task in record["tasks"].items():
        runs = ",\n   ".join(f"{json.dumps(run)}: {json.dumps(found)}" for run, found in task["runs"].items())
        rest = "".join(f",\n  {json.dumps(key)}: {json.dumps(value)}" for key, value in task.items() if key != "runs")
        tasks.append(f'{json.dumps(name)}: {{"runs": {{\n   {runs}}}{rest}}}')
    lines.append('"tasks": {' + ",\n ".join(tasks) + "}")
    write_text(out, "{" + ",\n ".join(lines) + "}\n")


def scored(task: Task) -> dict[str, Any]:
    """Scores of all edges, as plain lists of short numbers."""
    began, gradients = time.process_time(), measure(task)

    def plain(table: np.ndarray) -> list[list[float]]:
        return [[float(f"{value:.4g}") for value in row] for row in table.tolist()]

    tables = {name: plain(gradients.score(name)) for name in SCORES}
    tables |= {f"rank {rtol:g}": plain(gradients.score("rank", rtol)) for rtol in (1e-4, 1e-2)}
    cpu = round(time.process_time() - began, 1)
    return {"tables": tables, "images": gradients.images, "cpu_s": cpu}


def chosen_rate(found: dict[str, Any]) -> float:
    """The learning rate that is best in validation with adapters at all parallel edges."""
    if any(f"rate {rate:g}" not in found["runs"] for rate in RATES):
        raise SystemExit("the learning rate of a task is not chosen yet: run the group rates first")
    return max(RATES, key=lambda rate: found["runs"][f"rate {rate:g}"]["val"])


def missing_arms(group: str, nodes: int, found: dict[str, Any]) -> dict[str, Arm | None]:
    """The arms of a group that a task has no run of; None stands for the scores."""
    if group == "scores":
        return {} if "scores" in found else {"scores": None}
    if group == "guided":
        if "scores" not in found:
            raise SystemExit("a task has no scores yet: run the group scores first")
        arms = guided_arms(nodes, np.array(found["scores"]["tables"]["rank"]))
    else:
        arms = first_arms(nodes)[group]
    return {name: arm for name, arm in arms.items() if name not in found["runs"]}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is missing, and write the results, the section of REPRODUCTIONS.md and the heat maps."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--groups", nargs="+", choices=GROUPS, default=list(GROUPS), help="in this order")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop after the run that passes them")
    parser.add_argument("--backbone", default="vit-tiny", help="another one for a trial, with --out")
    parser.add_argument("--shared", type=Path, default=shared_folder(), help="folder that holds cifar10_mini")
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--only-table", action="store_true")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)  # sums come out the same everywhere
    size, until = Size(), time.monotonic() + 60 * options.minutes
    backbone = small_backbone(options.backbone, size.side)
    nodes, new, tasks = 2 * backbone.depth + 1, settings(size, backbone), {}
    record = read(options.out, new)
    for group in [] if options.only_table else options.groups:
        for name in options.tasks:
            found = record["tasks"].get(name, {"runs": {}})
            if time.monotonic() > until:
                break
            for key, arm in missing_arms(group, nodes, found).items():
                if time.monotonic() > until:
                    break
                if name not in tasks:
                    tasks[name] = make_task(name, backbone, size, options.shared)
                if arm is None:
                    record = add(options.out, new, name, scores=scored(tasks[name]))
                else:
                    rate = arm.rate or chosen_rate(found)
                    run = {"edges": arm.edges, "rate": rate, **train(tasks[name], arm, rate)}
                    record = add(options.out, new, name, runs={key: run})
                    print(name, key, json.dumps(run), flush=True)
    if options.out == OUT:
        write_section(record)
        draw_maps(record, OUT.parent)


if __name__ == "__main__":
    main()

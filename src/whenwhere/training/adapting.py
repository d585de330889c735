"""From labelled files to an adapter: read, cache what the frozen backbone gives, train, test, and write it all down.

This is what ``whenwhere adapt`` runs. One folder holds a run: ``recipe.json`` (what was asked for), ``run`` (its
checkpoints, from which it goes on to the bit after a kill), and at the end the adapter with its results.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch

from whenwhere import __version__
from whenwhere.adapt.adapted import Adapted
from whenwhere.adapt.methods import load_adapted
from whenwhere.adapt.placement_file import Placement
from whenwhere.backbones.vision import Backbone, vision
from whenwhere.datasets.labelled_files import Example, LabelledFiles, repeated
from whenwhere.errors import InputError
from whenwhere.layers.persistence import read_json
from whenwhere.reports import adapted as report
from whenwhere.training.adapt_content import fingerprint, hashes_of, in_order
from whenwhere.training.adapt_recipe import (
    RUN,
    AdaptRecipe,
    begun,
    check_folder,
    claim,
    settle,
    settled,
    settled_feed,
    unclaim,
)
from whenwhere.training.adapt_stores import Labelled, States, examine, pieces, store_for
from whenwhere.training.checkpoint import newest_checkpoint
from whenwhere.training.config import FitConfig
from whenwhere.training.data import Batches
from whenwhere.training.fit import fit
from whenwhere.training.threads import idle_threads, threads_put_back
from whenwhere.training.trained import ADAPTER, Progress, Tell, Tested, left_out, undecodable

_TWINS = 3  # pairs told
_POINTS = 60  # of a curve


@dataclass(frozen=True)
class AdaptResult:
    """How a run ended.

    Args:
        model: the adapter on its backbone, ready to predict.
        folder: what was written.
        accuracy: share of the test examples that are right, 0..1.
        interval: its 95 % interval.
        tested: number of test examples.
        seconds: of this start: reading and caching, training, testing; empty if the run had ended before.
        cached: examples found in the cache, and all; (0, 0) if there was none.
        clips: whether it was trained on clips, not on pictures.
    """

    model: Adapted
    folder: Path
    accuracy: float
    interval: tuple[float, float]
    tested: int
    seconds: dict[str, float]
    cached: tuple[int, int]
    clips: bool = False


@threads_put_back()
def adapt_files(
    data: LabelledFiles,
    recipe: AdaptRecipe,
    folder: str | os.PathLike[str],
    *,
    placement: Placement | None = None,
    cache: str | os.PathLike[str] | None = None,
    strict: bool = False,
    device: str = "auto",
    tell: Tell = lambda line: None,
    progress: Progress = lambda done, of, what: None,
) -> AdaptResult:
    """Train an adapter on labelled files, or go on with a run that was interrupted: the same call does both.

    A run whose results are there is not touched again; its figures are returned.

    Args:
        data: with a "train" split, and a "test" split.
        recipe: what to train.
        folder: of the run; new, empty, or of the same recipe and data, wherever these lie by now.
        placement: that the edges in the recipe were taken from; it is compared with the backbone.
        cache: folder in which the frozen backbone's states are kept for this and later runs. None, or a disk without
            room for them (which is told): they are computed from the pictures in every step, and nothing is written.
            Methods that train through the backbone do not use it.
        device: "cpu", "cuda", or "auto", which is "cuda" where it is there. A run may go on on another one.
        strict: refuse files that cannot be decoded; else they are left out and told.
        tell: called with lines for a person.
        progress: called with (done, of, what) while files are read and tested.

    Returns:
        The adapter and its figures. The folder then has ``adapter`` (weights and config), ``card.md``,
        ``metrics.json``, ``predictions.jsonl``, ``confusion.png`` and ``curves.png``.

    Raises:
        InputError: the folder holds something else, or data or recipe cannot be used.
        WeightsError: weights that cannot be had.
    """
    folder = Path(folder)
    started = time.perf_counter()
    computing = _device(device)
    check_folder(folder, recipe, data)
    if not data.of("test"):
        raise InputError(
            f"{data.source} has no test examples",
            "a test split, or, with neither val nor test, two or more files of a class to hold some out",
        )
    for note in data.notes:
        tell(note)

    # 1. The backbone, and what it makes of the examples.
    backbone = vision(recipe.backbone, size=recipe.size)
    if placement is not None:
        placement.config(backbone)
    model = recipe.build(backbone.to(computing), data.classes).to(computing)
    everything, made = in_order(data), not folder.exists()
    hashes, bad = hashes_of(everything, progress)
    claim(folder, recipe, data, fingerprint(everything, hashes))
    ended = _ended(folder, backbone, data.has_videos, tell)
    if ended is not None:
        return ended
    threads, most = settled(folder, "threads") or idle_threads(), torch.get_num_threads()
    if threads < most:
        tell(f"{threads} of {most} threads are used, as many as were idle when the run began")
    torch.set_num_threads(threads)
    views = recipe.cuts()
    place = Path(cache).expanduser() if cache else None
    store, why = store_for(model, recipe.frames, views, place, hashes, settled_feed(folder))
    if why:
        tell(why)
    bad += store.take(hashes, progress)
    if bad and (strict or len(bad) == len(everything)):
        unclaim(folder, made)
        todo = f"take {'them' if len(bad) > 1 else 'it'} out, or do without --strict" if strict else ""
        raise InputError(f"stopped: {undecodable(bad)}", "files that decode", todo)
    lost = {example for example, _ in bad}
    examples = {
        split: [example for example in data.of(split) if example not in lost] for split in ("train", "val", "test")
    }
    examples = {split: members for split, members in examples.items() if members}
    if bad:
        tell(f"{left_out(bad)}; that leaves {' and '.join(f'{len(some)} {name}' for name, some in examples.items())}")
    _tell_twins(examples, hashes, tell)
    if "train" not in examples or "test" not in examples:
        unclaim(folder, made)
        raise InputError(f"{data.source}: no usable examples to {'test on' if 'train' in examples else 'train on'}")
    in_test = {example.label for example in examples["test"]}
    untested = [name for name in data.classes if name not in in_test]
    if untested:
        tell(report.without_test(untested))
    prepared = time.perf_counter()

    # 2. Training.
    train, seen = examples["train"], examples.get("val") or examples["test"]
    batch = min(recipe.batch, len(train))
    steps = max(1, recipe.epochs * len(train) // batch)
    cut = settled(folder, "pieces") or pieces(model, store, train[0], batch)
    settle(folder, pieces=cut, threads=threads, fed="states" if isinstance(store, States) else "pixels")
    if cut > 1:
        tell(f"memory allows {batch // cut} examples at a time, so a step of {batch} is made of {cut} pieces")
    config = FitConfig(
        steps=steps,
        batch=batch,
        lr=recipe.lr,
        warmup=min(steps - 1, steps // 10),
        schedule="cosine",
        weight_decay=recipe.weight_decay,
        seed=recipe.seed,
        accumulate=cut,
        log_every=max(1, steps // 200),
        checkpoint_every=max(1, steps // 5),
        keep=1,
        evaluate_every=-(-steps // 5),
        device="cuda" if computing.type == "cuda" else "cpu",
    )

    def evaluate(system: Adapted, step: int) -> dict[str, float]:
        return {"accuracy": examine(model, store, seen, data.labels(seen)).accuracy}

    resumed = _resumed(folder)
    if resumed:
        tell(f"going on after step {resumed} of {steps}")
    labelled = Labelled(store, train, data.labels(train), len(views))
    outcome = fit(model, Batches(labelled, labelled.collate), config, folder / RUN, evaluate=evaluate)
    trained = time.perf_counter()

    # 3. Testing, and the papers.
    tested = {
        split: examine(model, store, members, data.labels(members), progress) for split, members in examples.items()
    }
    result = tested["test"]
    seconds = {"prepare": prepared - started, "train": trained - prepared, "test": time.perf_counter() - trained}
    model.eval()
    model.save(folder / ADAPTER)
    facts = {
        "data": data.source,
        "examples": {split: len(members) for split, members in examples.items()},
        "classes": list(data.classes),
        "held_out": data.made_split,
        "clips": data.has_videos,
        "untested": untested,
        "left_out": [example.name for example, _ in bad],
        "version": __version__,
        "recipe": dataclasses.asdict(recipe),
        "steps": steps,
        "resumed_at": resumed,
        "size": backbone.size,
        "trained": model.counts(),
        "accuracy": {split: one.accuracy for split, one in tested.items()},
        "interval": list(result.interval),
        "seconds": {name: round(value, 2) for name, value in seconds.items()},
        "cached": list(store.cached),
        "cache": f"states of {store.cached[1]:,} examples" if isinstance(store, States) else why,
        "examples_per_second": round(outcome.samples_per_second, 1),
        "threads": threads,
        "peak_memory_mb": round(_peak_memory() / 1e6, 1),
    }
    curves = _curves(folder / RUN / "metrics.jsonl", "val" if "val" in examples else "test")
    report.write(folder, facts, result.confusion(), curves, _said(examples["test"], result))
    return AdaptResult(
        model, folder, result.accuracy, result.interval, len(result.truth), seconds, store.cached, data.has_videos
    )


def _ended(folder: Path, backbone: Backbone, clips: bool, tell: Tell) -> AdaptResult | None:
    """The result of a run that has come to its end."""
    path = folder / report.METRICS
    if not begun(folder) or not path.is_file() or not (folder / ADAPTER).is_dir():
        return None
    facts = read_json(path)
    tell("this run has come to its end before; nothing is trained")
    low, high = facts["interval"]
    model = load_adapted(folder / ADAPTER, backbone)
    tested = facts["examples"]["test"]
    return AdaptResult(model, folder, facts["accuracy"]["test"], (low, high), tested, {}, (0, 0), clips)


def _device(name: str) -> torch.device:
    if name not in ("auto", "cpu", "cuda"):
        raise InputError(f"device {name!r}", "auto, cpu or cuda")
    there = torch.cuda.is_available()
    if name == "cuda" and not there:
        raise InputError("device cuda, which torch does not find on this machine", "cpu or auto")
    return torch.device("cuda" if there and name != "cpu" else "cpu")


def _resumed(folder: Path) -> int:
    """Steps done when this start begins."""
    last = newest_checkpoint(folder / RUN)
    return int(last.name.rpartition("_")[2]) if last else 0


def _tell_twins(examples: dict[str, list[Example]], hashes: dict[Example, str], tell: Tell) -> None:
    twins = repeated((hashes[example], example) for members in examples.values() for example in members)
    if twins:
        pairs = "; ".join(f"{first.name} and {again.name}" for first, again in twins[:_TWINS])
        tell(
            f"{len(twins)} file{'s' * (len(twins) > 1)} of one split {'are' if len(twins) > 1 else 'is'} in another "
            f"too, which flatters the accuracy: {pairs}"
        )


def _said(examples: list[Example], tested: Tested) -> list[dict[str, Any]]:
    return [
        {"file": e.name, "label": e.label, "said": tested.labels[int(row.argmax())], "probability": float(row.max())}
        for e, row in zip(examples, tested.probabilities)
    ]


def _curves(path: Path, split: str) -> dict[str, dict[str, tuple[list[float], list[float]]]]:
    """Loss and accuracy over the steps, from the journal of the training; of the batches, means of a few in a row."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]

    def line(key: str, points: int | None = None) -> tuple[list[float], list[float]]:
        found = np.array([(row["step"], row[key]) for row in rows if row.get(key) is not None]).reshape(-1, 2)
        some = np.array_split(found, min(points or len(found), len(found))) if len(found) else []
        means = np.array([part.mean(0) for part in some]).reshape(-1, 2)
        return means[:, 0].tolist(), means[:, 1].tolist()

    return {
        "loss": {"train": line("loss", _POINTS)},
        "accuracy": {"train": line("accuracy", _POINTS), split: line("evaluate/accuracy")},
    }


def _peak_memory() -> float:
    """Bytes, of this process so far."""
    info = psutil.Process().memory_info()
    if hasattr(info, "peak_wset"):  # Windows
        return float(info.peak_wset)
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024

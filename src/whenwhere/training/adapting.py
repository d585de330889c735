"""From labelled files to an adapter: read, cache what the frozen backbone gives, train, test, and write it all down.

This is what ``whenwhere adapt`` runs. One folder holds a run: ``recipe.json`` (what was asked for), ``run`` (its
checkpoints, from which it goes on to the bit after a kill), and at the end the adapter with its results.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import resource
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from whenwhere.adapt.adapted import Adapted, StatesAdapted
from whenwhere.adapt.methods import method
from whenwhere.backbones.vision import Backbone, vision
from whenwhere.datasets.fields import read_json
from whenwhere.datasets.labelled_files import LabelledFiles, repeated
from whenwhere.errors import InputError
from whenwhere.reports import adapted as report
from whenwhere.reports.folder import check_place
from whenwhere.results import checks
from whenwhere.results.files import write_text
from whenwhere.training.adapting_data import Labelled, Pixels, States, Store, pieces, test
from whenwhere.training.config import FitConfig
from whenwhere.training.data import Batches
from whenwhere.training.fit import fit
from whenwhere.training.trained import ADAPTER, RECIPE, Progress, Tell

RUN = "run"
_UNREADABLE = 5  # names told


@dataclass(frozen=True)
class AdaptRecipe:
    """What is trained on what, and how.

    Args:
        method: name of the method; see :data:`whenwhere.adapt.methods.METHODS`.
        settings: fields of its config that differ from its defaults.
        backbone: as :func:`whenwhere.backbones.vision.vision` takes it.
        size: input side in pixels; None is the backbone's own. Only CNNs take another.
        frames: pictures of a clip; 1 for images.
        epochs: passes over the training examples.
        batch: examples of a step.
        lr, weight_decay: of AdamW; the rate rises over a tenth of the steps and falls to 0 as a cosine.
        mirror: also train on each picture's mirror image. Wrong for digits, text, and left and right.
        seed: of initial weights and the order of the data.
    """

    method: str = "losa"
    settings: dict[str, Any] = field(default_factory=dict)
    backbone: str = "efficientnet-lite2"
    size: int | None = None
    frames: int = 1
    epochs: int = 10
    batch: int = 64
    lr: float = 1e-3
    weight_decay: float = 1e-4
    mirror: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("epochs", 1), ("batch", 1), ("frames", 1), ("seed", 0)):
            if getattr(self, name) < least:
                raise InputError(f"{name}={getattr(self, name)}", f"{least} or more")
        if not 0 < self.lr < math.inf:
            raise InputError(f"lr={self.lr}", "a finite number above 0")
        if self.size is not None and self.size < 16:
            raise InputError(f"size={self.size}", "16 pixels or more")


@dataclass(frozen=True)
class AdaptResult:
    """How a run ended.

    Args:
        model: the adapter on its backbone, ready to predict.
        folder: what was written.
        accuracy: share of the test examples that are right, 0..1.
        interval: its 95 % interval.
        tested: number of test examples.
        seconds: of this start: reading and caching, training, testing.
        cached: examples found in the cache, and all.
    """

    model: Adapted
    folder: Path
    accuracy: float
    interval: tuple[float, float]
    tested: int
    seconds: dict[str, float]
    cached: tuple[int, int]


def adapt_files(
    data: LabelledFiles,
    recipe: AdaptRecipe,
    folder: str | os.PathLike[str],
    *,
    cache: str | os.PathLike[str] | None = None,
    strict: bool = False,
    tell: Tell = lambda line: None,
    progress: Progress = lambda done, of, what: None,
) -> AdaptResult:
    """Train an adapter on labelled files, or go on with a run that was interrupted: the same call does both.

    Args:
        data: with a "train" split, and a "test" split.
        recipe: what to train.
        folder: of the run; new, empty, or of the same recipe and data.
        cache: folder in which the frozen backbone's states are kept for this and later runs; None keeps them for this
            run only, in its folder. Methods that train through the backbone do not use it.
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
    run = _described(folder, recipe, data)
    for note in data.notes:
        tell(note)

    # 1. The backbone, and what it makes of the examples.
    backbone = vision(recipe.backbone, size=recipe.size)
    model = _build(recipe, backbone, data.classes)
    examples = {split: data.of(split) for split in ("train", "val", "test") if data.of(split)}
    store: Store = (
        States(model, recipe.frames, Path(cache) if cache else folder / "states", recipe.mirror)
        if isinstance(model, StatesAdapted)
        else Pixels(model, recipe.frames)
    )
    kept, unreadable = store.take([e for split in examples.values() for e in split], progress)
    if unreadable:
        names = ", ".join(reason for _, reason in unreadable[:_UNREADABLE])
        if strict or len(unreadable) == sum(map(len, examples.values())):
            raise InputError(f"{len(unreadable)} files that cannot be used: {names}", "pictures that decode")
        tell(f"{len(unreadable)} files left out, they cannot be decoded: {names}")
    examples = {split: [e for e in members if e in kept] for split, members in examples.items()}
    twins = repeated((kept[example], example) for members in examples.values() for example in members)
    if twins:
        tell(f"{len(twins)} files of one split are in another too, such as {twins[0][0].name} and {twins[0][1].name}")
    if not examples.get("train") or not examples.get("test"):
        raise InputError(f"{data.source}: no usable examples to {'test on' if examples.get('train') else 'train on'}")
    _claim(folder, run)
    prepared = time.perf_counter()

    # 2. Training.
    train = examples["train"]
    batch = min(recipe.batch, len(train))
    steps = max(1, recipe.epochs * len(train) // batch)
    cut = pieces(model, store, train[0], batch)
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
        evaluate_every=max(1, -(-steps // 5)),
        device="cpu",
    )
    seen = examples.get("val") or examples["test"]

    def evaluate(system: Adapted, step: int) -> dict[str, float]:
        return {"accuracy": test(model, store, seen, data.labels(seen)).accuracy}

    labelled = Labelled(store, train, data.labels(train), recipe.mirror)
    batches = Batches(labelled, labelled.collate)
    outcome = fit(model, batches, config, folder / RUN, evaluate=evaluate)
    trained = time.perf_counter()

    # 3. Testing, and the papers.
    tested = {split: test(model, store, members, data.labels(members), progress) for split, members in examples.items()}
    result = tested["test"]
    seconds = {
        "prepare": prepared - started,
        "train": trained - prepared,
        "test": time.perf_counter() - trained,
    }
    model.eval()
    model.save(folder / ADAPTER)
    facts = {
        "data": data.source,
        "examples": {split: len(members) for split, members in examples.items()},
        "classes": list(data.classes),
        "left_out": [example.name for example, _ in unreadable],
        "recipe": dataclasses.asdict(recipe),
        "steps": steps,
        "size": backbone.size,
        "trained": model.counts(),
        "accuracy": {split: one.accuracy for split, one in tested.items()},
        "interval": list(result.interval),
        "seconds": {name: round(value, 2) for name, value in seconds.items()},
        "cached": list(store.cached),
        "examples_per_second": round(outcome.samples_per_second, 1),
        "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
    }
    report.write(
        folder,
        facts,
        result.confusion(),
        _curves(folder / RUN / "metrics.jsonl", "val" if examples.get("val") else "test"),
        [
            {"file": e.name, "label": e.label, "said": data.classes[int(row.argmax())], "probability": float(row.max())}
            for e, row in zip(examples["test"], result.probabilities)
        ],
    )
    return AdaptResult(model, folder, result.accuracy, result.interval, len(result.truth), seconds, store.cached)


def _build(recipe: AdaptRecipe, backbone: Backbone, classes: Sequence[str]) -> Adapted:
    kind = method(recipe.method)
    settings = dict(recipe.settings)
    known = {item.name for item in dataclasses.fields(kind.Config)}
    if recipe.frames > 1:
        if not issubclass(kind, StatesAdapted):
            raise InputError(f"method {recipe.method!r} for clips", "losa, linear or ladder, which take clips")
        if "frames" in known:
            settings.setdefault("frames", recipe.frames)
    unknown = sorted(set(settings) - known)
    if unknown:
        raise InputError(f"setting {unknown[0]!r} of method {recipe.method!r}", f"one of {', '.join(sorted(known))}")
    torch.manual_seed(recipe.seed)
    return kind(backbone, classes, kind.Config(**settings))


def _described(folder: Path, recipe: AdaptRecipe, data: LabelledFiles) -> str:
    """The recipe as JSON; refuses, before any work, a folder that is not new, empty, or of the very same run."""
    wanted = {"data": data.source, "classes": list(data.classes), **dataclasses.asdict(recipe)}
    path = folder / RECIPE
    if path.is_file():
        there = read_json(path, "recipe").entries()
        for name, value in json.loads(json.dumps(wanted)).items():
            was = there[name].value if name in there else None
            if was != value:
                raise InputError(
                    f"{folder} holds a run with {name} {checks.short(was)}, not {checks.short(value)}",
                    "the same recipe, to go on with it",
                    "choose another --out",
                )
    elif folder.is_dir() and any(folder.iterdir()):
        raise InputError(f"the folder {folder} holds other files", "a new or empty folder", "choose another --out")
    check_place(folder)
    return json.dumps(wanted, indent=1) + "\n"


def _claim(folder: Path, run: str) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(f"cannot make the folder {folder}: {reason}", "a place that you may write to") from error
    write_text(folder / RECIPE, run)


def _curves(path: Path, split: str) -> dict[str, dict[str, tuple[list[float], list[float]]]]:
    """Loss and accuracy over the steps, from the journal of the training."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]

    def line(key: str) -> tuple[list[float], list[float]]:
        found = [(row["step"], row[key]) for row in rows if row.get(key) is not None]
        return [step for step, _ in found], [value for _, value in found]

    return {
        "loss": {"train": line("loss")},
        "accuracy": {"train (batch)": line("accuracy"), split: line("evaluate/accuracy")},
    }

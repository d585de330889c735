"""Accuracy against trained weights: LoSA and its peers on eight small tasks, in the manner of VTAB-1k.

Command: ``python reproductions/vtab_suite.py --shared DIR`` (default: ``data`` in ``$WHENWHERE_SHARED``, else in
``../shared``; CIFAR-10 is read there). It may be stopped and given again: a row that is in the results file is not run
again. ``--only-table`` writes the table of REPRODUCTIONS.md and the picture anew.
Cost: told by the table itself, row by row.

The backbone is ``vit-tiny`` with its position embeddings resampled to pictures of 64 pixels: the made pictures have no
more, and a row takes a third of the time. Tasks: the six structured ones of :mod:`whenwhere.worlds.structured` (1,000
pictures to train on, 1,000 to test), CIFAR-10 (2,000 and 1,000) and the handwritten digits of scikit-learn (1,000 and
797). No augmentation. All methods take the same steps of the same batches. Only the learning rate is a method's own,
the best of three by the mean accuracy over three tasks (:data:`TUNED_ON`): trained on 800 of their training pictures,
judged on 200 others. The test pictures are looked at once, after the last step. Methods that read the states of the
frozen backbone alone are given states computed once; the others the pixels. Arithmetic is in bfloat16 where autocast
has it so.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _placement_runs import small_backbone
from _vtab_table import OUT, write_page

from whenwhere.adapt.adapted import Adapted, frozen_states
from whenwhere.adapt.methods import method
from whenwhere.backbones.vision import Backbone
from whenwhere.backbones.weights import cache_dir
from whenwhere.datasets.labelled_files import read_labelled
from whenwhere.errors import InputError
from whenwhere.results.files import write_text
from whenwhere.training.config import FitConfig
from whenwhere.training.data import Batches
from whenwhere.training.fit import fit

STRUCTURED = ("count", "distance", "location", "orientation", "azimuth", "elevation")
TASKS = (*STRUCTURED, "cifar10", "digits")
SEEDS = (0, 1, 2)
TUNED_ON = ("count", "orientation", "cifar10")
SIDE = 64  # pixels
FIT = FitConfig(
    steps=240,
    batch=25,
    lr=1e-3,
    warmup=24,
    schedule="cosine",
    weight_decay=1e-4,
    precision="bf16-mixed",
    log_every=60,
    checkpoint_every=0,
    device="cpu",
)


@dataclass(frozen=True)
class Arm:
    """A method with its settings.

    Attributes:
        method: name of the method.
        settings: those that are not its default.
        rates: learning rates that are tried.
    """

    method: str
    settings: tuple[tuple[str, Any], ...] = ()
    rates: tuple[float, ...] = (1e-3, 3e-3, 1e-2)

    def build(self, backbone: Backbone, labels: tuple[str, ...]) -> Adapted:
        """A fresh model."""
        kind = method(self.method)
        return kind(backbone, labels, kind.Config(**dict(self.settings)))


ARMS = {
    "linear": Arm("linear"),
    "losa, rank 2": Arm("losa", (("rank", 2),)),
    "losa": Arm("losa"),
    "losa, rank 32": Arm("losa", (("rank", 32),)),
    "ladder": Arm("ladder"),
    "lora": Arm("lora"),
    "adaptformer": Arm("adaptformer"),
    "full": Arm("full", rates=(1e-4, 3e-4, 1e-3)),
    "bitfit": Arm("bitfit"),
    "ssf": Arm("ssf"),
    "pfeiffer": Arm("pfeiffer"),
    "vpt-deep": Arm("vpt-deep", (("tokens", 10),)),
}


@dataclass(frozen=True)
class Images:
    """Pictures, uint8 (N, H, W, 3), and their labels, int64 (N,)."""

    pixels: np.ndarray
    labels: np.ndarray

    def part(self, rows: slice) -> Images:
        """Some of them."""
        return Images(self.pixels[rows], self.labels[rows])


@dataclass(frozen=True)
class Task:
    """A classification task."""

    classes: tuple[str, ...]
    train: Images
    test: Images


def read_task(name: str, shared: Path, work: Path) -> Task:
    """Read or make the pictures of a task; made ones are kept in ``work``."""
    if name == "digits":
        from sklearn.datasets import load_digits

        digits = load_digits()
        grey = np.round(digits.images * (255 / 16)).astype(np.uint8)
        whole = Images(np.repeat(grey[..., None], 3, -1), digits.target.astype(np.int64))
        return Task(tuple("0123456789"), whole.part(slice(1000)), whole.part(slice(1000, None)))
    if name == "cifar10":
        data, splits = read_labelled(shared / "cifar10_mini"), []
        for split in ("train", "test"):
            mixed = np.random.default_rng(0).permutation(np.array(data.of(split), object)).tolist()  # they are by class
            splits.append(Images(np.stack([one.pictures()[0] for one in mixed]), data.labels(mixed)))
        return Task(data.classes, *splits)
    from whenwhere.worlds import structured

    made = []
    for split in ("train", "test"):
        path = work / f"{name}_{split}.npz"
        if not path.is_file():
            pixels, labels = structured.images(name, split, range(1000))
            work.mkdir(parents=True, exist_ok=True)
            with path.with_suffix(".part").open("wb") as file:
                np.savez(file, pixels=pixels, labels=labels)
            os.replace(path.with_suffix(".part"), path)
        with np.load(path) as arrays:
            made.append(Images(arrays["pixels"], arrays["labels"]))
    return Task(structured.TASKS[name].classes, *made)


class Inputs:
    """What a model is given for some pictures: pixels, or the states of all layers, both in bfloat16."""

    def __init__(self, backbone: Backbone, images: Images, states: bool) -> None:
        rows = []
        for start in range(0, len(images.labels), 50):
            pixels = backbone.preprocess(list(images.pixels[start : start + 50]))
            if states:
                with torch.autocast("cpu", torch.bfloat16):
                    found = frozen_states(backbone, pixels, range(backbone.depth))
                rows.append([state.bfloat16() for state in found])
            else:
                rows.append([pixels.bfloat16()])
        self.tensors = [torch.cat(column) for column in zip(*rows)]
        self.labels, self.states = torch.from_numpy(images.labels), states

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, rows: Any, taps: tuple[int, ...]) -> dict[str, Any]:
        """Inputs and labels of some rows for a model that reads ``taps``."""
        found = [self.tensors[tap][rows] for tap in taps] if self.states else self.tensors[0][rows].float()
        return {"states" if self.states else "pixels": found, "label": self.labels[rows]}


class Rows:
    """Row numbers as a data set: a batch is cut out of the tensors in one go."""

    def __init__(self, inputs: Inputs, taps: tuple[int, ...]) -> None:
        self.inputs, self.taps = inputs, taps

    def __len__(self) -> int:
        return len(self.inputs)

    def sample(self, rng: np.random.Generator, index: int) -> int:
        """The number itself."""
        return index

    def collate(self, numbers: list[int]) -> dict[str, Any]:
        """A batch for :meth:`whenwhere.adapt.adapted.Adapted.loss`."""
        return self.inputs.batch(torch.tensor(numbers), self.taps)


def train_and_score(
    model: Adapted, rate: float, seed: int, train: Inputs, test: Inputs, work: Path
) -> dict[str, float]:
    """One row: train a fresh model with a learning rate, then score it on ``test`` once."""
    taps = getattr(model, "taps", ())
    data, folder = Rows(train, taps), work / "run"
    shutil.rmtree(folder, ignore_errors=True)  # of a row that was stopped
    start = time.process_time()
    fit(model, Batches(data, data.collate), replace(FIT, lr=rate, seed=seed), folder)
    seconds = time.process_time() - start
    shutil.rmtree(folder)
    parts = torch.arange(len(test)).split(50)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        scores = [model.loss(test.batch(rows, taps)) for rows in parts]
    sizes = [len(rows) for rows in parts]
    means = {key: np.average([float(score[key]) for score in scores], weights=sizes) for key in ("accuracy", "loss")}
    scored = {key: round(float(value), 4) for key, value in means.items()}
    return {**scored, "train_cpu_s": round(seconds, 1), **model.counts()}


def chosen_rate(arm: Arm, runs: dict[str, dict[str, float]]) -> float:
    """The learning rate of the best mean accuracy."""
    return max(arm.rates, key=lambda rate: np.mean([runs[f"{task}/{rate}"]["accuracy"] for task in TUNED_ON]))


def jobs(record: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """What is not done yet: (place in the record, arm, "task/rate" or "task/seed"): the rates, then seed by seed."""
    for task, (name, arm) in itertools.product(TUNED_ON, ARMS.items()):
        for rate in arm.rates:
            if f"{task}/{rate}" not in record["tuning"].get(name, {}):
                yield "tuning", name, f"{task}/{rate}"
    for seed, task, name in itertools.product(SEEDS, TASKS, ARMS):
        if f"{task}/{seed}" not in record["runs"].get(name, {}):
            yield "runs", name, f"{task}/{seed}"


def settings(backbone: Backbone) -> dict[str, Any]:
    """What all rows of a record have in common."""
    arms = {name: asdict(arm) for name, arm in ARMS.items()}
    told = {"fit": asdict(FIT), "arms": arms, "tuned_on": TUNED_ON, "side": SIDE, "backbone": backbone.fingerprint()}
    return json.loads(json.dumps(told))


def main(shared: Path | None = None, work: Path | None = None, only_table: bool = False) -> None:
    """Run the rows that have no result yet.

    Args:
        shared: folder of the shared data.
        work: folder for made pictures; in the user's cache if not given.
        only_table: only write the table and the picture of the results that are there.
    """
    torch.set_num_threads(1)
    if only_table:
        write_page(json.loads(OUT.read_text(encoding="utf-8")))
        return
    shared = shared or Path(os.environ.get("WHENWHERE_SHARED", "../shared")) / "data"
    work = work or cache_dir() / "vtab_suite"
    backbone = small_backbone("vit-tiny", SIDE)
    record: dict[str, Any] = {"settings": settings(backbone), "tuning": {}, "runs": {}}
    if OUT.is_file():
        found = json.loads(OUT.read_text(encoding="utf-8"))
        if found["settings"] != record["settings"]:
            raise InputError(f"{OUT} was made with other settings", "those of this script", "move it away")
        record = found

    @cache
    def task(name: str) -> Task:
        return read_task(name, shared, work)

    held: dict[tuple[str, str, bool], Inputs] = {}

    def inputs(name: str, part: str, states: bool) -> Inputs:
        if (name, part, states) not in held:
            pair = ("first 800", "other 200") if "00" in part else ("train", "test")
            for key in [key for key in held if key[0] != name or key[1] not in pair]:
                del held[key]  # of another task: states are large
            images = task(name).test if part == "test" else task(name).train
            cut = {"first 800": slice(800), "other 200": slice(800, 1000)}.get(part, slice(None))
            held[name, part, states] = Inputs(backbone, images.part(cut), states)
        return held[name, part, states]

    for place, name, what in jobs(record):
        arm, tuning = ARMS[name], place == "tuning"
        of, last = what.split("/")
        rate, seed = (float(last), 0) if tuning else (chosen_rate(arm, record["tuning"][name]), int(last))
        states = method(arm.method).reads_states_only
        train, test = (
            inputs(of, part, states) for part in (("first 800", "other 200") if tuning else ("train", "test"))
        )
        torch.manual_seed(seed)
        result = train_and_score(arm.build(backbone, task(of).classes), rate, seed, train, test, work)
        record[place].setdefault(name, {})[what] = {**result, "lr": rate}
        record["versions"] = {name: version(name) for name in ("torch", "timm", "peft", "numpy")}
        OUT.parent.mkdir(exist_ok=True)
        write_text(OUT, json.dumps(record, indent=1) + "\n")
        print(place, name, what, result, flush=True)
    write_page(record)


if __name__ == "__main__":
    import tyro

    tyro.cli(main)

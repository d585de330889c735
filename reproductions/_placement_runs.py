"""The tasks, the arms and one training run of ``placement_claims.py``."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from whenwhere.adapt.anatomy import anatomy
from whenwhere.adapt.edges import KINDS, USUAL, Edge, all_edges, kind_of, named_edges
from whenwhere.adapt.gradient_rank import EdgeGradients, edge_gradients, linear_probe
from whenwhere.adapt.placement import PlacedAdapters, PlacementConfig
from whenwhere.adapt.search import first_k, greedy, last_k, random_sets, top_k
from whenwhere.backbones.vision import Backbone, TimmBackbone, vision

TASKS = ("location", "count", "cifar10", "digits")
MADE = ("count", "location")  # by whenwhere.worlds.structured
RATES = (3e-3, 1e-2, 3e-2)
SEEDS = (0, 1, 2)
LONG = 20  # long-range edges tried alone, and as many recurrent ones
DRAWS = 10  # random sets of as many edges as there are parallel ones
FEW_DRAWS = 6  # random sets of few edges
FEW = (3, 6)
GUIDED = (1, 3, 6, 12)
GAMMAS = (0.2, 0.4, 0.8, 0.95)


@dataclass(frozen=True)
class Size:
    """What decides a run besides the arm.

    Attributes:
        train, val, test: pictures.
        side: of the square that the backbone sees, in pixels.
        epochs, batch: of a run; AdamW, cosine after a tenth of warm-up, weight decay 1e-4.
        rank: of each adapter.
    """

    train: int = 400
    val: int = 200
    test: int = 1000
    side: int = 64
    epochs: int = 10
    batch: int = 32
    rank: int = 8


@dataclass(frozen=True)
class Arm:
    """What is trained: adapters at edges, from a seed, at a rate (0: the one chosen for the task)."""

    edges: tuple[Edge, ...]
    seed: int = 0
    rank: int = 0  # 0: that of the size
    rate: float = 0.0


@dataclass
class Task:
    """Pictures of a task as the frozen backbone sees them at each node.

    Attributes:
        labels: of all pictures: training, validation, test.
        size: how many of each.
        states: node to its stream for all pictures, filled as it is asked for.
    """

    name: str
    backbone: Backbone
    labels: Tensor
    pixels: Tensor
    size: Size
    states: dict[int, Tensor] = field(default_factory=dict)

    @property
    def classes(self) -> int:
        return int(self.labels.max()) + 1

    def state(self, node: int) -> Tensor:
        """The frozen stream at a node, (pictures, N, D)."""
        if node not in self.states:
            parts, rows = anatomy(self.backbone), []
            before = self.state(node - 1) if node else self.pixels
            with torch.no_grad():
                for some in before.split(200):
                    rows.append(some + parts.sublayers[node - 1].update(some) if node else parts.embed(some))
            self.states[node] = torch.cat(rows)
        return self.states[node]


def small_backbone(name: str, side: int) -> Backbone:
    """A transformer of timm with its position embeddings resampled to a smaller square."""
    whole: Any = vision(name)
    if whole.size != side:
        whole.model.set_input_size(img_size=(side, side))
    backbone = TimmBackbone(whole.model, f"{whole.name} at {side} pixels")
    backbone.mean, backbone.std = whole.mean, whole.std
    return backbone


def pictures(name: str, size: Size, shared: Path) -> tuple[list[np.ndarray], np.ndarray]:
    """Pictures and labels of a task: training, then validation, then test."""
    counts = {"train": size.train, "val": size.val, "test": size.test}
    if name in MADE:
        from whenwhere.worlds.structured import images

        parts = [images(name, split, range(count)) for split, count in counts.items()]
        return [one for some, _ in parts for one in some], np.concatenate([labels for _, labels in parts])
    if name == "digits":
        from sklearn.datasets import load_digits

        digits = load_digits()
        order = np.random.default_rng(0).permutation(len(digits.target))[: sum(counts.values())]
        grey = np.round(digits.images[order] * (255 / 16)).astype(np.uint8)
        return list(np.repeat(grey[..., None], 3, -1)), digits.target[order].astype(np.int64)
    from whenwhere.datasets.labelled_files import read_labelled

    data = read_labelled(shared / "cifar10_mini")
    draw = np.random.default_rng(0)
    train, test = (draw.permutation(np.array(data.of(split), object)).tolist() for split in ("train", "test"))
    chosen = train[: size.train + size.val] + test[: size.test]
    return [example.pictures()[0] for example in chosen], data.labels(chosen)


def make_task(name: str, backbone: Backbone, size: Size, shared: Path) -> Task:
    """Load a task."""
    images, labels = pictures(name, size, shared)
    return Task(name, backbone, torch.from_numpy(labels), backbone.preprocess(images), size)


def shared_folder() -> Path:
    """Where CIFAR-10 mini is: ``data`` in ``$WHENWHERE_SHARED``, else in ``../shared``."""
    root = os.environ.get("WHENWHERE_SHARED") or Path(__file__).resolve().parents[2] / "shared"
    return Path(root) / "data"


def measure(task: Task) -> EdgeGradients:
    """Gradients at all edges, on the training pictures, with a linear probe for a head."""
    backbone, rows = task.backbone, slice(0, task.size.train)
    features = torch.cat([backbone.finish(some) for some in task.state(2 * backbone.depth)[rows].split(200)])
    head = linear_probe(features, task.labels[rows], task.classes)
    batches = list(zip(task.pixels[rows].split(100), task.labels[rows].split(100)))
    return edge_gradients(anatomy(backbone), head, lambda: batches)


def train(task: Task, arm: Arm, rate: float) -> dict[str, float]:
    """Train adapters and head at an arm's edges.

    Returns:
        "val" and "test": accuracy; "loss": mean of the last epoch; "cpu_s": time of the processor.
    """
    began, size = time.process_time(), task.size
    torch.manual_seed(1000 + arm.seed)
    config = PlacementConfig(edges=arm.edges, rank=arm.rank or size.rank)
    model = PlacedAdapters(task.backbone, [str(k) for k in range(task.classes)], config)
    states, labels = task.state(model.start), task.labels
    steps = size.epochs * -(-size.train // size.batch)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=1e-4)
    warmup = steps / 10
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: min((step + 1) / warmup, 0.5 + 0.5 * math.cos(math.pi * max(0, step - warmup) / (steps - warmup))),
    )
    losses: list[float] = []
    for _ in range(size.epochs):
        losses = []
        for rows in torch.randperm(size.train).split(size.batch):
            loss = model.loss({"states": [states[rows]], "label": labels[rows]})["loss"]
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
    scores = {}
    with torch.no_grad():
        for name, begin, count in (("val", size.train, size.val), ("test", size.train + size.val, size.test)):
            rows = slice(begin, begin + count)
            said = torch.cat([model.head(model.vector_from(some)) for some in states[rows].split(200)]).argmax(1)
            scores[name] = round(float((said == labels[rows]).float().mean()), 4)
    return {**scores, "loss": round(float(np.mean(losses)), 4), "cpu_s": round(time.process_time() - began, 1)}


def single_edges(nodes: int) -> list[Edge]:
    """The edges that are tried alone: all usual ones, and the same random long-range and recurrent ones for all."""
    draw, edges = np.random.default_rng(0), all_edges(nodes, USUAL)
    for kind in ("long_range", "recurrent"):
        others = all_edges(nodes, [kind])
        edges += [others[k] for k in sorted(draw.choice(len(others), min(LONG, len(others)), replace=False).tolist())]
    return edges


def first_arms(nodes: int) -> dict[str, dict[str, Arm]]:
    """Groups of arms that need no scores: group to name to arm."""
    every = named_edges("parallel", nodes)
    rates = {f"rate {rate:g}": Arm(every, rate=rate) for rate in RATES}
    usual = {
        "linear probe": Arm(()),
        "parallel": Arm(every),
        "sequential": Arm(named_edges("sequential", nodes)),
        "adaptformer": Arm(named_edges("adaptformer", nodes), rank=16),
    }
    baselines = {f"{name} / {seed}": Arm(a.edges, seed, a.rank) for name, a in usual.items() for seed in SEEDS}
    last = nodes - 1
    noisy = [(0, 1), (0, last), (last // 2, last // 2), (last // 2, 1), (last - 1, last), (last, 0)]
    # the seeds of a few edges among the edges tried alone
    alone = {f"single {i}-{j} / 0": Arm(((i, j),)) for i, j in dict.fromkeys([*noisy, *single_edges(nodes)])}
    noise = {f"single {i}-{j} / {seed}": Arm(((i, j),), seed) for i, j in noisy for seed in SEEDS}
    sets = {}
    for draw in range(DRAWS):
        for name, kinds in (("extended", KINDS), ("usual", USUAL)):
            drawn = random_sets(nodes, last, DRAWS, kinds=kinds, seed=16)
            sets[f"{name} {last} draw {draw} / 0"] = Arm(drawn[draw])
    few = {
        f"random {count} draw {draw} / 0": Arm(edges)
        for count in FEW
        for draw, edges in enumerate(random_sets(nodes, count, FEW_DRAWS, seed=count))
    }
    return {"rates": rates, "baselines": baselines, "noise": noise, "few": few, "single": alone, "sets": sets}


def guided_arms(nodes: int, scores: np.ndarray) -> dict[str, Arm]:
    """Arms whose edges follow from the scores of a task."""
    forward = [edge for edge in all_edges(nodes) if kind_of(edge) != "recurrent"]
    chosen: dict[str, Sequence[Edge]] = {f"guided {count}": greedy(scores, count) for count in GUIDED}
    for count in FEW:
        chosen[f"top {count}"] = top_k(scores, count)
        chosen[f"first {count}"], chosen[f"last {count}"] = first_k(nodes, count), last_k(nodes, count)
    chosen["guided forward 6"] = greedy(scores, 6, allowed=forward)
    arms = {f"{name} / {seed}": Arm(tuple(edges), seed) for seed in SEEDS for name, edges in chosen.items()}
    return arms | {f"gamma {gamma:g} / 0": Arm(greedy(scores, 6, gamma)) for gamma in GAMMAS}

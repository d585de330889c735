"""The arms that the claims about MoNE compare, trained on cluttered digits and tested at the budgets they can take."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any, Literal

import numpy as np
import torch
from _cluttered_digits import DIGIT, GRID, SIDE, Canvases
from torch import Tensor, nn

from whenwhere.adapt.nested import ADAPTIVE, NestedConfig, NestedViT, steps_at_equal_flops
from whenwhere.adapt.nested_encoder import NestedBlocksConfig
from whenwhere.adapt.token_reduction import DroppingViT, MergingViT

BUDGETS = (0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 1.0)
WIDTHS = (0.125, 0.25, 0.5, 1.0)


@dataclass(frozen=True)
class Size:
    """What all arms share.

    Attributes:
        width, depth, heads, hidden_ratio: shape of the dense model of full width.
        steps: of that model; every other arm gets what costs as many multiply-adds, unless it says otherwise.
        batch, lr, warmup, weight_decay, clip: of the training; AdamW with a cosine.
        tests: canvases for the test, the same for all.
    """

    width: int = 96
    depth: int = 4
    heads: int = 4
    hidden_ratio: int = 2
    steps: int = 300
    batch: int = 64
    lr: float = 1.5e-3
    warmup: int = 50
    weight_decay: float = 0.05
    clip: float = 1.0
    tests: int = 1000


@dataclass(frozen=True)
class Arm:
    """One way to train.

    Attributes:
        kind: dense, nested (MoNE), widths (MatViT), merging (ToMe) or dropping.
        budget: effective capacity of nested; of merging and dropping, the one whose multiply-adds they are given. None:
            one is drawn at each step.
        width: of a dense model; 0 is the full one.
        random: the router is random, in training and in test.
        equal_steps: as many steps as the dense model has, instead of as many multiply-adds.
        start: steps of a dense model that it starts from; its own training is then on top, at ``lr``.
        lr: learning rate; 0 is that of the size.
        widths_first: share of the multiply-adds that go to training all widths at once before (with a schedule of
            their own), as MatViT is trained.
    """

    kind: Literal["dense", "nested", "widths", "merging", "dropping"]
    budget: float | None = 1.0
    width: int = 0
    random: bool = False
    equal_steps: bool = False
    start: int = 0
    lr: float = 0.0
    widths_first: float = 0.0


def vit(size: Size, arm: Arm) -> NestedViT:
    """The transformer of an arm."""
    width = arm.width or size.width
    blocks = NestedBlocksConfig(width, size.depth, size.heads, size.hidden_ratio * width, random_router=arm.random)
    return NestedViT(
        NestedConfig(
            size=SIDE,
            patch=GRID,
            channels=1,
            classes=10,
            blocks=blocks,
            budgets=ADAPTIVE if arm.budget is None else (arm.budget if arm.kind == "nested" else 1.0,),
            training="widths" if arm.kind == "widths" else "budgets",
        )
    )


def at_most(made: Callable[[float], MergingViT | DroppingViT], most: int, settings: list[float]) -> Any:
    """The first of the models, from the most expensive to the cheapest, that takes at most so many multiply-adds."""
    return next(model for model in map(made, settings) if model.flops() <= most)


def merging(base: NestedViT, budget: float) -> MergingViT:
    """Token merging at the multiply-adds of a budget."""
    most = base.flops(budget)
    return at_most(lambda merged: MergingViT(base, int(merged)), most, list(range(base.config.tokens)))


def dropping(base: NestedViT, budget: float) -> DroppingViT:
    """Token dropping in every block but the first, at the multiply-adds of a budget."""
    n, depth = base.config.tokens, base.config.blocks.depth
    shares = [k / n for k in range(n, 0, -1)]
    return at_most(lambda share: DroppingViT(base, share, range(1, depth)), base.flops(budget), shares)


@cache
def trained_dense(size: Size, steps: int, seed: int) -> dict[str, Tensor]:
    """The weights of a dense model after so many steps, that arms start from."""
    torch.manual_seed(seed)
    model = vit(size, Arm("dense"))
    train(model, size, steps, (1, seed))
    return model.state_dict()


def build(size: Size, arm: Arm, state: dict[str, Tensor] | None = None) -> tuple[nn.Module, float]:
    """The model to train, from these weights if given, and its multiply-adds for one image in a step (forward)."""
    base = vit(size, arm)
    if state is not None:
        base.load_state_dict(state)
    if arm.kind == "merging" or arm.kind == "dropping":
        assert arm.budget is not None
        model = (merging if arm.kind == "merging" else dropping)(base, arm.budget)
        return model, model.flops()
    if arm.kind == "widths":
        return base, sum(base.flops(one_expert(width)) for width in WIDTHS)
    return base, float(np.mean([base.flops(budget) for budget in base.config.budgets]))


def one_expert(width: float) -> tuple[float, ...]:
    """All tokens on the expert of a share of the width."""
    return tuple(float(width == other) for other in WIDTHS)


@cache
def canvases(test: bool) -> Canvases:
    """Drawn once a process."""
    return Canvases(test)


def train(model: nn.Module, size: Size, steps: int, draw: Sequence[int], lr: float = 0.0) -> None:
    """AdamW with a linear rise and a cosine, matrices decayed, on canvases drawn from the seeds ``draw``."""
    rng, lr = np.random.default_rng(draw), lr or size.lr
    matrices = [p for p in model.parameters() if p.ndim > 1]
    vectors = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": size.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, size.lr)
    model.train()
    for step in range(steps):
        for group in optimizer.param_groups:
            rise = min(1.0, (step + 1) / size.warmup)
            group["lr"] = lr * rise * 0.5 * (1 + math.cos(math.pi * step / steps))
        loss: Tensor = model.loss(canvases(False).draw(rng, size.batch))["loss"]  # type: ignore[operator]
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), size.clip)
        optimizer.step()
    model.eval()


def accuracy(forward: Callable[[Tensor], Tensor], test: dict[str, Tensor]) -> float:
    """Percent of canvases whose digit is found."""
    hits = [
        forward(pixels).argmax(1) == labels
        for pixels, labels in zip(test["pixels"].split(250), test["labels"].split(250))
    ]
    return 100 * float(torch.cat(hits).float().mean())


def on_the_digit(model: NestedViT, test: dict[str, Tensor], budget: float) -> float:
    """Of the tokens on the full expert, the percent that lie on the digit; by chance it is the digit's share."""
    experts = model.routing(test["pixels"], budget)[0]  # (B, rows, columns)
    cells = torch.arange(SIDE // GRID)
    first = test["corner"] // GRID
    inside = [(cells >= first[:, i : i + 1]) & (cells < first[:, i : i + 1] + DIGIT // GRID) for i in range(2)]
    digit = inside[0][:, :, None] & inside[1][:, None, :]
    full = experts == len(WIDTHS) - 1
    return 100 * float((full & digit).sum() / full.sum().clamp(min=1))


@torch.no_grad()
def test_scores(model: nn.Module, arm: Arm, size: Size) -> dict[str, Any]:
    """Accuracy by what it is run at, with the multiply-adds of each."""
    test = canvases(True).draw(np.random.default_rng(2), size.tests)
    scores: dict[str, float] = {}
    flops: dict[str, int] = {}
    extra: dict[str, float] = {}

    def note(name: str, forward: Callable[[Tensor], Tensor], cost: int) -> None:
        scores[name], flops[name] = accuracy(forward, test), cost

    if isinstance(model, NestedViT):
        if arm.kind == "nested":
            for budget in BUDGETS:
                note(f"{budget}", partial(model, budget=budget), model.flops(budget))
            extra["alpha"] = float(model.alpha)
            if not arm.random:
                extra["on_digit"] = on_the_digit(model, test, arm.budget or 0.4)
                router = model.routers["0"]
                router.random = True
                for budget in (0.2, 0.4, 0.6):
                    name = f"random {budget}"
                    note(name, partial(model, budget=budget), model.flops(budget))
                router.random = False
        elif arm.kind == "widths":
            for width in WIDTHS:
                shares = one_expert(width)
                note(f"{width}", partial(model, budget=shares), model.flops(shares))
        else:
            note("1.0", model, model.flops())
            if not arm.width:
                for budget in (0.4, 0.6, 0.8):
                    merged = merging(model, budget)
                    note(f"merging {budget}", merged, merged.flops())
    else:
        note(f"{arm.budget}", model, model.flops())  # type: ignore[operator]
    return {"accuracy": scores, "flops": flops, **extra}


def run(arm: Arm, size: Size, seed: int) -> dict[str, Any]:
    """Train and test one arm. Costs do not include the training of the dense model that it starts from."""
    state = trained_dense(size, arm.start, seed) if arm.start else None
    whole, dense = size.steps, vit(size, Arm("dense")).flops()
    torch.manual_seed(seed)
    start = time.process_time()
    draw = (1, seed, arm.start) if arm.start else (1, seed)
    if arm.widths_first:
        wide, cost = build(size, replace(arm, kind="widths"), state)
        first = round(arm.widths_first * whole)
        train(wide, size, steps_at_equal_flops(first, dense, cost), (*draw, 1), arm.lr)
        state, whole = wide.state_dict(), whole - first
    model, cost = build(size, arm, state)
    steps = size.steps if arm.equal_steps else steps_at_equal_flops(whole, dense, cost)
    train(model, size, steps, draw, arm.lr)
    trained = time.process_time()
    result = test_scores(model, arm, size)
    return {"steps": steps, "train_cpu_s": trained - start, "test_cpu_s": time.process_time() - trained, **result}


@torch.inference_mode()
def milliseconds(size: Size, rounds: int, batch: int = 256) -> dict[str, float]:
    """Median CPU milliseconds of an image for each model, all in one run, one after the other in every round.

    With one thread CPU time is the time, and other load on the machine hardly enters.
    """
    base = vit(size, Arm("nested")).eval()
    x = torch.randn(batch, 1, SIDE, SIDE)
    forwards: dict[str, Callable[[Tensor], Tensor]] = {"dense": base}
    for width in (48, 64, 80):
        forwards[f"dense {width}"] = vit(size, Arm("dense", width=width)).eval()
    for budget in (0.2, 0.4, 0.6, 0.8):
        forwards[f"nested {budget}"] = partial(base, budget=budget)
    for budget in (0.4, 0.6, 0.8):
        forwards[f"merging {budget}"] = merging(base, budget).eval()
    forwards["dropping 0.4"] = dropping(base, 0.4).eval()
    for share in WIDTHS[:-1]:
        forwards[f"widths {share}"] = partial(base, budget=one_expert(share))
    times: dict[str, list[float]] = {name: [] for name in forwards}
    for turn in range(rounds + 1):
        for name, forward in forwards.items():
            start = time.process_time()
            forward(x)
            if turn:
                times[name].append(1e3 * (time.process_time() - start) / batch)
    return {name: float(np.median(found)) for name, found in times.items()}

"""Placements tried out: each is trained briefly, and tested on examples that no training saw."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from whenwhere.adapt.placement import PlacedAdapters, PlacementConfig
from whenwhere.adapt.placement_file import Placement
from whenwhere.adapt.search import random_sets, try_placements
from whenwhere.backbones.vision import Backbone

STEPS = 60  # of training a set of edges
_BATCH = 32  # pictures, frames of clips counted each
_LEARNING_RATE = 3e-3


def against_random(
    guided: Placement,
    encoder: Backbone,
    classes: Sequence[str],
    examples: tuple[Tensor, Tensor],
    held: tuple[Tensor, Tensor],
    *,
    draws: int,
    kinds: Sequence[str],
    rank: int,
    seed: int,
    progress: Callable[[str, int, int], None],
) -> tuple[Placement, str]:
    """Train a placement and as many random ones of the same size, each for 60 steps from the same seed.

    Args:
        guided: the placement to compare.
        encoder: the transformer.
        classes: their names.
        examples, held: to train and to test on: float (n, 3, s, s) or clips (n, T, 3, s, s), and int64 (n,).
        draws: random sets.
        kinds: of their edges.
        rank: of the adapters.
        seed: of the sets, the weights and the order.
        progress: called with ("trials", done, in all).

    Returns:
        The one of the highest accuracy, the guided one of equal ones, with all accuracies in its settings; and a line
        that says them.
    """

    def evaluate(edges: Sequence[tuple[int, int]]) -> float:
        torch.manual_seed(seed)
        model = PlacedAdapters(encoder, classes, PlacementConfig(edges=tuple(edges), rank=rank))
        _train(model, *examples, seed)
        return _accuracy(model, *held)

    sets = random_sets(guided.nodes, len(guided.edges), draws, kinds=kinds, seed=seed)
    trials = try_placements(evaluate, [guided.edges, *sets], progress)
    first, others = trials.values[0], trials.values[1:]
    won = trials.best is trials.placements[0]
    trial = {"random_sets": draws, "rank": rank, "steps": STEPS, "held_out": len(held[1])}
    settings = {
        **guided.settings,
        "method": "gradient guided" if won else "random",
        "trials": {**trial, "guided": first, "random": list(others)},
    }
    found = replace(guided, edges=trials.best, settings=settings)
    line = (
        f"accuracy on {len(held[1])} examples held out: guided {first:.4f}, {draws} random "
        f"{'sets' if draws > 1 else 'set'} {sum(others) / draws:.4f} on average and {max(others):.4f} at best; "
        f"{'the guided one' if won else 'the best random one'} is taken"
    )
    return found, line


def _train(model: PlacedAdapters, pixels: Tensor, labels: Tensor, seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=_LEARNING_RATE, weight_decay=1e-4)
    at_once = _at_once(pixels)
    model.train()
    for _ in range(STEPS):
        rows = torch.randperm(len(labels), generator=draw)[:at_once]
        loss = model.loss({"pixels": pixels[rows], "label": labels[rows]})["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def _accuracy(model: PlacedAdapters, pixels: Tensor, labels: Tensor) -> float:
    model.eval()
    with torch.no_grad():
        said = torch.cat([model(part).argmax(1) for part in pixels.split(_at_once(pixels))])
    return float((said == labels).float().mean())


def _at_once(pixels: Tensor) -> int:
    return max(1, _BATCH // (pixels.shape[1] if pixels.ndim == 5 else 1))

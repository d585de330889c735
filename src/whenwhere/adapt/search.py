"""Which edges should carry an adapter? Greedy choice by gradient rank (GGA), and what it is compared with.

The procedures know nothing of models: they take scores of edges, or a function that says how good a placement is.
:func:`search_placement` puts the gradient measurement and the greedy choice together.

Source: Nowak et al., arXiv 2410.15858 (2024). The discount by distance is a choice made here: the published one could
not be found.
"""

from __future__ import annotations

import bisect
import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Literal

import numpy as np
import torch
from torch import nn

from whenwhere.adapt.anatomy import Anatomy, anatomy
from whenwhere.adapt.edges import KINDS, Edge, all_edges, check_edges, distance, named_edges, passes
from whenwhere.adapt.gradient_rank import (
    RTOL,
    Batches,
    Progress,
    Score,
    check_features,
    edge_gradients,
    linear_probe,
)
from whenwhere.adapt.placement import frozen_node
from whenwhere.adapt.placement_file import Placement
from whenwhere.backbones.vision import Backbone
from whenwhere.errors import InputError

Evaluate = Callable[[tuple[Edge, ...]], float]


def search_placement(
    backbone: Backbone,
    batches: Batches,
    classes: int,
    *,
    count: int = 6,
    gamma: float = 0.6,
    kinds: Sequence[str] = KINDS,
    score: Score = "rank",
    rtol: float = RTOL,
    head: Literal["probe", "random"] = "probe",
    epochs: int = 10,
    seed: int = 0,
    progress: Progress | None = None,
) -> Placement:
    """Choose the edges for a task from one gradient measurement (Gradient Guided Adapters).

    Args:
        backbone: a frozen transformer.
        batches: gives (pixels, labels) anew at each call, the same ones: float (b, 3, size, size) normalised by
            ``backbone.preprocess`` and int64 (b,). As many images as the stream is wide, or more: with fewer, the rank
            at the last nodes is capped by their number.
        classes: how many, at least two.
        count: edges to choose.
        gamma: how much near neighbours of a chosen edge are discounted, 0 (not at all) to below 1.
        kinds: of the edges to choose from.
        score: of the gradient; see :meth:`~whenwhere.adapt.gradient_rank.EdgeGradients.score`.
        rtol: for the rank: which singular values count as zero, against the largest.
        head: "probe" fits a linear head first; "random" draws one from N(0, 0.01^2).
        epochs: of the probe.
        seed: of the head.
        progress: called with what is done ("features", then "gradients"), batches done, and batches in all or 0.

    Returns:
        The edges in the order of their choice, with the scores of all edges.

    Raises:
        InputError: bad arguments or labels, no transformer, features that are not finite, or a gradient that is zero
            everywhere.
    """
    parts = anatomy(backbone)
    nodes = len(parts.sublayers) + 1
    allowed = all_edges(nodes, kinds)
    _check_count(count, allowed)
    began = time.perf_counter()
    fitted, accuracy, seen = _head(parts, batches, classes, head, epochs, seed, progress)

    def tell(what: str, done: int, _: int) -> None:
        if progress:
            progress(what, (done - 1) % seen + 1, seen)  # of one of the sweeps

    gradients = edge_gradients(parts, fitted, batches, progress=tell)
    scores = gradients.score(score, rtol)
    if not scores.any():
        raise InputError("a gradient that is zero at every edge", "a loss that depends on the images")
    settings = {
        "method": "gradient guided",
        "count": count,
        "gamma": gamma,
        "kinds": list(dict.fromkeys(kinds)),
        "score": score,
        **({"rtol": rtol} if score == "rank" else {}),
        "head": head,
        "seed": seed,
        "images": gradients.images,
        "classes": classes,
        "head_accuracy": round(accuracy, 4),
        "seconds": round(time.perf_counter() - began, 1),
    }
    return Placement(nodes, greedy(scores, count, gamma, allowed), backbone.name, scores, settings)


def _head(
    parts: Anatomy, batches: Batches, classes: int, kind: str, epochs: int, seed: int, progress: Progress | None
) -> tuple[nn.Linear, float, int]:
    """A linear head, its accuracy on these images, and how many batches there are."""
    if kind not in ("probe", "random"):
        raise InputError(f"head {kind!r}", "'probe' or 'random'")
    device = next(parts.backbone.parameters()).device
    vectors, labels = [], []
    for pixels, label in batches():
        state = frozen_node(parts, pixels.to(device), len(parts.sublayers))
        with torch.no_grad():
            vectors.append(parts.backbone.finish(state))
        labels.append(label.to(device))
        if progress:
            progress("features", len(vectors), 0)
    if not vectors:
        raise InputError("no image to search a placement on", "at least one batch")
    features, label = torch.cat(vectors), torch.cat(labels)
    check_features(features, label, classes)
    if kind == "probe":
        head = linear_probe(features, label, classes, epochs=epochs, seed=seed)
    else:
        head = nn.Linear(parts.width, classes, device=device, dtype=features.dtype).requires_grad_(False)
        draw = torch.Generator().manual_seed(seed)
        head.weight.copy_(0.01 * torch.randn(head.weight.shape, generator=draw))
        head.bias.zero_()
    accuracy = float((head(features).argmax(1) == label).float().mean())
    return head, accuracy, len(vectors)


def greedy(
    scores: np.ndarray, count: int, gamma: float = 0.6, allowed: Iterable[Edge] | None = None
) -> tuple[Edge, ...]:
    """Take the best edge, discount those near it, take the next.

    The value of an edge is its score times the product over chosen edges of ``1 - gamma ** distance``. Of equal ones,
    the one that adds least to the forward pass is taken, then the one of the smallest target, then source.

    Args:
        scores: (n, n), [source, target], not negative.
        count: how many to take.
        gamma: 0 (the ``count`` best ones) to below 1.
        allowed: edges to choose from; default all.

    Returns:
        The edges in the order of their choice.

    Raises:
        InputError: more edges than are allowed, gamma outside of [0, 1), or scores that are negative or not finite.
    """
    table = np.asarray(scores, np.float64)
    if table.ndim != 2 or len(set(table.shape)) != 1 or not np.isfinite(table).all() or (table < 0).any():
        raise InputError(f"scores of shape {table.shape}", "(n, n), finite and not negative")
    if not 0 <= gamma < 1:
        raise InputError(f"gamma={gamma}", "0 to below 1")
    nodes = len(table)
    left = list(check_edges(allowed, nodes)) if allowed is not None else all_edges(nodes)
    _check_count(count, left)
    factors: dict[Edge, list[float]] = {edge: [] for edge in left}
    chosen: list[Edge] = []
    while len(chosen) < count:
        # multiplied in ascending order, so that equal distances in another order give the same number to the bit
        value = {edge: math.prod(factors[edge], start=table[edge]) for edge in factors}
        best = max(value.values())
        taken = min(
            (edge for edge in value if value[edge] == best),
            key=lambda edge: (passes([*chosen, edge], nodes), edge[1], edge[0]),
        )
        chosen.append(taken)
        del factors[taken]
        for edge, row in factors.items():
            bisect.insort(row, 1 - gamma ** distance(edge, taken))
    return tuple(chosen)


def top_k(scores: np.ndarray, count: int, allowed: Iterable[Edge] | None = None) -> tuple[Edge, ...]:
    """The edges of the highest scores, without a discount: :func:`greedy` with gamma 0."""
    return greedy(scores, count, 0.0, allowed)


def first_k(nodes: int, count: int) -> tuple[Edge, ...]:
    """The parallel edges nearest to the input."""
    edges = named_edges("parallel", nodes)
    _check_count(count, edges)
    return edges[:count]


def last_k(nodes: int, count: int) -> tuple[Edge, ...]:
    """The parallel edges nearest to the output."""
    return first_k(nodes, nodes - 1)[-count:] if count < nodes else first_k(nodes, count)


def random_sets(
    nodes: int, count: int, draws: int, *, kinds: Sequence[str] = KINDS, seed: int = 0
) -> list[tuple[Edge, ...]]:
    """Sets of distinct edges, each drawn uniformly from the kinds given; sorted by target within a set.

    Args:
        nodes: n of the net.
        count: edges in a set.
        draws: sets.
        kinds: to draw from.
        seed: the same sets from the same seed, and the first of many draws are those of few.
    """
    edges = all_edges(nodes, kinds)
    _check_count(count, edges)
    draw = np.random.default_rng(seed)
    return [
        tuple(edges[k] for k in sorted(draw.choice(len(edges), count, replace=False).tolist())) for _ in range(draws)
    ]


@dataclass(frozen=True)
class Trials:
    """Placements that were tried, and how good each was.

    Attributes:
        placements: in the order of the trials.
        values: of each, higher is better.
    """

    placements: tuple[tuple[Edge, ...], ...]
    values: tuple[float, ...]

    @property
    def best(self) -> tuple[Edge, ...]:
        """The placement of the highest value, the first of equal ones."""
        return self.placements[self.values.index(max(self.values))]

    @property
    def mean(self) -> float:
        """Mean value over all trials."""
        return mean(self.values)


def try_placements(
    evaluate: Evaluate, placements: Iterable[Sequence[Edge]], progress: Progress | None = None
) -> Trials:
    """Evaluate placements one after the other: random search over :func:`random_sets`.

    Choose with a validation split in ``evaluate``, never with the test split.

    Args:
        evaluate: how good a placement is; higher is better.
        placements: to try, at least one.
        progress: called with ("trials", done, in all).

    Raises:
        InputError: none to try.
    """
    tried = [tuple(edges) for edges in placements]
    if not tried:
        raise InputError("no placement to try", "at least one")
    values = []
    for done, edges in enumerate(tried, 1):
        values.append(float(evaluate(edges)))
        if progress:
            progress("trials", done, len(tried))
    return Trials(tuple(tried), tuple(values))


def single_edge_sweep(
    evaluate: Evaluate, nodes: int, edges: Iterable[Edge] | None = None, progress: Progress | None = None
) -> np.ndarray:
    """How good one adapter is at each edge.

    Args:
        evaluate: how good a placement is.
        nodes: n of the net.
        edges: to try; default all n * n.
        progress: as in :func:`try_placements`.

    Returns:
        float64 (n, n), [source, target], NaN where not tried: a table for :func:`whenwhere.reports.charts.heat_map`.
    """
    tried = all_edges(nodes) if edges is None else list(check_edges(edges, nodes))
    trials = try_placements(evaluate, [(edge,) for edge in tried], progress)
    table = np.full((nodes, nodes), np.nan)
    for edge, value in zip(tried, trials.values):
        table[edge] = value
    return table


def _check_count(count: int, edges: Sequence[Edge]) -> None:
    if not 1 <= count <= len(edges):
        raise InputError(f"{count} edges to choose", f"1 to {len(edges)}, as many as there are to choose from")

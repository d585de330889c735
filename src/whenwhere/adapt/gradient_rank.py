"""Scores of all edges from one gradient measurement: what would an adapter there be asked to do, before it is trained?

At an edge (i, j) a full linear map M that is zero is thought of in place of an adapter. It changes nothing, so one
ordinary forward and backward pass gives its gradient at every edge, the recurrent ones included:
G_ij = sum over images and tokens of z_i' d_j, with z_i the stream at node i and d_j the derivative of the loss by the
stream at node j. The number of singular values of G_ij that are not small against the largest is the score.

Source: Nowak et al., arXiv 2410.15858 (2024): of several ways to make one number of the gradient, the rank went best
with the accuracy of single adapters. The zero map and the threshold are choices made here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
import torch.nn.functional as F
from scipy.stats import spearmanr
from torch import Tensor, nn

from whenwhere.adapt.anatomy import Anatomy
from whenwhere.errors import InputError

Batches = Callable[[], Iterable[tuple[Tensor, Tensor]]]
Score = Literal["rank", "frobenius", "spectral", "nuclear", "stable_rank"]
SCORES: tuple[Score, ...] = get_args(Score)
Target = Literal["map", "w_up"]
Progress = Callable[[str, int, int], None]
RTOL = 1e-3
_MEMORY = 2**31  # bytes of accumulated gradients


@dataclass(frozen=True)
class EdgeGradients:
    """Singular values of the gradient at each edge.

    Attributes:
        singular_values: float32 (n, n, k), largest first; [i, j] is the edge from node i to node j.
        images: over how many images.
    """

    singular_values: np.ndarray
    images: int

    def score(self, kind: Score = "rank", rtol: float = RTOL) -> np.ndarray:
        """One number per edge.

        Args:
            kind: "rank" (how many singular values exceed ``rtol`` times the largest), "frobenius", "spectral" and
                "nuclear" norm, or "stable_rank" (squared Frobenius over squared spectral norm).
            rtol: for "rank" alone.

        Returns:
            float64 (n, n), 0 where the gradient is zero.

        Raises:
            InputError: another kind, or ``rtol`` outside of (0, 1).
        """
        values = self.singular_values.astype(np.float64)
        if kind == "rank":
            if not 0 < rtol < 1:
                raise InputError(f"rtol={rtol}", "between 0 and 1")
            return (values > rtol * values[..., :1]).sum(-1).astype(np.float64)
        if kind == "frobenius":
            return np.sqrt((values**2).sum(-1))
        if kind == "spectral":
            return values[..., 0]
        if kind == "nuclear":
            return values.sum(-1)
        if kind == "stable_rank":
            top = values[..., 0] ** 2
            return np.divide((values**2).sum(-1), top, out=np.zeros_like(top), where=top > 0)
        raise InputError(f"score {kind!r}", f"one of {', '.join(SCORES)}")

    def sensitivity(self, rtols: Iterable[float] = (1e-4, 1e-3, 1e-2)) -> dict[str, dict[str, float]]:
        """How much the ranks depend on the threshold.

        Returns:
            For each rtol, as "0.001": "least", "median" and "most" of the ranks, "full", the share of edges of full
            rank, and "spearman", the rank correlation with the scores at :data:`RTOL` (NaN if all are alike).
        """
        usual, rows = self.score("rank").ravel(), {}
        for rtol in rtols:
            ranks = self.score("rank", rtol).ravel()
            alike = ranks.min() == ranks.max() or usual.min() == usual.max()
            rows[f"{rtol:g}"] = {
                "least": float(ranks.min()),
                "median": float(np.median(ranks)),
                "most": float(ranks.max()),
                "full": float((ranks == self.singular_values.shape[-1]).mean()),
                "spearman": float("nan") if alike else float(spearmanr(usual, ranks).statistic),
            }
        return rows


def edge_gradients(
    parts: Anatomy,
    head: nn.Linear,
    batches: Batches,
    *,
    target: Target = "map",
    rank: int = 8,
    seed: int = 0,
    memory: int = _MEMORY,
    progress: Progress | None = None,
) -> EdgeGradients:
    """Measure the gradient at every edge; nothing is trained or changed.

    Args:
        parts: of the frozen backbone.
        head: linear, from the pooled vector to logits; not zero, or no gradient would come through.
        batches: gives (pixels, labels) anew at each call, the same ones: float (b, 3, size, size) and int64 (b,).
        target: "map" for the full linear map; "w_up" for the last matrix of a fresh adapter of ``rank``, whose gradient
            has at most that rank (one random first matrix per source node), kept for comparison.
        rank, seed: of "w_up".
        memory: bytes for accumulated gradients. The n * n * D * D numbers need several sweeps over the batches where
            they do not fit; the result is the same.
        progress: called with ("gradients", batches done, 0) after each batch.

    Returns:
        Gradients of the mean cross-entropy over all images, accumulated in float32 (float64 for a float64 backbone).

    Raises:
        InputError: no image at all, or gradients that are not finite.
    """
    if target not in get_args(Target):
        raise InputError(f"target {target!r}", f"one of {', '.join(get_args(Target))}")
    nodes, width = len(parts.sublayers) + 1, parts.width
    device = head.weight.device
    kind = torch.promote_types(head.weight.dtype, torch.float32)
    down = None
    if target == "w_up":
        draw = torch.Generator().manual_seed(seed)
        down = (torch.randn(nodes, width, rank, generator=draw) * width**-0.5).to(device, kind)
    rows = rank if target == "w_up" else width
    at_once = max(1, min(nodes, memory // (nodes * rows * width * 4)))
    found, images, done = [], 0, 0
    for begin in range(0, nodes, at_once):
        sources = range(begin, min(begin + at_once, nodes))
        sums = torch.zeros(len(sources), rows, nodes * width, dtype=kind, device=device)
        images = 0
        for pixels, labels in batches():
            states, deltas = _states_and_gradients(parts, head, pixels.to(device), labels.to(device))
            beside = torch.cat([delta.flatten(0, 1) for delta in deltas], 1).to(kind)  # (b * N, n * D)
            for place, i in enumerate(sources):
                read = states[i].flatten(0, 1).to(kind)
                if down is not None:
                    read = F.gelu(read @ down[i])
                sums[place].addmm_(read.T, beside)
            images += len(labels)
            done += 1
            if progress:
                progress("gradients", done, 0)
        if not images:
            raise InputError("no image to measure gradients on", "at least one batch")
        if not all(rows_of.isfinite().all() for rows_of in sums):
            raise InputError("gradients that are not finite", "finite pixels, weights and head")
        found += [_singular_values(rows_of / images, nodes, width) for rows_of in sums]
    return EdgeGradients(np.stack(found), images)


def _states_and_gradients(
    parts: Anatomy, head: nn.Linear, pixels: Tensor, labels: Tensor
) -> tuple[list[Tensor], tuple[Tensor, ...]]:
    """The stream at every node, and the derivative of the summed cross-entropy by each."""
    with torch.no_grad():
        z = parts.embed(pixels)
    with torch.enable_grad():
        states = [z.requires_grad_()]
        for sublayer in parts.sublayers:
            states.append(states[-1] + sublayer.update(states[-1]))
        logits = F.linear(parts.backbone.finish(states[-1]), head.weight.detach(), head.bias.detach())
        loss = F.cross_entropy(logits, labels, reduction="sum")
        deltas = torch.autograd.grad(loss, states)
    return [state.detach() for state in states], deltas


def _singular_values(row: Tensor, nodes: int, width: int) -> np.ndarray:
    """Of one source's gradients, side by side (rows, n * D): float32 (n, min(rows, D))."""
    blocks = row.unflatten(1, (nodes, width)).transpose(0, 1)  # (n, rows, D)
    return torch.stack([torch.linalg.svdvals(block) for block in blocks]).float().cpu().numpy()


def check_features(features: Tensor, labels: Tensor, classes: int) -> None:
    """Refuse labels (images,) outside of 0..classes-1, and features that are not finite, with an InputError."""
    if not 0 <= int(labels.min()) <= int(labels.max()) < classes:
        raise InputError(f"labels {int(labels.min())}..{int(labels.max())}", f"0..{classes - 1}")
    if not features.isfinite().all():
        raise InputError("features of the images that are not finite", "finite pixels and weights")


def linear_probe(
    features: Tensor,
    labels: Tensor,
    classes: int,
    *,
    epochs: int = 10,
    batch: int = 64,
    lr: float = 1e-2,
    seed: int = 0,
) -> nn.Linear:
    """Fit a linear head on frozen features with AdamW and a cosine schedule: the same head from the same seed.

    Args:
        features: float (images, D).
        labels: int64 (images,), 0..classes-1.
        classes: at least two.
        epochs, batch, lr, seed: of the fit.

    Returns:
        D to ``classes``, on the features' device.

    Raises:
        InputError: labels outside of 0..classes-1, fewer than two classes, no epoch, or features that are not finite.
    """
    if classes < 2 or epochs < 1 or not len(labels):
        raise InputError(f"{len(labels)} images, {classes} classes, {epochs} epochs", "images, two classes, an epoch")
    check_features(features, labels, classes)
    head = nn.Linear(features.shape[1], classes, device=features.device, dtype=features.dtype)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    draw = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(head.parameters(), lr=lr, weight_decay=1e-4)
    steps = epochs * -(-len(labels) // batch)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    with torch.enable_grad():
        for _ in range(epochs):
            for rows in torch.randperm(len(labels), generator=draw).to(features.device).split(batch):
                loss = F.cross_entropy(head(features[rows]), labels[rows])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
    return head.requires_grad_(False)

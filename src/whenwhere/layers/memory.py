"""Weighted streaming K-means, the memory of Zhou et al., Streaming Dense Video Captioning, CVPR 2024, section 3.1."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from whenwhere.errors import InputError
from whenwhere.layers.memory_baselines import AdjacentMerge, ExponentialAverage, KeepAll, SpatialPool, TemporalPool
from whenwhere.layers.memory_contract import Memory, MemoryConfig, MemoryKind, MemoryState, concatenate

__all__ = [
    "Memory",
    "MemoryConfig",
    "MemoryKind",
    "MemoryState",
    "StreamingKMeans",
    "build_memory",
    "kmeans_offline",
    "weighted_kmeans",
]


def weighted_kmeans(points: Tensor, weights: Tensor, centres: Tensor, iterations: int) -> tuple[Tensor, Tensor, Tensor]:
    """Weighted K-means with given start centres; distances come from one matrix product.

    Hard assignment by Euclidean distance, ties to the lowest index; a cluster of weight 0 keeps its centre.

    Args:
        points: (B, N, D) float32.
        weights: (B, N) float64, >= 0.
        centres: (B, K, D) float32, start centres.
        iterations: steps, at least 1.

    Returns:
        The centres (B, K, D), the assignment (B, N) int64 of the last step, and each point's share (B, N) float64 of
        its cluster's weight at that step.
    """
    mean = points.mean(dim=1, keepdim=True)  # distances do not change, but float32 keeps more of their digits
    centred, start = points - mean, centres
    assignment, share = torch.empty(0), torch.empty(0)
    for _ in range(iterations):
        shifted = centres - mean
        # argmin_k |x - c|^2 = argmin_k |c|^2 / 2 - x.c
        half_norms = shifted.square().sum(dim=-1).unsqueeze(1) / 2  # (B, 1, K)
        assignment = torch.baddbmm(half_norms, centred, shifted.transpose(1, 2), alpha=-1).argmin(dim=-1)  # (B, N)
        mass = torch.zeros(centres.shape[:2], dtype=weights.dtype, device=weights.device)
        mass.scatter_add_(1, assignment, weights)  # (B, K)
        share = weights / mass.gather(1, assignment)
        share = torch.where(weights > 0, share, torch.zeros_like(share))
        # As start + mean offset rather than a plain weighted sum: a centre that receives copies of itself stays put to
        # the bit, and counts of millions do not wash out the low digits.
        centres = torch.where(mass.unsqueeze(-1) > 0, _shifted_means(start, points, assignment, share), centres)
    return centres, assignment, share


def kmeans_offline(tokens: Tensor, size: int, iterations: int = 2) -> Tensor:
    """Cluster all tokens of a clip at once, the paragraph model's memory: the first ``size`` tokens start as centres.

    Args:
        tokens: (B, N, D) float32, N >= ``size``.
        size: K.
        iterations: K-means steps.

    Returns:
        (B, K, D) centres.
    """
    if tokens.shape[1] < size:
        raise InputError(f"{tokens.shape[1]} tokens for {size} centres", "at least as many tokens as centres")
    weights = torch.ones(tokens.shape[:2], dtype=torch.float64, device=tokens.device)
    return weighted_kmeans(tokens, weights, tokens[:, :size], iterations)[0]


class StreamingKMeans(Memory):
    """K centres, moved by a few weighted K-means steps over (old centres, new tokens) at every frame.

    While fewer than K tokens have been seen the memory is those tokens themselves. With ``momentum`` on and neither
    cap nor decay, the counts always sum to the number of tokens seen and the weighted mean of the memory is their mean.
    """

    def _join(self, state: MemoryState, frame: MemoryState) -> MemoryState:
        size, old = self.config.size, state.tokens.shape[1]
        if old < size:
            if size % frame.tokens.shape[1]:
                raise InputError(
                    f"a memory of {size} tokens for frames of {frame.tokens.shape[1]}",
                    "a memory size that is a multiple of the tokens a frame",
                )
            return concatenate(state, frame)
        if self.config.iterations == 0:
            return state._replace(frames=frame.frames)
        points = concatenate(state._replace(counts=state.counts * self.config.decay), frame)
        weights = points.counts if self.config.momentum else torch.ones_like(points.counts)
        tokens, assignment, share = weighted_kmeans(points.tokens, weights, state.tokens, self.config.iterations)
        counts = torch.zeros_like(state.counts).scatter_add_(1, assignment, points.counts)
        if self.config.count_cap is not None:
            counts = counts.clamp(max=self.config.count_cap)
        times = state.times
        if times is not None and points.times is not None:
            times = _shifted_means(times.unsqueeze(-1), points.times.unsqueeze(-1), assignment, share).squeeze(-1)
        return MemoryState(tokens, counts, times, frame.frames)


_KINDS: dict[MemoryKind, type[Memory]] = {
    "kmeans": StreamingKMeans,
    "temporal_pool": TemporalPool,
    "spatial_pool": SpatialPool,
    "ema": ExponentialAverage,
    "adjacent_merge": AdjacentMerge,
    "none": KeepAll,
}


def build_memory(config: MemoryConfig, *, gradient: bool = False) -> Memory:
    """Return the memory that ``config`` describes; with ``gradient`` it passes gradients to the tokens."""
    return _KINDS[config.kind](config, gradient=gradient)


def _shifted_means(start: Tensor, points: Tensor, assignment: Tensor, share: Tensor) -> Tensor:
    """Return ``start_k + sum of share_i * (x_i - start_k)`` over the members i of each cluster k, shape (B, K, D)."""
    batch, size, _ = start.shape
    rows = (assignment + size * torch.arange(batch, device=start.device).unsqueeze(1)).flatten()  # (B * N,)
    offsets = points.flatten(0, 1) - start.flatten(0, 1).index_select(0, rows)
    offsets = (offsets * share.flatten().unsqueeze(-1).to(points.dtype)).view_as(points)
    # Away from the CPU index_add uses atomics, whose order changes the last bits from run to run.
    sums = _sums_by_index if start.device.type == "cpu" else _sums_by_product
    return start + sums(offsets, assignment, size)


def _sums_by_index(values: Tensor, assignment: Tensor, size: int) -> Tensor:
    """Sum values (B, N, D) into (B, size, D) by assignment (B, N), row by row."""
    batch, _, width = values.shape
    rows = assignment + size * torch.arange(batch, device=values.device).unsqueeze(1)
    sums = torch.zeros(batch * size, width, dtype=values.dtype, device=values.device)
    return sums.index_add(0, rows.flatten(), values.flatten(0, 1)).view(batch, size, width)


def _sums_by_product(values: Tensor, assignment: Tensor, size: int) -> Tensor:
    """The same as one matrix product with the membership matrix."""
    return torch.bmm(F.one_hot(assignment, size).to(values.dtype).transpose(1, 2), values)

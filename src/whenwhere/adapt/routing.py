"""Which nested expert a token goes to: the router of MoNE and Expert Preferred Routing (MoNE, algorithm 1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from whenwhere.errors import InputError


class Assignment(NamedTuple):
    """Where the tokens of each image go.

    Attributes:
        experts: int64 (B, N), the expert of each token, 0 the smallest.
        order: int64 (B, N), token indices sorted by expert, the largest expert's tokens first, each expert's by falling
            probability. Taken in this order, every expert's tokens lie side by side.
    """

    experts: Tensor
    order: Tensor


class Router(nn.Module):
    """Probabilities of the experts for each token, from one linear map.

    Args:
        width: channels D of a token.
        experts: E.
        norm: put a LayerNorm in front (off in the paper).
        random: route at random under the same counts: the control that tells routing from mere saving.
    """

    def __init__(self, width: int, experts: int, *, norm: bool = False, random: bool = False) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=1e-6) if norm else nn.Identity()
        self.linear = nn.Linear(width, experts)
        nn.init.uniform_(self.linear.weight, -0.02, 0.02)
        nn.init.zeros_(self.linear.bias)
        self.random = random

    def forward(self, tokens: Tensor) -> Tensor:
        """Probabilities (..., E), float32, of tokens (..., D)."""
        return torch.softmax(self.linear(self.norm(tokens)).float(), dim=-1)

    def assign(self, probabilities: Tensor, counts: Sequence[int]) -> Assignment:
        """Experts for probabilities (B, N, E), by preference or, if ``random``, by lot (torch's generator)."""
        preferred = torch.rand_like(probabilities) if self.random else probabilities
        return expert_preferred_routing(preferred, counts)


@torch.no_grad()
def expert_preferred_routing(probabilities: Tensor, counts: Sequence[int]) -> Assignment:
    """The largest expert takes the tokens it is most probable for, then the next one of the rest, and so on.

    Args:
        probabilities: (B, N, E), 0 the smallest expert.
        counts: tokens of each expert, smallest first, N in all (:func:`whenwhere.adapt.capacity.expert_counts`).

    Returns:
        The same counts in every image. No gradient passes.

    Raises:
        InputError: counts do not fit the probabilities.
    """
    batch, tokens, experts = probabilities.shape
    if len(counts) != experts or sum(counts) != tokens or min(counts) < 0:
        raise InputError(f"counts {tuple(counts)}", f"{experts} counts of at least 0 that sum to {tokens} tokens")
    left = probabilities.detach().clone()
    chosen = torch.zeros(batch, tokens, dtype=torch.int64, device=left.device)
    order = []
    for expert in reversed(range(experts)):
        if not counts[expert]:
            continue
        best = left[..., expert].topk(counts[expert], dim=1).indices  # (B, k)
        chosen.scatter_(1, best, expert)
        left.scatter_(1, best[..., None].expand(-1, -1, experts), float("-inf"))
        order.append(best)
    return Assignment(chosen, torch.cat(order, dim=1))

"""Ladder side tuning: a narrow transformer beside the frozen one, without a backward pass through the latter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from whenwhere.adapt.adapted import StatesAdapted
from whenwhere.adapt.anatomy import anatomy
from whenwhere.backbones.vision import Backbone
from whenwhere.errors import InputError

_TEMPERATURE = 0.1  # of the gates, as in the paper


@dataclass(frozen=True)
class LadderConfig:
    """Size of the side network.

    Args:
        reduction: the side network is this many times narrower than the backbone.
        heads: of its attention.
    """

    reduction: int = 8
    heads: int = 4


class Ladder(StatesAdapted):
    """LST (Sung, Cho and Bansal, NeurIPS 2022), without their pruned initial weights.

    ``h_k = block_k(mu_k h_{k-1} + (1 - mu_k) W_k y_k)`` for every block k, with ``mu_k = sigmoid(alpha_k / 0.1)``; the
    vector is read from ``y_L + W_up h_L``. W_up starts at 0, so it starts as a linear probe. Backbones hand out the
    states after their blocks, so ``h_0`` is a projection of ``y_1``, not of the embedding.

    Raises:
        InputError: a CNN, or a width that the reduction and the heads do not divide.
    """

    method = "ladder"
    transformers_only = True
    Config = LadderConfig

    def __init__(self, backbone: Backbone, labels: Sequence[str], config: Any = None) -> None:
        super().__init__(backbone, labels, config)
        width, depth = anatomy(backbone).width, backbone.depth
        reduction, heads = self.config.reduction, self.config.heads
        if min(reduction, heads) < 1 or width % (reduction * heads):
            raise InputError(
                f"reduction {reduction} and {heads} heads", f"numbers whose product divides the width, {width}"
            )
        narrow = width // reduction
        self.taps = tuple(range(depth))
        self.down = nn.ModuleList(nn.Linear(width, narrow) for _ in range(depth + 1))
        self.alpha = nn.Parameter(torch.zeros(depth))
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(
                narrow, heads, 4 * narrow, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
            )
            for _ in range(depth)
        )
        self.up = nn.Linear(narrow, width)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def vector_of(self, states: Sequence[Tensor]) -> Tensor:
        """The vector from the states of all blocks; for clips, the mean over frames."""
        frames = [state.flatten(0, -3).to(self.alpha.dtype) for state in states]  # (B or B * T, N, D)
        gates = torch.sigmoid(self.alpha / _TEMPERATURE)
        h = self.down[0](frames[0])
        for gate, down, block, y in zip(gates, self.down[1:], self.blocks, frames):
            h = block(gate * h + (1 - gate) * down(y))
        last = frames[-1] + self.up(h)
        return self.finish(last.unflatten(0, states[0].shape[:2]) if states[0].ndim == 4 else last)

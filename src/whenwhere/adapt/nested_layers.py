"""A transformer block in which every token works at the width of its own nested expert (MoNE, section 3.2).

The residual stream is D wide for all. A token on an expert of width d reads the first d features of its normalised self
and writes the first d features of its update; queries, keys, values and the hidden layer are full size. Two forms:

- mask: every product is done at full width on features that are set to 0. It saves nothing and shows what is meant.
- grouped: tokens come sorted by expert, so each expert's are one slice, and a product takes the slice of the weights.

Tokens are laid out (T, B, D), token position first: then a slice of positions is one matrix with equal strides for the
whole batch, and nothing is gathered or scattered inside the blocks.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class Group:
    """Positions ``start`` to ``stop`` (exclusive) work on the first ``width`` features."""

    start: int
    stop: int
    width: int


@dataclass(frozen=True)
class Plan:
    """How the tokens of a batch run through a block.

    Attributes:
        groups: cover all T positions in order; in the mask form one group of full width.
        mask: (T, B, D), 1 where a token may read and write; None in the grouped form.
        gate: (T, B, 1), factor of the feed-forward update, or None for 1.
    """

    groups: tuple[Group, ...]
    mask: Tensor | None = None
    gate: Tensor | None = None

    def read(self, linear: nn.Linear, x: Tensor) -> list[Tensor]:
        """In-projection of normalised tokens (T, B, D): one (rows, out) matrix a group, all output features."""
        if self.mask is not None:
            x = x * self.mask
        batch, rows = x.shape[1], x.reshape(-1, x.shape[2])
        return [
            F.linear(rows[g.start * batch : g.stop * batch, : g.width], linear.weight[:, : g.width], linear.bias)
            for g in self.groups
        ]

    def split(self, x: Tensor) -> list[Tensor]:
        """Rows of each group of a (T, B, ...) tensor, as matrices."""
        return [x[g.start : g.stop].reshape(-1, x.shape[-1]) for g in self.groups]

    def write(self, linear: nn.Linear, parts: list[Tensor], x: Tensor, *, gated: bool = False) -> Tensor:
        """Residual (T, B, D) plus the out-projection of each group's (rows, in) matrix.

        Without gradients the residual is changed in place, and features past a group's width are not touched at all.
        """
        gate = self.gate if gated else None
        updates = []
        for group, part in zip(self.groups, parts):
            bias = None if linear.bias is None else linear.bias[: group.width]
            update = F.linear(part, linear.weight[: group.width], bias)
            update = update.view(group.stop - group.start, x.shape[1], group.width)
            if self.mask is not None:
                update = update * self.mask
            updates.append(update)
        if torch.is_grad_enabled():
            if gate is not None:
                updates = [gate[g.start : g.stop] * update for g, update in zip(self.groups, updates)]
            return x + torch.cat([F.pad(update, (0, x.shape[2] - update.shape[2])) for update in updates])
        for group, update in zip(self.groups, updates):
            target = x[group.start : group.stop, :, : group.width]
            if gate is None:
                target.add_(update)
            else:
                target.addcmul_(update.to(target.dtype), gate[group.start : group.stop])
        return x


class NestedAttention(nn.Module):
    """Multi-head self-attention over all tokens, whose projections are nested.

    Args:
        width: D.
        heads: number of heads, a divisor of D.
        qkv_bias: whether queries, keys and values have a bias.
    """

    def __init__(self, width: int, heads: int, qkv_bias: bool = True) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=qkv_bias)
        self.proj = nn.Linear(width, width)

    def heads_of(self, x: Tensor, plan: Plan) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values (B, heads, T, D / heads) of normalised tokens (T, B, D)."""
        parts = plan.read(self.qkv, x)
        qkv = parts[0] if len(parts) == 1 else torch.cat(parts)
        q, k, v = qkv.view(*x.shape[:2], 3, self.heads, -1).permute(2, 1, 3, 0, 4)
        return q, k, v

    def forward(self, x: Tensor, residual: Tensor, plan: Plan) -> Tensor:
        """``residual`` (T, B, D) plus the attention of normalised tokens ``x`` (T, B, D)."""
        q, k, v = self.heads_of(x, plan)
        mixed = F.scaled_dot_product_attention(q, k, v)  # (B, heads, T, D / heads)
        mixed = mixed.permute(2, 0, 1, 3).reshape(x.shape)
        return plan.write(self.proj, plan.split(mixed), residual)


class NestedMlp(nn.Module):
    """Feed-forward layer with GELU: reads and writes the expert's width, the hidden layer is full size.

    Args:
        width: D.
        hidden: features of the hidden layer.
    """

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor, residual: Tensor, plan: Plan) -> Tensor:
        """``residual`` (T, B, D) plus the gated update of normalised tokens ``x`` (T, B, D)."""
        hidden = [F.gelu(part) for part in plan.read(self.fc1, x)]
        return plan.write(self.fc2, hidden, residual, gated=True)


class NestedBlock(nn.Module):
    """Pre-norm transformer block of nested layers; parameters are named as in timm.

    Args:
        width: D.
        heads: attention heads.
        hidden: features of the feed-forward hidden layer.
        qkv_bias: whether queries, keys and values have a bias.
        eps: of the LayerNorms, which see all D features of every token.
    """

    def __init__(self, width: int, heads: int, hidden: int, qkv_bias: bool = True, eps: float = 1e-6) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=eps)
        self.attn = NestedAttention(width, heads, qkv_bias)
        self.norm2 = nn.LayerNorm(width, eps=eps)
        self.mlp = NestedMlp(width, hidden)

    def forward(self, x: Tensor, plan: Plan) -> Tensor:
        """Tokens (T, B, D) to (T, B, D); without gradients ``x`` itself is changed and returned."""
        x = self.attn(self.norm1(x), x, plan)
        return self.mlp(self.norm2(x), x, plan)

"""Peers of nested experts that save by having fewer tokens: merging (ToMe) and dropping (after Mixture-of-Depths).

Both run the blocks of a :class:`whenwhere.adapt.nested.NestedViT` at full width: same weights, counted the same way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from whenwhere.adapt.nested import NestedViT
from whenwhere.adapt.nested_layers import Group, Plan
from whenwhere.errors import InputError


def merge_tokens(x: Tensor, size: Tensor, metric: Tensor, merged: int, prefix: int = 0) -> tuple[Tensor, Tensor]:
    """Merge the most similar pairs between the tokens at even and at odd places (ToMe, section 3).

    Args:
        x: (B, T, D).
        size: (B, T), how many patches each token stands for.
        metric: (B, T, K), similarity is the cosine of these; ToMe takes the mean of the keys over the heads.
        merged: tokens to be rid of, at most half of those after the prefix.
        prefix: leading tokens that are left alone.

    Returns:
        Tokens (B, T - merged, D), weighted means of what was merged, and their sizes.

    Raises:
        InputError: more merges than there are pairs.
    """
    rest = x.shape[1] - prefix
    if not 0 <= merged <= rest // 2:
        raise InputError(f"{merged} merges of {rest} tokens", f"0 to {rest // 2}")
    if not merged:
        return x, size
    unit = F.normalize(metric[:, prefix:].float(), dim=-1)
    best, partner = (unit[:, ::2] @ unit[:, 1::2].transpose(1, 2)).max(dim=-1)  # of each even token: (B, T / 2)
    ranked = best.argsort(dim=1, descending=True, stable=True)
    gone, kept = ranked[:, :merged], ranked[:, merged:].sort(dim=1).values
    sums = torch.cat([x * size[..., None], size[..., None]], dim=-1)  # (B, T, D + 1): both add up
    even, odd = sums[:, prefix::2], sums[:, prefix + 1 :: 2]

    def take(source: Tensor, index: Tensor) -> Tensor:
        return source.gather(1, index[..., None].expand(-1, -1, source.shape[2]))

    moved = take(even, gone)
    odd = odd.scatter_add(1, partner.gather(1, gone)[..., None].expand_as(moved), moved)
    sums = torch.cat([sums[:, :prefix], take(even, kept), odd], dim=1)
    return sums[..., :-1] / sums[..., -1:], sums[..., -1]


class _Reduced(nn.Module):
    """A dense transformer with fewer tokens; trains like :class:`NestedViT`."""

    def __init__(self, vit: NestedViT) -> None:
        super().__init__()
        self.vit = vit

    def forward(self, pixels: Tensor) -> Tensor:
        raise NotImplementedError

    def loss(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Cross-entropy of ``pixels`` and ``labels``, as :meth:`NestedViT.loss` takes them."""
        return {"loss": self.vit.cross_entropy(self(batch["pixels"]), batch["labels"])}

    def _plan(self, tokens: int) -> Plan:
        return Plan((Group(0, tokens, self.vit.config.blocks.width),))

    def _flops(self, attending: Sequence[int], feeding: Sequence[int], extra: int) -> int:
        """Multiply-adds with so many tokens in the attention and in the feed-forward layer of each block."""
        c = self.vit.config.blocks
        linear = sum(4 * c.width**2 * t for t in attending) + sum(2 * c.width * c.hidden * t for t in feeding)
        return self.vit.fixed_flops() + linear + sum(2 * t * t * c.width for t in attending) + extra


class MergingViT(_Reduced):
    """Token merging: every block merges the same number of tokens between attention and feed-forward layer.

    Needs no training, and can be trained. The classifier reads the mean over tokens weighted by their sizes.

    Args:
        vit: run at full width.
        merged: tokens merged in each block; fewer where not as many pairs are left.
    """

    def __init__(self, vit: NestedViT, merged: int) -> None:
        super().__init__(vit)
        if merged < 0:
            raise InputError(f"{merged} merges a block", "0 or more")
        self.merged = merged

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits (B, classes) of pixels (B, channels, size, size)."""
        prefix = self.vit.config.prefix
        x = self.vit.embed(pixels)
        size = torch.ones(x.shape[:2], device=x.device, dtype=x.dtype)
        blocks: Any = self.vit.blocks
        for block in blocks:
            plan = self._plan(x.shape[1])
            x = x.transpose(0, 1).contiguous()  # (T, B, D)
            q, k, v = block.attn.heads_of(block.norm1(x), plan)
            mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=size.log()[:, None, None].to(q.dtype))
            x = plan.write(block.attn.proj, plan.split(mixed.permute(2, 0, 1, 3).reshape(x.shape)), x)
            merged = min(self.merged, (len(x) - prefix) // 2)
            y, size = merge_tokens(x.transpose(0, 1), size, k.mean(dim=1), merged, prefix)
            y = y.transpose(0, 1).contiguous()
            x = block.mlp(block.norm2(y), y, self._plan(len(y))).transpose(0, 1)
        x = self.vit.norm(x)
        if self.vit.config.pool == "class":
            pooled = x[:, 0]
        else:
            weights = size[:, prefix:, None]
            pooled = (x[:, prefix:] * weights).sum(1) / weights.sum(1)
        return self.vit.head(self.vit.fc_norm(pooled))

    def flops(self) -> int:
        """Multiply-adds for one image, the search for pairs included."""
        c, prefix = self.vit.config, self.vit.config.prefix
        tokens, attending, feeding, search = c.tokens, [], [], 0
        for _ in range(c.blocks.depth):
            merged = min(self.merged, tokens // 2)
            search += (tokens // 2) * (tokens - tokens // 2) * (c.blocks.width // c.blocks.heads) if merged else 0
            attending.append(tokens + prefix)
            tokens -= merged
            feeding.append(tokens + prefix)
        return self._flops(attending, feeding, search)


class DroppingViT(_Reduced):
    """Token dropping: in the chosen blocks only the tokens with the highest scores are computed, the others pass by.

    ``x' = x + g f(x)`` for those kept, where f is the whole block (its attention sees only them) and g is twice the
    sigmoid of a linear score, 1 at the start. Needs training.

    Args:
        vit: run at full width; without tokens in front.
        keep: share of the tokens that are kept, in (0, 1].
        blocks: which drop; None is every other one, as Mixture-of-Depths does.
    """

    def __init__(self, vit: NestedViT, keep: float, blocks: Sequence[int] | None = None) -> None:
        super().__init__(vit)
        depth = vit.config.blocks.depth
        self.dropping = tuple(range(1, depth, 2) if blocks is None else blocks)
        if not 0 < keep <= 1 or vit.config.prefix:
            raise InputError(f"keep {keep}, {vit.config.prefix} tokens in front", "a share in (0, 1] and none in front")
        if not set(self.dropping) <= set(range(depth)):
            raise InputError(f"blocks {self.dropping}", f"block numbers in 0..{depth - 1}")
        self.kept = max(1, int(keep * vit.config.tokens + 1e-6))
        scores = {str(i): nn.Linear(vit.config.blocks.width, 1) for i in self.dropping}
        for score in scores.values():
            nn.init.uniform_(score.weight, -0.02, 0.02)
            nn.init.zeros_(score.bias)
        self.scores = nn.ModuleDict(scores)

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits (B, classes) of pixels (B, channels, size, size)."""
        x = self.vit.embed(pixels).transpose(0, 1).contiguous()  # (N, B, D)
        for number, block in enumerate(self.vit.blocks):
            if number not in self.dropping:
                x = block(x, self._plan(len(x)))
                continue
            score = self.scores[str(number)](x)  # (N, B, 1)
            best = score.topk(self.kept, dim=0).indices
            rows = best.expand(-1, -1, x.shape[2])
            some = x.gather(0, rows)
            update = block(some.clone(), self._plan(self.kept)) - some
            x = x.scatter_add(0, rows, 2 * torch.sigmoid(score.gather(0, best)) * update)
        return self.vit.head(self.vit.fc_norm(self.vit.norm(x).mean(0)))

    def flops(self) -> int:
        """Multiply-adds for one image, scores included."""
        c = self.vit.config
        tokens = [self.kept if i in self.dropping else c.tokens for i in range(c.blocks.depth)]
        return self._flops(tokens, tokens, len(self.dropping) * c.tokens * c.blocks.width)

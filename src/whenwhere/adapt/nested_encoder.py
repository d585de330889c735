"""The stack of nested blocks with its router: what the image and the video form of MoNE share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from whenwhere.adapt.capacity import capacity, expert_counts, width_shares
from whenwhere.adapt.nested_layers import Group, NestedBlock, Plan
from whenwhere.adapt.routing import Router
from whenwhere.errors import InputError

Budget = float | Sequence[float] | np.ndarray | np.floating | Tensor
Form = Literal["grouped", "mask"]
_ALPHA_MOST = 1 - 1e-6


@dataclass(frozen=True)
class NestedBlocksConfig:
    """Shape of the stack and of its routing.

    Attributes:
        width: D, divisible by ``heads`` and by 2^(experts - 1).
        depth: blocks.
        heads: attention heads.
        hidden: features of the feed-forward hidden layer.
        experts: nested experts E, of widths D / 2^(E-1), ..., D / 2, D.
        qkv_bias: whether queries, keys and values have a bias.
        eps: of the LayerNorms.
        router_layers: blocks in front of which tokens are routed, ascending; blocks before the first run at full width,
            and between two the last decision holds. The paper's best is one router, in front of block 0.
        router_norm: a LayerNorm in front of the router (off in the paper).
        random_router: tokens are routed by lot: the control.
    """

    width: int = 768
    depth: int = 12
    heads: int = 12
    hidden: int = 3072
    experts: int = 4
    qkv_bias: bool = True
    eps: float = 1e-6
    router_layers: tuple[int, ...] = (0,)
    router_norm: bool = False
    random_router: bool = False

    def __post_init__(self) -> None:
        layers = tuple(self.router_layers)
        object.__setattr__(self, "router_layers", layers)  # a list when read from JSON
        if min(self.width, self.depth, self.heads, self.hidden, self.experts) < 1:
            raise InputError(f"{self}", "a width, depth, heads, hidden and experts of at least 1")
        if self.width % self.heads or self.width % 2 ** (self.experts - 1):
            raise InputError(
                f"width {self.width} with {self.heads} heads and {self.experts} experts",
                f"a width divisible by {self.heads} and by {2 ** (self.experts - 1)}",
            )
        if not layers or sorted(set(layers)) != list(layers) or not 0 <= layers[0] <= layers[-1] < self.depth:
            raise InputError(f"router_layers {layers}", f"ascending block numbers in 0..{self.depth - 1}")

    @property
    def widths(self) -> tuple[int, ...]:
        """Features of each expert, smallest first."""
        return tuple(round(self.width * share) for share in width_shares(self.experts))


class Encoded(NamedTuple):
    """What the stack gives.

    Attributes:
        tokens: (T, B, D) before the final norm, token position first: the prefix, then the others by ``order``.
        order: int64 (B, N), the original index of each token after the prefix.
        experts: int64 (B, N) in the original order, 0 the smallest, as the last router decided.
        probabilities: float32 (B, N, E) of the last router, in the original order.
    """

    tokens: Tensor
    order: Tensor
    experts: Tensor
    probabilities: Tensor


class NestedBlocks(nn.Module):
    """Blocks, routers and the scale of the gate; base of :class:`whenwhere.adapt.nested.NestedViT`.

    Args:
        config: shape of the stack.
    """

    def __init__(self, config: NestedBlocksConfig) -> None:
        super().__init__()
        c = self.stack = config
        self.form: Form = "grouped"
        self.blocks = nn.ModuleList(NestedBlock(c.width, c.heads, c.hidden, c.qkv_bias, c.eps) for _ in range(c.depth))
        self.routers = nn.ModuleDict(
            {
                str(layer): Router(c.width, c.experts, norm=c.router_norm, random=c.random_router)
                for layer in c.router_layers
            }
        )
        self.alpha = nn.Parameter(torch.zeros(()))  # 0: training starts from the nested model without a gate

    def shares(self, budget: Budget | None) -> tuple[float, ...]:
        """Shares of the experts: from an effective capacity, or given as they are; None is the dense model.

        Raises:
            InputError: a capacity out of range, or shares that do not fit.
        """
        if budget is None:
            budget = 1.0
        given = budget.tolist() if isinstance(budget, (Tensor, np.ndarray, np.generic)) else budget
        try:
            if not isinstance(given, Sequence):
                return capacity(float(given), self.stack.experts)
            shares = tuple(float(share) for share in given)
        except (TypeError, ValueError):
            raise InputError(f"budget {budget!r}", "an effective capacity, or the shares of the experts") from None
        expert_counts(shares, 1)  # refuses what does not sum to 1
        if len(shares) != self.stack.experts:
            raise InputError(f"{len(shares)} shares", f"{self.stack.experts}, one for each expert")
        return shares

    def encode(self, tokens: Tensor, budget: Budget | None, prefix: int = 0) -> Encoded:
        """Run the stack.

        Args:
            tokens: (B, prefix + N, D) with positions added; without gradients they may be overwritten.
            budget: effective capacity, or shares of the experts.
            prefix: leading tokens (class token, registers) that always take the full expert, outside of the counts.

        Returns:
            Tokens before the final norm, and where they went.
        """
        x = tokens.transpose(0, 1).contiguous()  # (T, B, D)
        count, batch = len(x) - prefix, x.shape[1]
        counts = expert_counts(self.shares(budget), count)
        state = Encoded(
            x,
            torch.arange(count, device=x.device).expand(batch, -1),
            torch.full((batch, count), self.stack.experts - 1, device=x.device),
            torch.zeros(batch, count, self.stack.experts, device=x.device),
        )
        plan = Plan((Group(0, len(x), self.stack.width),))
        alpha = self._alpha()
        for layer, block in enumerate(self.blocks):
            if str(layer) in self.routers:
                state, plan = self._route(self.routers[str(layer)], state, counts, prefix, alpha)
            state = state._replace(tokens=block(state.tokens, plan))
        return state

    def _route(
        self, router: nn.Module, state: Encoded, counts: tuple[int, ...], prefix: int, alpha: Tensor | None
    ) -> tuple[Encoded, Plan]:
        """Send the tokens to their experts; in the grouped form, sort them so."""
        x, order = state.tokens, state.order
        probabilities = router(x[prefix:]).transpose(0, 1)  # (B, N, E), in the order of x like all below
        experts, move = router.assign(probabilities.detach(), counts)  # type: ignore[operator]
        gate = None
        if alpha is not None:
            gate = 1 + alpha * probabilities.gather(2, experts[..., None])  # (B, N, 1)
        state = Encoded(
            x,
            order,
            torch.empty_like(experts).scatter_(1, order, experts),
            torch.empty_like(probabilities.detach()).scatter_(
                1, order[..., None].expand_as(probabilities), probabilities.detach()
            ),
        )
        mask: Tensor | None = None
        groups: tuple[Group, ...] = (Group(0, len(x), self.stack.width),)
        if self.form == "mask":
            widths = torch.tensor(self.stack.widths, device=x.device)[experts]  # (B, N)
            inside = torch.arange(x.shape[2], device=x.device) < widths.t()[..., None]  # (N, B, D)
            mask = torch.cat([inside.new_ones(prefix, *inside.shape[1:]), inside]).to(x.dtype)
        else:
            groups = self._groups(counts, prefix)
            if sum(count > 0 for count in counts) > 1:
                rows = move.t()[..., None].expand(-1, -1, x.shape[2])  # (N, B, D)
                state = state._replace(
                    tokens=torch.cat([x[:prefix], x[prefix:].gather(0, rows)]), order=order.gather(1, move)
                )
                gate = None if gate is None else gate.gather(1, move[..., None])
        if gate is not None:
            gate = gate.transpose(0, 1).to(x.dtype)
            gate = torch.cat([gate.new_ones(prefix, *gate.shape[1:]), gate])  # (T, B, 1)
        return state, Plan(groups, mask, gate)

    def _groups(self, counts: tuple[int, ...], prefix: int) -> tuple[Group, ...]:
        """Slices of token positions, the largest expert first: it takes the prefix too."""
        groups, start = [], 0
        for width, count in sorted(zip(self.stack.widths, counts), reverse=True):
            stop = start + count + (prefix if width == self.stack.width else 0)
            if stop > start:
                groups.append(Group(start, stop, width))
            start = stop
        return tuple(groups)

    def _alpha(self) -> Tensor | None:
        """The scale of the gate in [0, 1); gradients pass the border straight. None where it would change nothing."""
        if torch.is_grad_enabled():
            # an optimizer step may have led out of the range
            if self.training and not 0 <= float(self.alpha.detach()) <= _ALPHA_MOST:
                with torch.no_grad():
                    self.alpha.clamp_(0, _ALPHA_MOST)
            return self.alpha + (self.alpha.clamp(0, _ALPHA_MOST) - self.alpha).detach()
        alpha = self.alpha.clamp(0, _ALPHA_MOST).float()
        return alpha if float(alpha) > 0 else None

    def stack_flops(self, budget: Budget | None, tokens: int, prefix: int = 0) -> int:
        """Multiply-adds of the linear maps and of attention in the stack, for one image (router included).

        Args:
            budget: effective capacity, or shares of the experts.
            tokens: N, without the prefix.
            prefix: tokens that always take the full expert.
        """
        counts = expert_counts(self.shares(budget), tokens)
        return round(self._stack_flops(sum(n * d for n, d in zip(counts, self.stack.widths)), tokens, prefix))

    def budget_for_stack(self, flops: float, tokens: int, prefix: int = 0) -> float:
        """Largest effective capacity whose :meth:`stack_flops` are at most ``flops``.

        Raises:
            InputError: even the smallest expert for all costs more.
        """
        widths = self.stack.widths
        least, most = (self._stack_flops(tokens * d, tokens, prefix) for d in (widths[0], widths[-1]))
        if flops < least:
            raise InputError(
                f"{flops:.4g} multiply-adds for the blocks", f"at least {least:.4g}, the smallest expert's"
            )
        # rounding leaves tokens to the smallest expert, so what is realised never costs more than this line
        part = min(1.0, (flops - least) / (most - least)) if most > least else 1.0
        return (widths[0] + part * (widths[-1] - widths[0])) / widths[-1]

    def _stack_flops(self, features: float, tokens: int, prefix: int) -> float:
        c = self.stack
        routed = c.depth - c.router_layers[0]
        everything = tokens + prefix
        linear = c.width * 4 + c.hidden * 2  # multiply-adds of a token for each feature that it reads or writes
        full = everything * c.width
        nested = features + prefix * c.width
        attention = 2 * everything**2 * c.width * c.depth
        router = tokens * c.width * c.experts * len(c.router_layers)
        return linear * (routed * nested + (c.depth - routed) * full) + attention + router

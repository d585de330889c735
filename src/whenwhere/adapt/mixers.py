"""Low-rank mixers: small residual networks that mix the channels of each token, then the tokens of each channel.

One step on ``x``, with LayerNorm over the channels without weights of its own, and GELU:

    x + scale * up(gelu(down(norm(x))))

where ``down`` and ``up`` are two thin matrices over one axis: the channels, the tokens of a frame, or the frames.

After LoSA (Mercea et al., CVPR 2024, arXiv 2402.02887). The alternation of axes and the low rank are the paper's; norm,
activation, order, initialisation and the absence of biases are choices made here, since they could not be read there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Axis = Literal["channels", "tokens", "time", "joint"]
EPS = 1e-6


class LowRank(nn.Module):
    """The two thin matrices of one step.

    Args:
        axis: what it mixes: "channels"; "tokens" (within a frame or image); "time" (the same token over frames);
            "joint" (all tokens of all frames).
        size: length of that axis.
        rank: at least 1.
        zero: ``up`` starts at zero, so that the step starts as the identity; else both start random.

    Attributes:
        down: (size, rank), N(0, 1 / size) at the start.
        up: (rank, size), zero or N(0, 1 / rank) at the start.
    """

    def __init__(self, axis: Axis, size: int, rank: int, zero: bool = True) -> None:
        super().__init__()
        self.axis: Axis = axis
        self.down = nn.Parameter(torch.randn(size, rank) / size**0.5)
        self.up = nn.Parameter(torch.zeros(rank, size) if zero else torch.randn(rank, size) / rank**0.5)

    def forward(self, x: Tensor, scale: float) -> Tensor:
        """One residual step on (B, N, D) or (B, T, N, D)."""
        n = F.layer_norm(x, x.shape[-1:], eps=EPS)
        return x + scale * widen(self.axis, F.gelu(narrow(self.axis, n, self.down)), self.up, x.shape)


class Mixer(nn.Module):
    """Steps over several axes, one after another.

    Args:
        steps: in the order in which they run.
        scale: factor on what each step adds.
    """

    def __init__(self, steps: Sequence[LowRank], scale: float = 1.0) -> None:
        super().__init__()
        self.steps = nn.ModuleList(steps)
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        """Mix (B, N, D) or (B, T, N, D); the shape stays."""
        for step in self.steps:
            x = step(x, self.scale)
        return x


def lined_up(axis: Axis, x: Tensor) -> Tensor:
    """A contiguous (B, N, D) or (B, T, N, D) as a view that :func:`torch.matmul` mixes along an axis.

    Returns:
        (rows, D) for the channels, else (groups, the mixed axis, what shares its weights).
    """
    if axis == "channels":
        return x.view(-1, x.shape[-1])  # (B * N, D)
    if axis == "tokens":
        return x.view(-1, *x.shape[-2:])  # (B * T, N, D)
    if axis == "time":
        return x.view(*x.shape[:2], -1)  # (B, T, N * D)
    return x.view(x.shape[0], -1, x.shape[-1])  # (B, T * N, D)


def narrow(axis: Axis, x: Tensor, down: Tensor) -> Tensor:
    """``x`` projected along an axis: (rank, rows) for the channels, else (groups, rank, what shares the weights).

    The products are written so that the thin matrix comes first, which on a CPU takes a quarter of the time; and as bmm
    of an expanded matrix, since matmul would copy the map.
    """
    lines = lined_up(axis, x)
    return down.T @ lines.T if axis == "channels" else torch.bmm(down.T.expand(len(lines), -1, -1), lines)


def widen(axis: Axis, g: Tensor, up: Tensor, shape: torch.Size) -> Tensor:
    """The way back from :func:`narrow`, to ``shape``."""
    return (g.T @ up if axis == "channels" else torch.bmm(up.T.expand(len(g), -1, -1), g)).view(shape)

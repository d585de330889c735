"""The bottleneck adapter: down to a few channels, a bend, and up again."""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from whenwhere.errors import InputError


class Bottleneck(nn.Module):
    """``scale * (bend(z W_down + b_down) W_up + b_up)``, zero until it is trained.

    W_down starts as N(0, 1 / width); W_up and both biases start at zero, so a fresh adapter adds nothing.

    Args:
        width: channels of the stream.
        rank: channels between.
        scale: factor on what it adds.
        pre_norm: a layer norm without weights in front, so that the count of trained numbers stays the same.
        bend: "gelu" or "relu".

    Raises:
        InputError: a rank below 1.

    Source: Houlsby et al., "Parameter-Efficient Transfer Learning for NLP", ICML 2019.
    """

    def __init__(
        self,
        width: int,
        rank: int = 8,
        scale: float = 1.0,
        pre_norm: bool = False,
        bend: Literal["gelu", "relu"] = "gelu",
    ) -> None:
        super().__init__()
        if rank < 1:
            raise InputError(f"rank={rank}", "at least 1")
        self.norm = nn.LayerNorm(width, elementwise_affine=False) if pre_norm else nn.Identity()
        self.down, self.up = nn.Linear(width, rank), nn.Linear(rank, width)
        self.scale, self.bend = scale, F.gelu if bend == "gelu" else F.relu
        nn.init.normal_(self.down.weight, std=width**-0.5)
        for tensor in (self.down.bias, self.up.weight, self.up.bias):
            nn.init.zeros_(tensor)

    def forward(self, z: Tensor) -> Tensor:
        """What is added to the stream, (..., width) to (..., width), in the dtype of the stream."""
        own = z.to(self.down.weight.dtype)
        return (self.scale * self.up(self.bend(self.down(self.norm(own))))).to(z.dtype)

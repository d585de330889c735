"""Visual prompt tuning: trained tokens beside those of the image (Jia et al., ECCV 2022)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from whenwhere.adapt.adapted import Adapted
from whenwhere.adapt.anatomy import Anatomy, anatomy
from whenwhere.backbones.vision import Backbone
from whenwhere.errors import InputError


@dataclass(frozen=True)
class PromptConfig:
    """How many prompts.

    Args:
        tokens: p, prompts at the input (shallow) or at every block (deep).
    """

    tokens: int = 100

    def __post_init__(self) -> None:
        if self.tokens < 1:
            raise InputError(f"tokens {self.tokens}", "1 or more")


@dataclass(frozen=True)
class DeepPromptConfig(PromptConfig):
    """How many prompts.

    Args:
        tokens: p, prompts at every block.
    """

    tokens: int = 60


class VptShallow(Adapted):
    """p prompts go through all blocks with the tokens of the image: p x D weights.

    Prompts have no position and stand behind the image's tokens, which attention does not see; what became of them is
    dropped before the last norm. They start as in the paper, uniform in ``+- sqrt(6 / (3 patch^2 + D))``, so unlike the
    other methods this one does not start as a linear probe.
    """

    method = "vpt-shallow"
    transformers_only = True
    Config = PromptConfig
    deep: ClassVar[bool] = False

    def __init__(self, backbone: Backbone, labels: Sequence[str], config: Any = None) -> None:
        super().__init__(backbone, labels, config)
        parts = anatomy(backbone)
        sets = backbone.depth if self.deep else 1
        self.prompts = nn.Parameter(torch.empty(sets, self.config.tokens, parts.width))
        patch = backbone.size // backbone.grid[0]
        bound = math.sqrt(6.0 / (3 * patch**2 + parts.width))
        nn.init.uniform_(self.prompts, -bound, bound)
        self.__dict__["parts"] = parts  # not a submodule: the frozen backbone is not this module's

    parts: Anatomy

    def vector(self, pixels: Tensor) -> Tensor:
        z = self.parts.embed(pixels)  # (B, N, D)
        own = z.shape[1]
        for part in self.parts.sublayers:
            if part.kind == "attention" and (self.deep or part.block == 0):
                prompts = self.prompts[part.block].to(z.dtype).expand(len(z), -1, -1)
                z = torch.cat([z[:, :own], prompts], 1)  # (B, N + p, D)
            z = z + part.update(z)
        return self.backbone.finish(z[:, :own])


class VptDeep(VptShallow):
    """p fresh prompts at every block in place of those before: L x p x D weights."""

    method = "vpt-deep"
    Config = DeepPromptConfig
    deep = True

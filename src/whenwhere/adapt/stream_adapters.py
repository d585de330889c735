"""Bottleneck adapters on the residual stream of a transformer: after its branches, or beside its MLPs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, nn

from whenwhere.adapt.adapted import Adapted
from whenwhere.adapt.anatomy import Anatomy, Kind, anatomy
from whenwhere.adapt.bottleneck import Bottleneck
from whenwhere.backbones.vision import Backbone
from whenwhere.errors import InputError


@dataclass(frozen=True)
class BottleneckConfig:
    """Size of the adapters.

    Args:
        rank: width of the bottleneck.
    """

    rank: int = 8

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise InputError(f"rank {self.rank}", "1 or more")


class _OnTheStream(Adapted):
    """Bottlenecks at the branches of one or both kinds."""

    Config = BottleneckConfig
    transformers_only = True
    kinds: tuple[Kind, ...]
    bend: Literal["gelu", "relu"] = "gelu"

    def __init__(self, backbone: Backbone, labels: Sequence[str], config: Any = None) -> None:
        super().__init__(backbone, labels, config)
        parts = anatomy(backbone)
        count = sum(part.kind in self.kinds for part in parts.sublayers)
        self.adapters = nn.ModuleList(
            Bottleneck(parts.width, self.config.rank, self.scale, bend=self.bend) for _ in range(count)
        )
        self.__dict__["parts"] = parts  # not a submodule: the frozen backbone is not this module's

    parts: Anatomy

    @property
    def scale(self) -> float:
        """Factor on what an adapter adds."""
        return float(getattr(self.config, "scale", 1.0))


class _Sequential(_OnTheStream):
    def vector(self, pixels: Tensor) -> Tensor:
        z, adapters = self.parts.embed(pixels), iter(self.adapters)
        for part in self.parts.sublayers:
            z = z + part.update(z)
            if part.kind in self.kinds:
                z = z + next(adapters)(z)
        return self.backbone.finish(z)


class Houlsby(_Sequential):
    """A bottleneck in series after each attention and each MLP: ``z + W_up GELU(W_down z)``.

    After Houlsby et al., "Parameter-Efficient Transfer Learning for NLP", ICML 2019. Here each adapter reads and writes
    the residual stream, where theirs is inside of the branch.
    """

    method = "houlsby"
    kinds = ("attention", "mlp")


class Pfeiffer(_Sequential):
    """A bottleneck in series after each MLP only: half of :class:`Houlsby`.

    After Pfeiffer et al., "AdapterFusion", EACL 2021.
    """

    method = "pfeiffer"
    kinds = ("mlp",)


@dataclass(frozen=True)
class AdaptFormerConfig(BottleneckConfig):
    """Size and strength of the adapters.

    Args:
        rank: width of the bottleneck.
        scale: factor s on what an adapter adds.
    """

    rank: int = 8
    scale: float = 0.1


class AdaptFormer(_OnTheStream):
    """A bottleneck beside each MLP: ``z + MLP(LN z) + s W_up ReLU(W_down z)`` (Chen et al., NeurIPS 2022)."""

    method = "adaptformer"
    Config = AdaptFormerConfig
    kinds = ("mlp",)
    bend = "relu"

    def vector(self, pixels: Tensor) -> Tensor:
        z, adapters = self.parts.embed(pixels), iter(self.adapters)
        for part in self.parts.sublayers:
            update = part.update(z)
            if part.kind == "mlp":
                update = update + next(adapters)(z)
            z = z + update
        return self.backbone.finish(z)

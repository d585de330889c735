"""The linear probe: a head on the frozen backbone's own image vector, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from whenwhere.adapt.adapted import StatesAdapted
from whenwhere.backbones.vision import Backbone


@dataclass(frozen=True)
class LinearConfig:
    """A linear probe has no settings."""


class LinearProbe(StatesAdapted):
    """Softmax regression on what the backbone's own pooling gives; for clips, on its mean over the frames.

    It trains no weight but the head's, and reads the state of the last layer. Works on every backbone.

    Args:
        backbone, labels, config: as :class:`~whenwhere.adapt.adapted.Adapted`.
    """

    method = "linear"
    Config = LinearConfig
    reads_pooled = True

    def __init__(self, backbone: Backbone, labels: Sequence[str], config: LinearConfig | None = None) -> None:
        super().__init__(backbone, labels, config)
        self.taps = (backbone.depth - 1,)

    def vector_of(self, states: Sequence[Tensor]) -> Tensor:
        """As :meth:`StatesAdapted.vector_of`; a cache may also give the pooled vectors, (B, width)."""
        last = states[-1]
        return last.to(self.head.weight.dtype) if last.ndim == 2 else self.finish(last)

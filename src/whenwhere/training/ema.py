"""Running average of the weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Ema:
    """Exponential moving average of the trainable weights of a system.

    Args:
        system: the module to follow, on its final device.
        decay: share of the old average kept at each update, in (0, 1). Young averages keep less, by
            ``min(decay, (1 + step) / (10 + step))``, so that the random start is forgotten soon.
    """

    def __init__(self, system: nn.Module, decay: float) -> None:
        self.decay = decay
        self._weights = {name: p for name, p in system.named_parameters() if p.requires_grad}
        self._average = {name: p.detach().clone() for name, p in self._weights.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after update number ``step`` (the first is 1)."""
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(list(self._average.values()), list(self._weights.values()), 1.0 - decay)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The system carries the averaged weights inside the block, and its own again, to the bit, after it."""
        own = {name: p.detach().clone() for name, p in self._weights.items()}
        self.apply()
        try:
            yield
        finally:
            self._copy(own, self._weights)

    def apply(self) -> None:
        """Replace the weights of the system by their average."""
        self._copy(self._average, self._weights)

    def tensors(self) -> dict[str, Tensor]:
        """The averages by parameter name."""
        return dict(self._average)

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Restore the averages from a checkpoint."""
        self._copy(tensors, self._average)

    @torch.no_grad()
    def _copy(self, source: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> None:
        for name, tensor in target.items():
            tensor.copy_(source[name])

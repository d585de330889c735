"""Sine and cosine features of time, so that the tokens of a memory still know when they were seen."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from whenwhere.errors import InputError


@dataclass(frozen=True)
class TimeFeatures:
    """Fourier features of a position in frame units, one octave apart.

    They are appended to frame tokens before the memory. A memory token is a weighted mean of the tokens it stands for,
    so its features are the characteristic function of their times at these frequencies: the angles tell the mean time,
    the lengths tell the spread. This is a departure from the paper, whose memory tokens carry no time at all.

    Args:
        frequencies: F; the features have width 2F. 0 turns them off.
        shortest: the shortest period, in frames; the longest is ``shortest * 2 ** (F - 1)``.
        weight: scale while in the memory, where they take part in the distances: how strongly time keeps tokens apart.
        gain: scale when read by a decoder, whatever ``weight`` was.

    Raises:
        InputError: a number is out of range.
    """

    frequencies: int = 8
    shortest: float = 4.0
    weight: float = 0.1
    gain: float = 1.0

    def __post_init__(self) -> None:
        if self.frequencies < 0 or not self.shortest > 0 or not self.weight > 0:
            raise InputError(
                f"{self.frequencies} frequencies, shortest period {self.shortest:g}, weight {self.weight:g}",
                "frequencies >= 0, a positive shortest period and a positive weight",
            )

    @property
    def width(self) -> int:
        """Channels added to each token."""
        return 2 * self.frequencies

    def encode(self, positions: Tensor) -> Tensor:
        """Return unit-size features of positions.

        Args:
            positions: (...,) float, frame units.

        Returns:
            (..., 2F) float32 in [-1, 1]: F sines, then F cosines.
        """
        # In float64, which not every device has, so that a position of a million frames keeps its phase.
        octaves = 2.0 ** torch.arange(self.frequencies, dtype=torch.float64, device="cpu")
        turns = positions.to("cpu", torch.float64).unsqueeze(-1) / (self.shortest * octaves)
        angles = (2 * math.pi * torch.remainder(turns, 1.0)).to(positions.device, torch.float32)
        return torch.cat([angles.sin(), angles.cos()], dim=-1)

    def append(self, tokens: Tensor, positions: Tensor) -> Tensor:
        """Append the weighted features to frame tokens.

        Args:
            tokens: (..., N_f, D).
            positions: (...,), one position a frame, frame units.

        Returns:
            (..., N_f, D + 2F), in the dtype of ``tokens``.
        """
        if self.frequencies == 0:
            return tokens
        features = self.weight * self.encode(positions)  # (..., 2F)
        features = features.unsqueeze(-2).expand(*tokens.shape[:-1], self.width)
        return torch.cat([tokens, features.to(tokens.dtype)], dim=-1)

    def rescale(self, memory: Tensor) -> Tensor:
        """Bring the features of memory tokens (..., D + 2F) from the memory's scale to the decoder's."""
        if self.frequencies == 0:
            return memory
        tokens, features = memory[..., : -self.width], memory[..., -self.width :]
        return torch.cat([tokens, features * (self.gain / self.weight)], dim=-1)

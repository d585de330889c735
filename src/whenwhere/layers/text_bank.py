"""A memory of text embeddings that stands between the image side and the text side of a shared space.

An image's place is far from every caption's, and a decoder trained on captions alone has never been there. So the
image is first described by the captions it lies nearest to: a softmax over similarities weights their embeddings, and
the weighted mean is a place a decoder knows (DeCap, Li et al. 2023). Two things are ours: similarities are measured in
standard deviations over the bank, which makes one temperature right for images and for texts; and the bank holds one
row per image that was captioned, the mean of its captions, which is smaller and less noisy than the captions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from whenwhere.backbones.space import SharedSpace, shared_space
from whenwhere.errors import InputError

_EXCLUDED = -9.0  # standard deviations: no weight at any temperature in use


@dataclass(frozen=True)
class BankConfig:
    """How a place is described by the bank.

    Attributes:
        temperatures: one weighted mean each, in standard deviations of the similarities.
        nearest: how many of the nearest rows are given one by one beside the means.
    """

    temperatures: tuple[float, ...] = (0.25, 0.4, 0.8)
    nearest: int = 5

    def __post_init__(self) -> None:
        if not self.temperatures or min(self.temperatures) <= 0 or self.nearest < 0:
            raise InputError(f"bank {self.temperatures}, nearest {self.nearest}", "positive temperatures, nearest >= 0")


class TextBank(nn.Module):
    """Rows of text features and their places in a shared space.

    Args:
        features: (n, width) text features, as ``space.text_features`` gives or means of them.
        space: the shared space that places them.
    """

    features: Tensor
    keys: Tensor
    values: Tensor

    def __init__(self, features: Tensor, space: SharedSpace) -> None:
        super().__init__()
        features = F.normalize(features.float(), dim=-1)
        self.register_buffer("features", features)
        self.register_buffer("keys", space.place_texts(features), persistent=False)
        # rows about their mean: what all captions share says nothing of this one
        self.register_buffer("values", F.normalize(features - features.mean(0), dim=-1), persistent=False)

    @classmethod
    def from_groups(cls, features: Tensor, group: Tensor, space: SharedSpace) -> TextBank:
        """One row per group of texts: the mean of its unit features.

        Args:
            features: (N, width).
            group: (N,) index of the group of each, 0..n-1, none empty.
            space: places the rows.
        """
        rows = torch.zeros(int(group.max()) + 1, features.shape[1]).index_add_(0, group, features.float())
        return cls(rows, space)

    def __len__(self) -> int:
        return len(self.features)

    @property
    def width(self) -> int:
        """Channels of a row."""
        return self.features.shape[1]

    def similarities(self, places: Tensor, exclude: Tensor | None = None) -> Tensor:
        """Similarity of places to the rows in standard deviations over the rows.

        Args:
            places: (B, dim) unit vectors of the space.
            exclude: (B,) a row that each place must not see, its own in training; -1, or None, for none.

        Returns:
            (B, n).
        """
        scores = places @ self.keys.T
        scores = (scores - scores.mean(1, keepdim=True)) / scores.std(1, keepdim=True)
        if exclude is not None:
            hidden = exclude >= 0
            scores[hidden.nonzero()[:, 0], exclude[hidden]] = _EXCLUDED
        return scores

    def mean(self, scores: Tensor, temperature: float) -> Tensor:
        """Weighted mean of the rows for similarities (B, n): (B, width), unit rows."""
        return F.normalize((scores / temperature).softmax(-1) @ self.values, dim=-1)

    def blend(self, places: Tensor, temperatures: Sequence[float], exclude: Tensor | None = None) -> Tensor:
        """One token per place: its weighted means at several temperatures, side by side.

        Args:
            places: (B, dim) unit vectors.
            temperatures: in standard deviations of the similarities; T of them.
            exclude: as in :meth:`similarities`.

        Returns:
            (B, T * width); each mean is a unit vector.
        """
        scores = self.similarities(places, exclude)
        return torch.cat([self.mean(scores, temperature) for temperature in temperatures], 1)

    def describe(self, places: Tensor, config: BankConfig, exclude: Tensor | None = None) -> Tensor:
        """Tokens that tell a decoder what lies near a place.

        Args:
            places: (B, dim) unit vectors.
            config: which tokens.
            exclude: as in :meth:`similarities`.

        Returns:
            (B, T + M, width + T + 2): T weighted means, then the M nearest rows, nearest first. The last T + 2 channels
            tell which kind a token is and how near it lies, in units of four standard deviations.
        """
        scores = self.similarities(places, exclude)
        kinds = torch.eye(len(config.temperatures) + 1, device=scores.device)
        tokens = []
        for kind, temperature in zip(kinds, config.temperatures):
            mark = torch.cat([kind, kind.new_zeros(1)]).expand(len(scores), -1)
            tokens.append(torch.cat([self.mean(scores, temperature), mark], 1)[:, None])
        if config.nearest:
            near, rows = scores.topk(config.nearest)  # (B, M)
            mark = kinds[-1].expand(*rows.shape, -1)
            tokens.append(torch.cat([self.values[rows], mark, near[..., None] / 4], -1))
        return torch.cat(tokens, 1)

    def described_width(self, config: BankConfig) -> int:
        """Channels of the tokens of :meth:`describe`."""
        return self.width + len(config.temperatures) + 2


class Banked(nn.Module):
    """Base of the systems that tell images in the terms of a bank of texts.

    The bank's features are a buffer and so saved with the system. The space, and the bank placed in it, are no modules
    of the system: their weights are saved elsewhere, and both are made on first use.

    Args:
        name: name or folder of the shared space, for :func:`whenwhere.backbones.space.shared_space`.
        shape: (rows, width) of the bank.
        space: the space itself, if it is there already.
        features: text features of the bank; zeros until loaded if not given.

    Raises:
        InputError: features of another shape.
    """

    bank_features: Tensor

    def __init__(self, name: str, shape: tuple[int, int], space: SharedSpace | None, features: Tensor | None) -> None:
        super().__init__()
        self._space_name = name
        self._lazy: dict[str, Any] = {} if space is None else {"space": space}
        self.register_buffer("bank_features", torch.zeros(shape) if features is None else features.float())
        if tuple(self.bank_features.shape) != shape:
            raise InputError(f"bank features of shape {tuple(self.bank_features.shape)}", f"{shape}")

    @property
    def space(self) -> SharedSpace:
        """The shared space, loaded on first use."""
        if "space" not in self._lazy:
            self._lazy["space"] = shared_space(self._space_name)
        return self._lazy["space"]

    @property
    def bank(self) -> TextBank:
        """The bank, placed in the space on first use."""
        if "bank" not in self._lazy:
            self._lazy["bank"] = TextBank(self.bank_features, self.space)
        return self._lazy["bank"]


def sideways(places: Tensor, amounts: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Move unit vectors by Gaussian noise of a given length, and back to unit length.

    The gap between an image and its caption in a bridged space looks, to the bank, like isotropic noise several times
    longer than the caption's own vector; training under that noise is what lets an image stand in at test time
    (CapDec, Nukrai et al. 2022).

    Args:
        places: (..., dim) unit vectors.
        amounts: broadcast to (..., 1), expected length of the noise.
        generator: CPU random state; None for torch's own.

    Returns:
        (..., dim), unit rows.
    """
    noise = torch.randn(places.shape, generator=generator).to(places) / places.shape[-1] ** 0.5
    return F.normalize(places + amounts * noise, dim=-1)

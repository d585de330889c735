"""From video frames to the tokens that the default streaming captioner remembers."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from whenwhere.backbones.space import SharedSpace
from whenwhere.errors import InputError
from whenwhere.layers.persistence import load_model, read_config, save_model
from whenwhere.layers.text_bank import Banked


@dataclass(frozen=True)
class FrameEncoderConfig:
    """What a frame token is made of.

    Attributes:
        space: name or folder of the shared space.
        bank_rows, bank_width: shape of the bank's text features.
        temperatures: a token is the bank's weighted means at these, side by side.
    """

    space: str = "bridge"
    bank_rows: int = 4873
    bank_width: int = 384
    temperatures: tuple[float, ...] = (0.25, 0.6)

    def __post_init__(self) -> None:
        object.__setattr__(self, "temperatures", tuple(self.temperatures))
        if not self.temperatures or min(self.temperatures) <= 0:
            raise InputError(f"temperatures {self.temperatures}", "at least one, all positive")


class FrameEncoder(Banked):
    """Places a frame in the shared space and tells it in the terms of a bank of captions.

    Args:
        config: what a token is made of.
        space: the shared space; loaded by its name when first needed if not given.
        features: (bank_rows, bank_width) text features; zeros until loaded if not given.
    """

    schema = "whenwhere.frame_encoder/1"
    tokens_per_frame = 1

    def __init__(
        self, config: FrameEncoderConfig, space: SharedSpace | None = None, features: Tensor | None = None
    ) -> None:
        super().__init__(config.space, (config.bank_rows, config.bank_width), space, features)
        self.config = config

    @property
    def width(self) -> int:
        """Channels of a token."""
        return len(self.config.temperatures) * self.config.bank_width

    @torch.no_grad()
    def encode(self, images: Sequence[np.ndarray]) -> Tensor:
        """Tokens of frames.

        Args:
            images: uint8 (H, W, 3) RGB arrays.

        Returns:
            float32 (n, 1, width).
        """
        return self.from_places(self.space.embed_images(images))

    def from_places(self, places: Tensor, exclude: Tensor | None = None) -> Tensor:
        """Tokens (n, 1, width) of places (n, dim); ``exclude`` names bank rows not to be seen, in training."""
        return self.bank.blend(places, self.config.temperatures, exclude)[:, None]

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write ``config.json`` and ``model.safetensors`` (float16) into a folder."""
        return save_model(folder, self, self.schema, self.config, torch.float16)

    @classmethod
    def load(cls, folder: str | os.PathLike[str], space: SharedSpace | None = None) -> FrameEncoder:
        """Read what :meth:`save` wrote.

        Raises:
            WeightsError: a file is missing or damaged, or does not fit.
        """
        encoder = cls(read_config(folder, cls.schema, FrameEncoderConfig), space)
        load_model(folder, encoder)
        return encoder.eval()

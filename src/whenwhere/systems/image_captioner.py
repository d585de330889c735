"""Image captions from a decoder that was trained on text alone.

In a shared image-text space a caption's own embedding can stand for its image (CapDec, Nukrai et al. 2022; DeCap, Li et
al. 2023). Training: a caption is placed in the space, moved sideways as far as images lie from their captions, and
described by the bank of other captions; the decoder learns to write a caption of the same image. Use: the image's
place takes the caption's. No image takes part in training.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from whenwhere.backbones.space import SharedSpace
from whenwhere.errors import InputError
from whenwhere.layers.beam import beam_search
from whenwhere.layers.losses import smoothed_cross_entropy
from whenwhere.layers.persistence import WEIGHTS_FILE, load_tensors, read_config, read_tensors, save_model
from whenwhere.layers.text_bank import BankConfig, Banked, sideways
from whenwhere.layers.text_decoder import TextDecoder, TextDecoderConfig
from whenwhere.layers.vocab import Vocab


@dataclass(frozen=True)
class CaptionOptions:
    """How captions are decoded.

    Attributes:
        beam: beams.
        alpha: strength of the length penalty.
        max_length: longest caption in tokens.
    """

    beam: int = 4
    alpha: float = 1.0
    max_length: int = 24

    def __post_init__(self) -> None:
        if self.beam < 1 or self.max_length < 2:
            raise InputError(f"beam {self.beam}, max_length {self.max_length}", "beam >= 1, max_length >= 2")


@dataclass(frozen=True)
class ImageCaptionerConfig:
    """The model.

    Attributes:
        space: name or folder of the shared space.
        dim: length of its vectors.
        bank_rows, bank_width: shape of the bank's text features.
        bank: how a place is described to the decoder.
        words: V.
        noise: least and largest sideways move in training.
        smoothing: label smoothing.
        decoder: the text decoder; its ``visual_width`` and ``vocab_size`` follow from the other parts.
        options: decoding.
    """

    space: str = "bridge"
    dim: int = 768
    bank_rows: int = 4873
    bank_width: int = 384
    bank: BankConfig = field(default_factory=BankConfig)
    words: int = 30522
    noise: tuple[float, float] = (1.5, 5.5)
    smoothing: float = 0.1
    decoder: TextDecoderConfig = field(default_factory=TextDecoderConfig)
    options: CaptionOptions = field(default_factory=CaptionOptions)

    def __post_init__(self) -> None:
        object.__setattr__(self, "noise", tuple(self.noise))
        if not 0 <= self.noise[0] <= self.noise[1]:
            raise InputError(f"noise {self.noise}", "0 <= least <= largest")
        width = self.bank_width + len(self.bank.temperatures) + 2
        object.__setattr__(self, "decoder", replace(self.decoder, visual_width=width, vocab_size=self.words))


@dataclass(frozen=True)
class TextBatch:
    """Captions to learn from.

    Attributes:
        places: (B, dim) places of the captions that stand for the image.
        group: (B,) bank row of each, which it must not see.
        text: (B, L) int64, BOS, words, EOS, padded: what to write.
        seeds: (B,) int64, of the sideways moves.
    """

    places: Tensor
    group: Tensor
    text: Tensor
    seeds: Tensor


@dataclass(frozen=True)
class Caption:
    """A caption and the geometric mean probability that the model gives its tokens."""

    text: str
    score: float


class ImageCaptioner(Banked):
    """Bank and decoder over a shared space.

    Args:
        config: the model.
        vocab: its words.
        space: the shared space; loaded by its name when first needed if not given.
        features: (bank_rows, bank_width) text features of the bank; zeros until loaded if not given.
    """

    schema = "whenwhere.image_captioner/1"

    def __init__(
        self,
        config: ImageCaptionerConfig,
        vocab: Vocab,
        space: SharedSpace | None = None,
        features: Tensor | None = None,
    ) -> None:
        super().__init__(config.space, (config.bank_rows, config.bank_width), space, features)
        self.config, self.vocab = config, vocab
        self.decoder = TextDecoder(config.decoder)

    def units(self, batch: TextBatch) -> tuple[float, ...]:
        """Count the targets of a batch, so that parts of a batch can be weighted."""
        return (float((batch.text[:, 1:] != self.vocab.pad).sum()),)

    def forward(self, batch: TextBatch, totals: tuple[float, ...] | None = None) -> dict[str, Tensor]:
        """The same as :meth:`loss`, for wrappers that call the module."""
        return self.loss(batch, totals)

    def loss(self, batch: TextBatch, totals: tuple[float, ...] | None = None) -> dict[str, Tensor]:
        """Mean smoothed cross entropy of the words.

        Args:
            batch: captions.
            totals: targets of the whole batch if this is a part of it.

        Returns:
            Scalars ``loss`` and ``words``, the count.
        """
        visual = self.bank.describe(self.move(batch), self.config.bank, batch.group)
        targets = batch.text[:, 1:]
        spoken = targets != self.vocab.pad
        rows = self.decoder.decode(self.decoder.encode(visual), batch.text[:, :-1])
        nats = smoothed_cross_entropy(self.decoder.logits(rows[spoken]), targets[spoken], self.config.smoothing)
        count = spoken.sum().float()
        return {"loss": nats.sum() / (totals[0] if totals else count), "words": count}

    def move(self, batch: TextBatch) -> Tensor:
        """Places of a batch after the sideways move, each by its own seed: (B, dim)."""
        low, high = self.config.noise
        moved = []
        for place, seed in zip(batch.places, batch.seeds.tolist()):
            generator = torch.Generator().manual_seed(seed)
            amount = low + (high - low) * torch.rand(1, generator=generator)
            moved.append(sideways(place, amount, generator))
        return torch.stack(moved)

    @torch.no_grad()
    def caption(self, images: Sequence[np.ndarray], options: CaptionOptions | None = None) -> list[Caption]:
        """Caption images.

        Args:
            images: uint8 (H, W, 3) RGB arrays.
            options: decoding, instead of ``config.options``.

        Returns:
            One caption per image.
        """
        return self.caption_places(self.space.embed_images(images), options)

    @torch.no_grad()
    def caption_places(self, places: Tensor, options: CaptionOptions | None = None) -> list[Caption]:
        """Caption places of the shared space, (n, dim) unit rows; see :meth:`caption`."""
        options = options or self.config.options
        self.eval()
        return [self._caption(place[None], options) for place in places]

    def _caption(self, place: Tensor, options: CaptionOptions) -> Caption:
        context = self.decoder.encode(self.bank.describe(place, self.config.bank))
        ((text,),) = beam_search(
            self.decoder.stepper(context),
            bos=self.vocab.bos,
            eos=self.vocab.eos,
            beam=options.beam,
            max_length=options.max_length,
            alpha=options.alpha,
        )
        score = float(np.exp(np.mean(text.logprobs)))
        return Caption(self.vocab.decode(text.tokens, capitalize=True), min(1.0, score))

    def save(self, folder: str | os.PathLike[str], dtype: torch.dtype = torch.float16) -> Path:
        """Write ``config.json``, ``model.safetensors`` and the vocabulary into a folder."""
        save_model(folder, self, self.schema, self.config, dtype)
        self.vocab.save(folder)
        return Path(folder)

    @classmethod
    def load(cls, folder: str | os.PathLike[str], space: SharedSpace | None = None) -> ImageCaptioner:
        """Read a model that :meth:`save` wrote, in evaluation mode.

        Raises:
            WeightsError: a file is missing or damaged, or does not fit the configuration.
        """
        config = read_config(folder, cls.schema, ImageCaptionerConfig)
        model = cls(config, Vocab.from_file(folder, 1, words=config.words), space)
        tensors = read_tensors(folder)
        tensors.pop("idf", None)  # word weights that earlier models were saved with; nothing uses them any more
        load_tensors(model, tensors, str(Path(folder) / WEIGHTS_FILE))
        return model.eval()

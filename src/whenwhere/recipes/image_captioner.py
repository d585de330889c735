"""Train the default image captioner from captions alone.

Command: ``python -m whenwhere.recipes.image_captioner --shared DIR --work DIR``
Cost: about half an hour on two cores.
Score: see ``reproductions/results/image_captioner.json``.

Data: 24,379 COCO captions (CC BY 4.0) of 4,873 images whose pixels are never read. Each step takes a caption of an
image as what is seen and another caption of the same image as what is to be said.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from whenwhere.backbones import weights
from whenwhere.backbones.space import SharedSpace, shared_space
from whenwhere.layers.text_bank import TextBank
from whenwhere.layers.text_decoder import TextDecoderConfig
from whenwhere.layers.vocab import Vocab
from whenwhere.recipes.coco_mini import caption_texts
from whenwhere.systems.image_captioner import ImageCaptioner, ImageCaptionerConfig, TextBatch
from whenwhere.training.config import FitConfig
from whenwhere.training.data import Batches
from whenwhere.training.fit import fit

FOLDER = Path(__file__).parent.parent / "weights" / "captioner-tiny"
_SEEDS = 2**31


@dataclass(frozen=True)
class Recipe:
    """How the default captioner is trained.

    Attributes:
        decoder: its shape.
        least: a word piece rarer than this is spelled by letters, or its caption left out.
        longest: captions with more pieces are left out.
        fit: the loop.
    """

    decoder: TextDecoderConfig = field(
        default_factory=lambda: TextDecoderConfig(
            width=320, depth=4, num_heads=5, mlp_width=1280, max_positions=32, attention_dropout=0.0, tie=True
        )
    )
    least: int = 3
    longest: int = 24
    fit: FitConfig = field(
        default_factory=lambda: FitConfig(
            steps=2000,
            batch=128,
            lr=1e-3,
            warmup=200,
            schedule="cosine",
            weight_decay=0.01,
            betas=(0.9, 0.98),
            precision="bf16-mixed",
            ema=0.995,
            log_every=20,
            checkpoint_every=250,
        )
    )


@dataclass(frozen=True)
class CaptionSet:
    """Captions ready to train on, grouped by image.

    Attributes:
        groups: for each image its captions.
        ids: for each caption its word pieces, None if it is not to be written.
        features: (N, width) text features of all captions in order.
        owner: (N,) image of each.
    """

    groups: list[list[str]]
    ids: list[list[int] | None]
    features: Tensor
    owner: Tensor


def plain(text: str) -> str:
    """A caption without its final full stop, which carries no news."""
    return text.strip().strip('".').strip()


def build_vocab(groups: list[list[str]], least: int, n_bins: int = 0) -> Vocab:
    """Word pieces of MiniLM's vocabulary that occur often enough in the captions."""
    base = Vocab.from_file(weights.fetch("minilm-l6") / "vocab.txt", n_bins)
    return Vocab.from_texts((plain(text) for texts in groups for text in texts), base, n_bins, least=least)


def prepare(groups: list[list[str]], vocab: Vocab, features: Tensor, longest: int) -> CaptionSet:
    """Captions as ids; one that needs an unknown word or is too long is never written, but may be seen."""
    ids: list[list[int] | None] = []
    for text in (text for texts in groups for text in texts):
        pieces = vocab.encode(plain(text))
        usable = 0 < len(pieces) <= longest and vocab.unknown not in pieces
        ids.append(pieces if usable else None)
    owner = torch.tensor([i for i, texts in enumerate(groups) for _ in texts])
    return CaptionSet(groups, ids, features, owner)


class CaptionPairs:
    """Draws for an image one caption to see and one to write."""

    def __init__(self, captions: CaptionSet, places: Tensor, vocab: Vocab) -> None:
        self.places, self.vocab, self.ids = places, vocab, captions.ids
        members: dict[int, list[int]] = {}
        for row, owner in enumerate(captions.owner.tolist()):
            members.setdefault(owner, []).append(row)
        self.groups = [
            (owner, rows, written)
            for owner, rows in members.items()
            if (written := [row for row in rows if captions.ids[row] is not None])
        ]

    def __len__(self) -> int:
        return len(self.groups)

    def sample(self, rng: np.random.Generator, index: int) -> tuple[int, int, list[int], int]:
        """(row seen, group, ids to write, seed)."""
        owner, rows, written = self.groups[index]
        ids = self.ids[written[rng.integers(len(written))]]
        assert ids is not None
        return rows[rng.integers(len(rows))], owner, self.vocab.sequence([ids]), int(rng.integers(_SEEDS))

    def collate(self, samples: Sequence[tuple[int, int, list[int], int]]) -> TextBatch:
        """Pad the texts and look the places up."""
        seen, groups, texts, seeds = zip(*samples)
        text = torch.full((len(texts), max(map(len, texts))), self.vocab.pad)
        for row, ids in zip(text, texts):
            row[: len(ids)] = torch.tensor(ids)
        return TextBatch(self.places[list(seen)], torch.tensor(groups), text, torch.tensor(seeds))


def build(
    recipe: Recipe, groups: list[list[str]], space: SharedSpace, features: Tensor
) -> tuple[ImageCaptioner, Batches]:
    """The untrained captioner and its data.

    Args:
        recipe: what to build.
        groups: captions by image.
        space: the shared space.
        features: (N, width) text features of all captions.
    """
    vocab = build_vocab(groups, recipe.least)
    captions = prepare(groups, vocab, features, recipe.longest)
    bank = TextBank.from_groups(features, captions.owner, space)
    config = ImageCaptionerConfig(
        dim=space.dim, bank_rows=len(bank), bank_width=bank.width, words=vocab.words, decoder=recipe.decoder
    )
    torch.manual_seed(recipe.fit.seed)
    system = ImageCaptioner(config, vocab, space, bank.features)
    pairs = CaptionPairs(captions, space.place_texts(features), vocab)
    return system, Batches(pairs, pairs.collate)


def cached_features(space: SharedSpace, groups: list[list[str]], work: Path) -> Tensor:
    """Text features of all captions, kept in the work folder for the next start."""
    from safetensors.torch import load_file, save_file

    path = work / "caption_features.safetensors"
    if path.is_file():
        return load_file(path)["features"]
    features = space.text_features([text for texts in groups for text in texts])
    work.mkdir(parents=True, exist_ok=True)
    save_file({"features": features}, path)
    return features


def main(shared: Path, work: Path, out: Path = FOLDER, seed: int = 0) -> None:
    """Train and save the default captioner; a run that was interrupted goes on."""
    from dataclasses import replace

    recipe = Recipe()
    recipe = replace(recipe, fit=replace(recipe.fit, seed=seed))
    groups, space = caption_texts(shared), shared_space()
    system, batches = build(recipe, groups, space, cached_features(space, groups, work))
    fit(system, batches, recipe.fit, work / "run")
    system.save(out)


if __name__ == "__main__":
    import tyro

    tyro.cli(main)

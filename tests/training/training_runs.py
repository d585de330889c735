"""A toy system for the tests of training, and a script that trains it in processes that can be killed or multiplied.

    python training_runs.py FOLDER CASES_JSON       (or torchrun --nproc-per-node 2 training_runs.py ...)

CASES_JSON: list of {"name", "system": "toy" or "video", "config": fields of FitConfig, "dropout"}; each is trained into
FOLDER/name.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from whenwhere.training import Batches, FitConfig, FitResult, fit

WORDS, WIDTH = 12, 8


class Sentences:
    """Sequences of 1 to WORDS vectors to be reversed in width; lengths differ wildly, so that token counts do."""

    def __init__(self, length: int = 40) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length

    def sample(self, rng: np.random.Generator, index: int) -> dict[str, Any]:
        words = rng.normal(size=(WORDS, WIDTH)).astype(np.float32)
        return {"words": words, "length": index % WORDS + 1 if index % 3 else 1, "index": index}


@dataclass(frozen=True)
class ToyConfig:
    width: int = 16
    dropout: float = 0.0


class Toy(nn.Module):
    """A network over words with dropout, a tied, a frozen and a seldom used weight; its loss has two denominators."""

    def __init__(self, config: ToyConfig = ToyConfig()) -> None:
        super().__init__()
        self.config = config
        random = torch.random.get_rng_state()
        torch.manual_seed(7)
        self.embed = nn.Linear(WIDTH, config.width)
        self.norm = nn.LayerNorm(config.width)
        self.dropout = nn.Dropout(config.dropout)
        self.hidden = nn.Linear(config.width, config.width)
        self.head = nn.Linear(config.width, WIDTH)
        self.twin = nn.Linear(WIDTH, config.width)
        self.twin.weight = self.embed.weight
        self.frozen = nn.Parameter(torch.ones(3), requires_grad=False)
        self.full = nn.Parameter(torch.zeros(WIDTH))
        torch.random.set_rng_state(random)

    def forward(self, words: Tensor) -> Tensor:
        state = self.norm(self.embed(words) + self.twin(words))  # (B, T, width)
        return self.head(self.hidden(self.dropout(torch.nn.functional.gelu(state))))

    def units(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Words, and sentences of more than one word."""
        return batch["length"].sum(), (batch["length"] > 1).sum()

    def loss(self, batch: dict[str, Tensor], totals: tuple[float, ...] | None = None) -> dict[str, Any]:
        words, length = batch["words"], batch["length"]  # (B, T, WIDTH), (B,)
        mask = torch.arange(WORDS) < length[:, None]  # (B, T)
        output = self(words)
        if (length == WORDS).any():  # the weight that most batches do not use
            output = torch.where((length == WORDS)[:, None, None], output + self.full, output)
        error = (output - words.flip(-1)).float().square().mean(-1) * mask  # (B, T)
        word_total, long_total = self.units(batch) if totals is None else totals
        word_loss = error.sum() / word_total
        long_loss = error.mean(-1)[length > 1].sum() / max(long_total, 1)
        return {"loss": word_loss + 0.5 * long_loss, "word_loss": word_loss, "words": mask.sum()}


def toy_run(folder: str | Path, config: FitConfig, dropout: float = 0.0) -> FitResult:
    """Train the toy on one thread (bits depend on how sums are split over threads)."""
    torch.set_num_threads(1)
    return fit(Toy(ToyConfig(dropout=dropout)), Batches(Sentences()), config, folder)


if __name__ == "__main__":
    from video_runs import video_run

    for case in json.loads(sys.argv[2]):
        run = video_run if case["system"] == "video" else toy_run
        run(Path(sys.argv[1]) / case["name"], FitConfig(**case["config"]), case["dropout"])

"""The real StreamingDVC, its tiny preset at reduced size, on videos made here: each event shows its own token."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from whenwhere.layers.memory import MemoryConfig
from whenwhere.layers.text_decoder import TextDecoderConfig
from whenwhere.layers.vocab import Vocab
from whenwhere.results import Event
from whenwhere.systems.streaming_dvc import StreamingDVC, StreamingDVCConfig, preset
from whenwhere.systems.training_rows import VideoBatch
from whenwhere.training import Batches, FitConfig, FitResult, fit

FRAMES, SECONDS, TOKENS, WIDTH = 24, 24.0, 2, 16
SUBJECTS, DOINGS = ("a dog", "a man", "two girls", "a red car"), ("runs", "waits at a door", "jumps over a wall")
WORDS = sorted({word for text in (*SUBJECTS, *DOINGS) for word in text.split()})
VOCAB = Vocab.wordpiece(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS], n_bins=FRAMES)


class Videos:
    """One to four events a video; a frame is the sum of the codes of the events that are on, and noise."""

    codes = np.random.default_rng(0).normal(size=(len(SUBJECTS), len(DOINGS), WIDTH))

    def __len__(self) -> int:
        return 30

    def sample(self, rng: np.random.Generator, index: int) -> tuple[np.ndarray, list[Event], int]:
        frames = rng.normal(size=(FRAMES, TOKENS, WIDTH)) * 0.1
        events = []
        for _ in range(index % 4 + 1):
            start = int(rng.integers(0, FRAMES - 4))
            end = int(rng.integers(start + 2, FRAMES))
            who, what = int(rng.integers(len(SUBJECTS))), int(rng.integers(len(DOINGS)))
            frames[start:end] += self.codes[who, what]
            events.append(Event(float(start), float(end), f"{SUBJECTS[who]} {DOINGS[what]}"))
        return frames.astype(np.float32), sorted(events, key=lambda e: (e.start, e.end)), int(rng.integers(2**31))


def collate(samples: list[tuple[np.ndarray, list[Event], int]]) -> VideoBatch:
    frames, events, seeds = zip(*samples)
    return VideoBatch(torch.from_numpy(np.stack(frames)), events, [SECONDS] * len(samples), seeds)


class Trainable(StreamingDVC):
    """Tells what its loss divides by, as the training loop asks for."""

    def units(self, batch: VideoBatch) -> tuple[int, int]:
        rows = self.rows(batch)
        return rows.words, rows.times


def tiny(dropout: float = 0.0) -> StreamingDVCConfig:
    base = preset("tiny", words=VOCAB.words)
    return replace(
        base,
        token_width=WIDTH,
        tokens_per_frame=TOKENS,
        axis=replace(base.axis, frames=FRAMES, n_bins=FRAMES),
        memory=MemoryConfig(size=12),
        decoder=TextDecoderConfig(
            width=32,
            depth=2,
            num_heads=4,
            mlp_width=64,
            max_positions=256,
            dropout=dropout,
            attention_dropout=dropout,
            tie=True,
        ),
        points=replace(base.points, count=4),
    )


def video_run(folder: str | Path, config: FitConfig, dropout: float = 0.0) -> FitResult:
    """Train it on one thread from fixed initial weights."""
    torch.set_num_threads(1)
    torch.manual_seed(11)
    return fit(Trainable(tiny(dropout), VOCAB), Batches(Videos(), collate), config, folder)

"""From annotated videos to the rows of a training step: one row for each decoding point that has something to teach."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from whenwhere.errors import InputError
from whenwhere.layers.vocab import Vocab
from whenwhere.results import Event
from whenwhere.systems.decoding_points import DecodingPoint, DecodingPoints, TimeAxis, decoding_targets


@dataclass(frozen=True)
class VideoBatch:
    """Videos of one length with their events.

    Args:
        tokens: (B, T, N_f, D) frame tokens of the frozen encoder; frame t of a video lies at ``t * duration / T``.
        events: for each video its events, seconds from its first frame. One that ends after the duration goes on.
        durations: seconds of each video.
        seeds: for each video the seed of its decoding points; the same seed gives the same targets.

    Raises:
        InputError: the parts are not about the same number of videos, or the tokens are not of rank 4.
    """

    tokens: Tensor
    events: Sequence[Sequence[Event]]
    durations: Sequence[float]
    seeds: Sequence[int]

    def __post_init__(self) -> None:
        if self.tokens.ndim != 4:
            raise InputError(f"video tokens of shape {tuple(self.tokens.shape)}", "(B, T, N_f, D)")
        sizes = (self.tokens.shape[0], len(self.events), len(self.durations), len(self.seeds))
        if len(set(sizes)) > 1:
            raise InputError("tokens, events, durations and seeds of {}, {}, {} and {} videos".format(*sizes))


@dataclass(frozen=True)
class TrainingRows:
    """Rows of a training step, R of them.

    Attributes:
        video: for each row the index of its video in the batch.
        frame: for each row the last frame seen.
        ended: for each row whether the video ends there.
        prefix: (R, P) int64, what was already said, padded.
        text: (R, L) int64, BOS, what to say, EOS, padded.
        words: targets that are words, EOS included.
        times: targets that are time tokens.
    """

    video: tuple[int, ...]
    frame: tuple[int, ...]
    ended: tuple[bool, ...]
    prefix: Tensor
    text: Tensor
    words: int
    times: int

    def __len__(self) -> int:
        return len(self.video)


def training_rows(
    batch: VideoBatch,
    vocab: Vocab,
    axis: TimeAxis,
    points: DecodingPoints,
    *,
    text_limit: int,
    prefix_limit: int,
    caption_limit: int,
) -> TrainingRows:
    """Choose the decoding points of a batch and write their prefixes and targets as ids.

    Args:
        batch: the videos.
        vocab: words and time tokens.
        axis: bins and frames.
        points: places and forms of the decoding points.
        text_limit: L, longest target in tokens, BOS and EOS included.
        prefix_limit: P, longest prefix; whole captions are dropped, oldest first, until it fits.
        caption_limit: longest single caption.

    Returns:
        The rows, in the order of videos and points. A point with nothing to say is left out unless
        ``points.train_empty``.
    """
    video: list[int] = []
    chosen: list[DecodingPoint] = []
    prefixes, texts = [], []
    for b, events in enumerate(batch.events):
        rng = np.random.default_rng(batch.seeds[b])
        spans = [(event.start, event.end) for event in events]
        found = decoding_targets(spans, batch.durations[b], axis, points, rng, frames=batch.tokens.shape[1])
        found = [point for point in found if point.target or points.train_empty]
        if points.sample is not None and len(found) > points.sample:
            found = [found[k] for k in sorted(rng.choice(len(found), points.sample, replace=False))]
        words = [vocab.encode(event.text, caption_limit) for event in events]
        for point in found:
            said = [
                vocab.event(p.start, p.end, words[p.event]) if points.prefix == "timed" else words[p.event]
                for p in point.prefix
            ]
            prefixes.append(prefix_ids(said if points.prefix != "none" else [], vocab, prefix_limit))
            parts = [vocab.event(p.start, p.end, words[p.event]) for p in point.target]
            texts.append(vocab.sequence(parts, text_limit))
            video.append(b)
            chosen.append(point)
    targets = [token for text in texts for token in text[1:]]
    times = sum(token >= vocab.words for token in targets)
    return TrainingRows(
        tuple(video),
        tuple(point.frame for point in chosen),
        tuple(point.ended for point in chosen),
        _padded(prefixes, vocab.pad),
        _padded(texts, vocab.pad),
        len(targets) - times,
        times,
    )


def prefix_ids(captions: Sequence[Sequence[int]], vocab: Vocab, limit: int) -> list[int]:
    """Return ``BOS caption caption ... EOS`` of at most ``limit`` tokens, the oldest captions dropped whole."""
    kept: list[Sequence[int]] = []
    room = limit - 2
    for caption in reversed(captions):
        room -= len(caption)
        if room < 0:
            break
        kept.append(caption)
    return vocab.sequence(reversed(kept))


def _padded(rows: Sequence[Sequence[int]], pad: int) -> Tensor:
    width = max((len(row) for row in rows), default=0)
    return torch.tensor([[*row, *[pad] * (width - len(row))] for row in rows], dtype=torch.int64).view(len(rows), width)

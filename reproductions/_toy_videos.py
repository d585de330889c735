"""Toy videos for the claims of Streaming DVC: events with a caption each, as the tokens of an imagined image encoder.

A video lasts 32 seconds and holds four or five events with short gaps. In each event a coloured animal does something
at a place with a thing: "red dog runs near trees with ball". A frame has six tokens. All of them carry the place, two
neighbours also the animal with its colour and deed, one other token also the thing, which is therefore small: it is a
sixth of the frame. Animal and thing change position within an event, so that pooling position by position mixes them
with the place. Every token has noise of its own, which averaging over frames takes away.

The vectors that stand for words are drawn once and are the same for all seeds; a seed draws the videos. The event
structure of a video does not depend on how many frames are sampled from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from whenwhere.results import Event

SECONDS = 32.0
POSITIONS = 6  # N_f
WIDTH = 24  # D
WORDS = {
    "colour": ("red", "green", "blue", "white"),
    "animal": ("dog", "cat", "bird", "horse", "fox", "bear"),
    "deed": ("runs", "jumps", "sleeps", "eats"),
    "place": ("trees", "water", "houses", "rocks"),
    "thing": ("ball", "hat", "box", "rope", "lamp", "cup"),
}
GLUE = ("near", "with")
PIECES = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", *GLUE, *(word for words in WORDS.values() for word in words))
_WORLD_SEED = 20240401


@dataclass(frozen=True)
class VideoConfig:
    """How hard the videos are to see.

    Attributes:
        token_noise: length of the noise of each token of each frame; a word's vector has length 1.
        event_noise: length of the noise that lasts as long as the event.
        shift: seconds between changes of position within an event.
        events: fewest and most events in a video.
    """

    token_noise: float = 0.7
    event_noise: float = 0.4
    shift: float = 2.0
    events: tuple[int, int] = (4, 5)


class Videos(NamedTuple):
    """A set of videos.

    Attributes:
        tokens: (N, T, N_f, D) float32.
        events: of each video.
    """

    tokens: Tensor
    events: list[list[Event]]


def word_vectors() -> dict[str, Tensor]:
    """One unit vector for every content word and one for "nothing"."""
    names = [word for words in WORDS.values() for word in words] + ["nothing"]
    draw = torch.randn(len(names), WIDTH, generator=torch.Generator().manual_seed(_WORLD_SEED))
    return dict(zip(names, F.normalize(draw, dim=-1)))


def make_videos(number: int, frames: int, seed: int, config: VideoConfig | None = None) -> Videos:
    """Draw videos and sample frames from them.

    Args:
        number: N.
        frames: T, at equal distances over ``SECONDS``.
        seed: of structure, content and noise.
        config: how hard they are.
    """
    config = config or VideoConfig()
    vectors = word_vectors()
    tokens, events = [], []
    for index in range(number):
        rng = np.random.default_rng((seed, index))
        noise = torch.Generator().manual_seed(int(rng.integers(2**31)))
        found, clean = _video(rng, noise, vectors, frames, config)
        own = torch.randn(clean.shape, generator=torch.Generator().manual_seed(int(rng.integers(2**31))))
        tokens.append(clean + config.token_noise / WIDTH**0.5 * own)
        events.append(found)
    return Videos(torch.stack(tokens), events)


def _video(
    rng: np.random.Generator, noise: torch.Generator, vectors: dict[str, Tensor], frames: int, config: VideoConfig
) -> tuple[list[Event], Tensor]:
    """Events of one video, and its tokens without the noise of the frames."""
    times = torch.arange(frames) * SECONDS / frames
    clean = vectors["nothing"].expand(frames, POSITIONS, WIDTH).clone()
    events = []
    for start, end in _spans(rng, config.events):
        words = {kind: str(rng.choice(choices)) for kind, choices in WORDS.items()}
        seen = {kind: vectors[word] for kind, word in words.items()}
        animal = seen["colour"] + seen["animal"] + seen["deed"]
        place = seen["place"] + config.event_noise / WIDTH**0.5 * torch.randn(WIDTH, generator=noise)
        for begin in np.arange(start, end, config.shift):
            first, other = int(rng.integers(POSITIONS)), int(rng.integers(2, POSITIONS))
            shown = (times >= begin) & (times < min(begin + config.shift, end))
            frame = place.expand(POSITIONS, WIDTH).clone()
            frame[[first, (first + 1) % POSITIONS]] += animal
            frame[(first + other) % POSITIONS] += seen["thing"]
            clean[shown] = frame
        text = "{colour} {animal} {deed} near {place} with {thing}".format(**words)
        events.append(Event(float(start), float(end), text))
    return events, clean


def _spans(rng: np.random.Generator, events: tuple[int, int]) -> list[tuple[float, float]]:
    """Four or five spans of unequal length with gaps between them, the last one over before the video is."""
    number = int(rng.integers(events[0], events[1] + 1))
    lengths, gaps = rng.uniform(0.5, 1.5, number), rng.uniform(0.1, 0.4, number + 1)
    scale = SECONDS / (lengths.sum() + gaps.sum())
    starts = np.cumsum(gaps[:-1]) + np.concatenate([[0.0], np.cumsum(lengths)[:-1]])
    return [(float(s * scale), float((s + n) * scale)) for s, n in zip(starts, lengths)]

"""Videos made of captions: what a frozen image encoder would give for each frame, without any image.

Each event shows one captioned image for a while. A frame is the place of one of its captions in the shared space, moved
sideways as far as images lie from their captions: by one long move that lasts as long as the event, since the frames of
a scene err alike, and a short one of its own. When events follow or overlap each other is taken from human annotations
(times only) or drawn as the cuts of an edited film.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from whenwhere.errors import InputError
from whenwhere.recipes.image_captioner import CaptionSet, plain
from whenwhere.results import Event
from whenwhere.systems.frame_encoder import FrameEncoder
from whenwhere.systems.training_rows import VideoBatch

Spans = list[tuple[float, float]]
_SEEDS = 2**31


@dataclass(frozen=True)
class PseudoVideoConfig:
    """What the videos are like.

    Attributes:
        frames: T.
        rate: frames a second.
        shots: share of videos cut like a film; the others take their times from annotations.
        shot_seconds: median and log spread of a shot's length.
        event_seconds: median and log spread of the mean event length that annotated times are scaled to.
        least_seconds: shorter events are left out.
        blank: chance of a shot to show nothing and have no caption.
        scene_noise: least and largest sideways move of a scene.
        frame_noise: least and largest further move of each frame.
    """

    frames: int = 64
    rate: float = 2.0
    shots: float = 0.6
    shot_seconds: tuple[float, float] = (5.0, 0.6)
    event_seconds: tuple[float, float] = (7.0, 0.5)
    least_seconds: float = 1.0
    blank: float = 0.08
    scene_noise: tuple[float, float] = (1.5, 5.5)
    frame_noise: tuple[float, float] = (0.1, 0.6)

    @property
    def seconds(self) -> float:
        """Length of a video."""
        return self.frames / self.rate


class Scene(NamedTuple):
    """One event of a pseudo-video: when, which image (None shows nothing), and its caption."""

    start: float
    end: float
    group: int | None
    text: str


class PseudoVideo(NamedTuple):
    """One sample: frame places (T, dim), bank rows not to be seen (T,), events and the seed of its decoding points."""

    places: Tensor
    exclude: Tensor
    events: list[Event]
    seed: int


def read_structures(shared: Path) -> list[Spans]:
    """Event times of real videos, seconds: ActivityNet Captions val and YouCook2 train. Their texts are not read.

    Raises:
        InputError: a file is missing or damaged.
    """
    folder = shared / "annotations"
    activitynet: dict[str, Spans] = {}
    for record in _lines(folder / "activitynet_captions_val.qvh.jsonl.gz"):
        activitynet.setdefault(record["vid"], []).extend((float(s), float(e)) for s, e in record["relevant_windows"])
    path = folder / "youcook2_captions_train.json.gz"
    try:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            cooking = [[(float(s), float(e)) for s, e in video["timestamps"]] for video in json.load(file).values()]
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{path}: {error}", "YouCook2 captions", "give the data folder with --shared") from error
    found = [[(s, e) for s, e in sorted(spans) if 0 <= s < e] for spans in [*activitynet.values(), *cooking]]
    return [spans for spans in found if spans]


def _lines(path: Path) -> list[dict[str, Any]]:
    try:
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            return [json.loads(line) for line in lines]
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: {error}", "JSON lines", "give the data folder with --shared") from error


class PseudoVideos:
    """Endless pseudo-videos; see the module.

    Args:
        captions: the captions.
        places: (N, dim) places of all captions.
        structures: event times of real videos.
        config: what the videos are like.
        length: samples that make an epoch.
    """

    def __init__(
        self,
        captions: CaptionSet,
        places: Tensor,
        structures: Sequence[Spans],
        config: PseudoVideoConfig,
        length: int = 100_000,
    ) -> None:
        self.places, self.structures, self.config, self.length = places, structures, config, length
        texts = [plain(text) for group in captions.groups for text in group]
        rows: dict[int, list[int]] = {}
        for row, owner in enumerate(captions.owner.tolist()):
            rows.setdefault(owner, []).append(row)
        self.rows = rows
        self.texts = {
            owner: written
            for owner, members in rows.items()
            if (written := [texts[row] for row in members if captions.ids[row] is not None])
        }
        self.groups = sorted(self.texts)

    def __len__(self) -> int:
        return self.length

    def sample(self, rng: np.random.Generator, index: int) -> PseudoVideo:
        """One video; ``index`` is not looked at."""
        scenes = self._scenes(rng)
        noise = torch.Generator().manual_seed(int(rng.integers(_SEEDS)))
        config = self.config
        times = torch.arange(config.frames) / config.rate
        total = torch.zeros(config.frames, self.places.shape[1])
        exclude = torch.full((config.frames,), -1)
        for scene in scenes:
            shown = (times >= scene.start) & (times < scene.end)
            if scene.group is None or not shown.any():
                continue
            total[shown] += self._look(scene.group, int(shown.sum()), rng, noise)
            exclude[shown] = scene.group
        empty = total.abs().sum(1) == 0
        total[empty] = torch.randn(self.places.shape[1], generator=noise)  # nothing known, but the same nothing
        own = rng.uniform(*config.frame_noise) * torch.randn(total.shape, generator=noise) / total.shape[1] ** 0.5
        places = F.normalize(F.normalize(total, dim=-1) + own, dim=-1)
        events = [Event(scene.start, scene.end, scene.text) for scene in scenes if scene.group is not None]
        return PseudoVideo(places, exclude, events, int(rng.integers(_SEEDS)))

    def _look(self, group: int, frames: int, rng: np.random.Generator, noise: torch.Generator) -> Tensor:
        """Places of a scene's frames (n, dim): from one caption of the image towards another, moved sideways."""
        a, b = (self.places[self.rows[group][rng.integers(len(self.rows[group]))]] for _ in range(2))
        way = torch.linspace(0, float(rng.random()), frames)[:, None]
        base = F.normalize(a + (b - a) * way, dim=-1)
        move = torch.randn(base.shape[1], generator=noise) / base.shape[1] ** 0.5
        return F.normalize(base + rng.uniform(*self.config.scene_noise) * move, dim=-1)

    def _scenes(self, rng: np.random.Generator) -> list[Scene]:
        spans = self._shots(rng) if rng.random() < self.config.shots else self._annotated(rng)
        scenes, last = [], -1
        for start, end in spans:
            if rng.random() < self.config.blank:
                scenes.append(Scene(start, end, None, ""))
                continue
            group = last
            while group == last:
                group = self.groups[rng.integers(len(self.groups))]
            last = group
            scenes.append(Scene(start, end, group, self.texts[group][rng.integers(len(self.texts[group]))]))
        return scenes

    def _shots(self, rng: np.random.Generator) -> Spans:
        median, spread = self.config.shot_seconds
        spans: Spans = []
        at = 0.0
        first = rng.random()  # the first shot began before the window
        while at < self.config.seconds:
            length = max(self.config.least_seconds, float(rng.lognormal(np.log(median), spread)))
            end = at + length * (first if not spans else 1.0)
            if end - at >= self.config.least_seconds / 2:
                spans.append((at, end))
            at = end
        return spans

    def _annotated(self, rng: np.random.Generator) -> Spans:
        spans = np.array(self.structures[int(rng.integers(len(self.structures)))])
        median, spread = self.config.event_seconds
        scale = float(rng.lognormal(np.log(median), spread)) / float((spans[:, 1] - spans[:, 0]).mean())
        spans = spans * scale
        seconds = self.config.seconds
        offset = rng.uniform(min(0.0, spans[:, 1].max() - seconds), max(spans[:, 1].max() - seconds / 2, 1e-3))
        spans = np.clip(spans - max(0.0, offset), 0, None)
        kept = [(float(s), float(e)) for s, e in spans if s < seconds - 0.5 and e - s >= self.config.least_seconds]
        return sorted(kept)[:12]


def collate(encoder: FrameEncoder, config: PseudoVideoConfig, samples: Sequence[PseudoVideo]) -> VideoBatch:
    """Encode the frames of several videos as the encoder encodes real ones."""
    places = torch.cat([sample.places for sample in samples])
    tokens = encoder.from_places(places, torch.cat([sample.exclude for sample in samples]))
    shape = (len(samples), config.frames, 1, -1)
    return VideoBatch(
        tokens.reshape(shape),
        [sample.events for sample in samples],
        [config.seconds] * len(samples),
        [sample.seed for sample in samples],
    )

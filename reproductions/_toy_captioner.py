"""The captioner of the toy videos: the real StreamingDVC with 64 channels, its start, its training, its scores.

All arms of a seed start from one decoder that has seen short clips without any memory compression (the counterpart of
the image-captioning weights that the paper starts from); before that, words and times begin as the projection of the
vectors that show them, as a joint space of images and texts gives them.

A memory has no weights, so the memories of the training videos are made once and not again at each step. Training is a
plain loop and not ``whenwhere.training.fit``: that one lays out decoding points twice a step and walks through every
event to move it to a device, which costs more than the model at this size.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from _toy_videos import PIECES, POSITIONS, SECONDS, WIDTH, VideoConfig, Videos, make_videos, word_vectors
from torch import Tensor

from whenwhere.layers.memory import MemoryConfig, MemoryKind, MemoryState
from whenwhere.layers.text_decoder import TextDecoderConfig
from whenwhere.layers.time_features import TimeFeatures
from whenwhere.layers.vocab import Vocab
from whenwhere.metrics.dense_captions import dense_captions
from whenwhere.metrics.localisation import localisation
from whenwhere.results import Event
from whenwhere.systems.decoding_points import DecodingPoints, PointForm, PrefixForm, TimeAxis
from whenwhere.systems.session import StreamOptions
from whenwhere.systems.streaming_dvc import StreamingDVC, StreamingDVCConfig
from whenwhere.systems.training_rows import TrainingRows, VideoBatch
from whenwhere.training.data import Batches

BINS = 64  # over twice the length of a video, so that a session keeps one memory from its first frame to its last
_INIT_SIZE = 0.3  # of the rows that stand for words and times


@dataclass(frozen=True)
class Arm:
    """What a claim varies; the default is the paper's way.

    Attributes:
        memory: kind of the memory.
        frames: T.
        momentum: weigh centres by their counts.
        points: decoding points of a training video.
        prefix: what the prefix shows.
        form: how the prefix is cut.
        longer: times as many training steps.
    """

    memory: MemoryKind = "kmeans"
    frames: int = 64
    momentum: bool = True
    points: int = 8
    prefix: PrefixForm = "captions"
    form: PointForm = "augmented"
    longer: int = 1


@dataclass(frozen=True)
class Size:
    """What all arms share.

    Attributes:
        train: training videos.
        test: held-out videos.
        steps: training steps.
        batch: videos a step.
        drawn: decoding points of a video that enter a step.
        lr: peak learning rate.
        memory: K.
        width: channels of the decoder.
        start_clips: clips that the common start is trained on.
        start_steps: its steps.
    """

    train: int = 256
    test: int = 32
    steps: int = 200
    batch: int = 16
    drawn: int = 4
    lr: float = 2e-3
    memory: int = 24
    width: int = 64
    start_clips: int = 1024
    start_steps: int = 400


class ToyCaptioner(StreamingDVC):
    """StreamingDVC whose training batches name videos by number; inference is untouched."""

    states: dict[int, MemoryState]

    def prepare(self, tokens: Tensor) -> None:
        """Make the memories of all training videos (N, T, N_f, D) at every frame a decoding point can ask for."""
        stride = (BINS - 1) // self.config.points.count + 1
        ends = [min(end, BINS // 2) for end in range(stride, BINS + stride, stride)]
        frames = {max(end * self.axis.frames // BINS - 1, 0) for end in ends}
        positions = torch.arange(tokens.shape[1], dtype=torch.float32)
        self.states = self.memory.run(self.frame_tokens(tokens, positions), keep=frames)

    def _visual_rows(self, tokens: Tensor, rows: TrainingRows) -> tuple[Tensor, Tensor | None]:
        numbers = tokens[:, 0, 0, 0].long()
        memories = [self.memory.read(self.states[f])[numbers[v]] for v, f in zip(rows.video, rows.frame)]
        seen = [self.visual(memory[None])[0] for memory in memories]
        visual = torch.nn.utils.rnn.pad_sequence(seen, batch_first=True)
        lengths = torch.tensor([len(row) for row in seen])
        keep = torch.arange(visual.shape[1]) < lengths.unsqueeze(1)
        return visual, None if bool(keep.all()) else keep


@dataclass(frozen=True)
class NumberedVideos:
    """Training videos by number, with the seed of their decoding points."""

    videos: Videos

    def __len__(self) -> int:
        return len(self.videos.events)

    def sample(self, rng: np.random.Generator, index: int) -> tuple[int, int]:
        """Number and seed."""
        return index, int(rng.integers(2**31))

    def collate(self, samples: Sequence[tuple[int, int]]) -> VideoBatch:
        """A batch whose tokens are but the numbers of the videos."""
        numbers = torch.tensor([float(index) for index, _ in samples]).view(-1, 1, 1, 1)
        return VideoBatch(
            numbers.expand(-1, self.videos.tokens.shape[1], 1, 1),
            [self.videos.events[index] for index, _ in samples],
            [SECONDS] * len(samples),
            [seed for _, seed in samples],
        )


def model_config(arm: Arm, size: Size) -> StreamingDVCConfig:
    """The captioner of an arm; what the arm does not name is the same for all."""
    return StreamingDVCConfig(
        encoder="toy",
        token_width=WIDTH,
        tokens_per_frame=POSITIONS,
        words=len(PIECES),
        axis=TimeAxis(frames=2 * arm.frames, n_bins=BINS, span="window", decoding="center"),
        points=DecodingPoints(
            count=1 if arm.points == 1 else 2 * arm.points,  # over the window, of which a video fills half
            form=arm.form,
            prefix=arm.prefix,
            sample=size.drawn,
            order="end",
        ),
        stream=StreamOptions(
            interval=arm.frames,
            horizon=2 * arm.frames,
            beam=1,
            max_tokens=64,
            prefix_tokens=64,
            caption_tokens=8,
        ),
        memory=MemoryConfig(kind=arm.memory, size=size.memory, momentum=arm.momentum),
        time=TimeFeatures(frequencies=6, shortest=arm.frames / 16, weight=0.3),
        decoder=TextDecoderConfig(
            width=size.width,
            depth=2,
            num_heads=4,
            mlp_width=2 * size.width,
            max_positions=64,
            dropout=0.0,
            attention_dropout=0.0,
            tie=True,
        ),
    )


def build(arm: Arm, size: Size, seed: int) -> ToyCaptioner:
    """The untrained captioner, words and times aligned with what shows them."""
    torch.manual_seed(seed)
    model = ToyCaptioner(model_config(arm, size), Vocab.wordpiece(PIECES, BINS))
    config, decoder, vectors = model.config, model.decoder, word_vectors()
    with torch.no_grad():
        weight = torch.nn.init.orthogonal_(decoder.visual_projection.weight)  # (width, D + 2F)
        frames = (torch.arange(BINS) + 0.5) * config.axis.frames / (BINS - 1)
        times = config.time.encode(frames) @ weight[:, WIDTH:].T
        decoder.words.weight[config.words :] = _INIT_SIZE * torch.nn.functional.normalize(times, dim=-1)
        for row, piece in enumerate(PIECES):
            if piece in vectors:
                shown = weight[:, :WIDTH] @ vectors[piece]
                decoder.words.weight[row] = _INIT_SIZE * torch.nn.functional.normalize(shown, dim=-1)
    return model


def learn(model: ToyCaptioner, videos: Videos, steps: int, batch: int, lr: float, seed: int) -> float:
    """Train in place: AdamW, a linear rise and a cosine fall; return the mean loss of the last tenth."""
    data = NumberedVideos(videos)
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, betas=(0.9, 0.98), weight_decay=0.01)
    losses = []
    model.train()
    for step, part in enumerate(Batches(data, data.collate).pieces(seed, range(steps), batch, 1, range(1))):
        rate = lr * min((step + 1) / (steps // 10 + 1), 0.5 + 0.5 * math.cos(math.pi * step / steps))
        for group in optimizer.param_groups:
            group["lr"] = rate
        loss = model.loss(part, rows=model.rows(part))["loss"]
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(float(loss.detach()))
    model.eval()
    return float(np.mean(losses[-max(1, steps // 10) :]))


def common_start(size: Size, seed: int) -> dict[str, Tensor]:
    """Weights of a decoder trained on clips of one or two events in eight frames, none of which is compressed."""
    clips = make_videos(size.start_clips, 8, 100_000 + seed, VideoConfig(events=(1, 2)))
    model = build(Arm("none", 8, points=1), size, seed)
    model.prepare(clips.tokens)
    learn(model, clips, size.start_steps, 3 * size.batch, 3e-3, seed)
    return {name: tensor.detach().clone() for name, tensor in model.decoder.state_dict().items()}


def train(arm: Arm, size: Size, seed: int, start: dict[str, Tensor]) -> tuple[ToyCaptioner, float]:
    """The captioner of an arm after training, and its last loss. Arms of a seed see the same videos in one order."""
    videos = make_videos(size.train, arm.frames, 200_000 + seed)
    model = build(arm, size, seed)
    model.decoder.load_state_dict(start)
    model.prepare(videos.tokens)
    return model, learn(model, videos, size.steps * arm.longer, size.batch, size.lr, seed)


def evaluate(model: ToyCaptioner, videos: Videos, points: int) -> dict[str, float]:
    """Run held-out videos through sessions with so many decoding points, and score them.

    Returns:
        ``CIDEr`` (densevid) and ``F1`` (per video), times 100; ``events`` a video; ``duplicates`` a video: captions
        that repeat, word by word, an earlier one of the video.
    """
    options = replace(model.config.stream, interval=videos.tokens.shape[1] // points)
    said: dict[str, list[Event]] = {}
    for number, tokens in enumerate(videos.tokens):
        said[str(number)] = model.predict(tokens, SECONDS, options)
    truth = {
        str(number): {"timestamps": [[e.start, e.end] for e in events], "sentences": [e.text for e in events]}
        for number, events in enumerate(videos.events)
    }
    counts = [(len(events), len({event.text for event in events})) for events in said.values()]
    return {
        "CIDEr": 100 * dense_captions(said, [truth]).figures()["CIDEr"],
        "F1": 100 * localisation(said, [truth]).f1_per_video,
        "events": float(np.mean([total for total, _ in counts])),
        "duplicates": float(np.mean([total - different for total, different in counts])),
    }


def state_bytes(model: ToyCaptioner, tokens: Tensor) -> int:
    """Bytes of the memory after a whole video (T, N_f, D)."""
    state = model.empty_memory()
    for position, frame in enumerate(tokens):
        state = model.remember(state, frame, position)
    return state.nbytes()


def use_of_memory(arm: Arm, size: Size, seed: int) -> dict[str, float]:
    """How a memory spends its tokens, without any training: why one kind tells more than another.

    Returns:
        ``in_use``: tokens that stand for at least a hundredth of what was seen. ``error``: mean squared distance of
        what was shown, before the noise of its token, to the nearest memory token. Both are means over 16 videos.
    """
    model = build(arm, size, seed)
    positions = torch.arange(arm.frames, dtype=torch.float32)
    seen, shown = (
        model.frame_tokens(make_videos(16, arm.frames, 300_000 + seed, config).tokens, positions)
        for config in (VideoConfig(), VideoConfig(token_noise=0.0))
    )
    state = model.memory.run(seen)[arm.frames - 1]
    share = state.counts / state.counts.sum(dim=1, keepdim=True)
    nearest = torch.cdist(shown.flatten(1, 2), state.tokens).square().amin(dim=2)
    return {
        "in_use": round(float((share >= 0.01).sum(dim=1).float().mean()), 2),
        "error": round(float(nearest.mean()), 4),
    }


def tested(arm: Arm) -> tuple[int, ...]:
    """Decoding points in test: the one that the claims need, and others where they tell something."""
    if arm.points == 1:
        return (1, 2) if arm == Arm(points=1, longer=arm.longer) else (1,)
    return (1, 2, 8) if arm.prefix == "captions" else (2,)


def run(arm: Arm, size: Size, seed: int, start: dict[str, Tensor]) -> dict[str, Any]:
    """Train and score one arm with one seed."""
    began = time.process_time()
    model, loss = train(arm, size, seed, start)
    trained = time.process_time()
    videos = make_videos(size.test, arm.frames, 300_000 + seed)
    scores = {str(points): evaluate(model, videos, points) for points in tested(arm)}
    return {
        "scores": {points: {name: round(value, 3) for name, value in row.items()} for points, row in scores.items()},
        "loss": round(loss, 4),
        "state_bytes": state_bytes(model, videos.tokens[0]),
        "train_cpu_s": round(trained - began, 1),
        "test_cpu_s": round(time.process_time() - trained, 1),
    }

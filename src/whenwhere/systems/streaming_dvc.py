"""Streaming dense video captioning in the GIT form: streaming K-means memory, text decoder, decoding points.

Zhou et al., Streaming Dense Video Captioning, CVPR 2024 (arXiv:2404.01297). Frame tokens come from a frozen image
encoder, which is not a part of this module: they are given as (B, T, N_f, D), or frame by frame to a session.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from whenwhere.errors import InputError
from whenwhere.layers.memory import MemoryConfig, MemoryState, build_memory
from whenwhere.layers.text_decoder import DecoderStepper, TextDecoder, TextDecoderConfig
from whenwhere.layers.time_features import TimeFeatures
from whenwhere.layers.vocab import Vocab
from whenwhere.systems.decoding_points import DecodingPoints, TimeAxis
from whenwhere.systems.session import StreamOptions
from whenwhere.systems.timed_captioner import CaptionerConfig, TimedCaptioner
from whenwhere.systems.training_rows import TrainingRows, VideoBatch

__all__ = ["StreamingDVC", "StreamingDVCConfig", "VideoBatch", "preset"]


@dataclass(frozen=True)
class StreamingDVCConfig(CaptionerConfig):
    """The model; the defaults are the paper's GIT-L on ActivityNet.

    Args:
        memory: the visual memory.
        time: features of time appended to the frame tokens; ``frequencies=0``, the paper's way, appends none.
        decoder: the text decoder; its ``visual_width`` and ``vocab_size`` follow from the other parts.
        end_token: show the decoder a learned token where the video ends (see ``points.end_probability``).
        temporal: learned embeddings added to the tokens of frame 0, 1, ...: 0 for the dense model, T for the paragraph
            model and for GIT's video checkpoints, which then take no more frames than that.
        trained_rate: frames a second that it was trained at, where that is one number. Interval, horizon and time bins
            are counted in frames, so at another rate they are other seconds.

    Raises:
        InputError: parts that do not fit together.
    """

    memory: MemoryConfig = field(default_factory=MemoryConfig)
    time: TimeFeatures = field(default_factory=lambda: TimeFeatures(frequencies=0))
    decoder: TextDecoderConfig = field(default_factory=TextDecoderConfig)
    end_token: bool = False
    temporal: int = 0
    trained_rate: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.temporal < 0:
            raise InputError(f"{self.temporal} temporal embeddings", "at least 0")
        if self.trained_rate is not None and not 0 < self.trained_rate < math.inf:
            raise InputError(f"a trained rate of {self.trained_rate:g} frames a second", "a number above zero, or None")
        if self.points.end_probability and not self.end_token:
            raise InputError("points.end_probability without end_token", "both or neither")
        if self.axis.span == "window" and not self.time.frequencies:
            raise InputError("time bins over a window with tokens that carry no time", "time.frequencies >= 1")
        longest = max(self.stream.max_tokens, self.stream.prefix_tokens)
        if longest > self.decoder.max_positions:
            raise InputError(f"texts of {longest} tokens", f"at most max_positions, {self.decoder.max_positions}")
        width, vocab_size = self.token_width + self.time.width, self.words + self.axis.n_bins
        object.__setattr__(self, "decoder", replace(self.decoder, visual_width=width, vocab_size=vocab_size))


def preset(name: Literal["tiny", "small", "paper"], *, words: int = 30522) -> StreamingDVCConfig:
    """Return a configuration by name.

    ``paper`` is the published GIT-L model with CLIP ViT-L/14 tokens; ``small`` the same with GIT-base and ViT-B/16;
    ``tiny`` trains on a CPU and departs from the paper for live use: tokens carry time, time bins have a fixed length,
    the memory slides, silence and the end of the video are learned, and decoding is held to the grammar.

    ``tiny`` is a starting point for training your own, and *not* the model that ships: that one is configured by
    :func:`whenwhere.recipes.streaming_dvc.model_config`, around the shared space's tokens (one a frame), a window of 64
    frames and 48 memory tokens, and its prefix shows times. Read it with ``load("describe").captioner.config``.

    Args:
        name: which one.
        words: V, when the vocabulary is not BERT's.

    Raises:
        InputError: there is no such preset.
    """
    if name == "paper":
        return StreamingDVCConfig(words=words)
    if name == "small":
        return StreamingDVCConfig(
            encoder="clip-vit-b16",
            token_width=768,
            tokens_per_frame=197,
            words=words,
            memory=MemoryConfig(size=2 * 197),
        )
    if name == "tiny":
        return StreamingDVCConfig(
            encoder="efficientnet-lite2",
            token_width=384,
            tokens_per_frame=4,
            words=words,
            axis=TimeAxis(frames=128, n_bins=128, span="window", decoding="center"),
            points=DecodingPoints(plain_probability=0.5, train_empty=True, end_probability=0.1, order="end"),
            stream=StreamOptions(
                interval=8,
                horizon=128,
                max_tokens=96,
                prefix_tokens=192,
                caption_tokens=40,
                grammar=True,
                untimed="drop",
                duplicate_tiou=0.5,
                capitalize=True,
            ),
            memory=MemoryConfig(size=96),
            time=TimeFeatures(frequencies=8),
            decoder=TextDecoderConfig(
                width=384, depth=4, num_heads=6, mlp_width=1536, max_positions=256, attention_dropout=0.0, tie=True
            ),
            end_token=True,
        )
    raise InputError(f"preset {name!r}", "one of tiny, small, paper")


class StreamingDVC(TimedCaptioner):
    """The trainable part of the model: the memory has no weights, so that is the text decoder."""

    schema = "whenwhere.streaming_dvc/1"
    config_type = StreamingDVCConfig
    config: StreamingDVCConfig

    def __init__(self, config: StreamingDVCConfig, vocab: Vocab | None = None) -> None:
        super().__init__(config, vocab)
        self.memory = build_memory(config.memory, gradient=config.temporal > 0)
        self.decoder = TextDecoder(config.decoder)
        if config.end_token:
            self.end = nn.Parameter(torch.randn(config.decoder.visual_width) * 0.02)
        if config.temporal:
            self.temporal = nn.Parameter(torch.zeros(config.temporal, config.token_width))

    @property
    def marks_end(self) -> bool:
        """Whether the decoder is told where the video ends."""
        return self.config.end_token

    def frame_tokens(self, tokens: Tensor, positions: Tensor) -> Tensor:
        """Return what enters the memory: frame tokens marked with their place in time.

        Args:
            tokens: (..., T, N_f, D).
            positions: (T,) float32, frames since the memory began.

        Returns:
            (..., T, N_f, D + 2F).
        """
        if self.config.temporal:
            last = int(positions.max())
            if last >= self.config.temporal:
                raise InputError(f"frame {last} of a model with {self.config.temporal} frame embeddings")
            tokens = tokens + self.temporal[positions.long()].unsqueeze(-2)
        return self.config.time.append(tokens, positions.expand(tokens.shape[:-2]))

    def visual(self, memory: Tensor, ended: bool = False) -> Tensor:
        """Return the decoder's visual tokens (B, S, D + 2F), with one more where the video ended, for memory tokens."""
        visual = self.config.time.rescale(memory)
        if ended and self.config.end_token:
            visual = torch.cat([visual, self.end.expand(visual.shape[0], 1, -1)], dim=1)
        return visual

    def empty_memory(self) -> MemoryState:
        """Return the memory of one stream before its first frame."""
        return self.memory.init(1, self.config.decoder.visual_width, device=self.device)

    @torch.no_grad()
    def remember(self, state: MemoryState, tokens: Tensor, position: float) -> MemoryState:
        """Return the memory after one more frame; see :meth:`TimedCaptioner.remember`."""
        if tokens.ndim != 2 or tokens.shape[1] != self.config.token_width:
            raise InputError(f"frame tokens of shape {tuple(tokens.shape)}", f"(N_f, {self.config.token_width})")
        positions = torch.tensor([position], device=self.device, dtype=torch.float32)
        return self.memory.update(state, self.frame_tokens(tokens.to(self.device, torch.float32)[None], positions))

    def stepper(self, state: MemoryState, prefix: Sequence[int], ended: bool) -> DecoderStepper:
        """Return a word-by-word decoder over a memory and a prefix."""
        visual = self.visual(self.memory.read(state), ended)
        context = self.decoder.encode(visual, torch.tensor([list(prefix)], device=self.device))
        return self.decoder.stepper(context)

    def final_rows(self, tokens: Tensor, rows: TrainingRows) -> Tensor:
        """Run memory and decoder: one memory pass a video, one decoder row a decoding point."""
        visual, keep = self._visual_rows(tokens, rows)
        context = self.decoder.encode(visual, rows.prefix.to(self.device), keep)
        return self.decoder.decode(context, rows.text[:, :-1].to(self.device))

    def logits(self, rows: Tensor) -> Tensor:
        """Return (..., V + n_bins) logits of hidden rows (..., width)."""
        return self.decoder.logits(rows)

    def _visual_rows(self, tokens: Tensor, rows: TrainingRows) -> tuple[Tensor, Tensor | None]:
        """Return the visual tokens (R, S, D + 2F) that each row sees, and which of them (R, S) are not padding."""
        positions = torch.arange(tokens.shape[1], device=tokens.device, dtype=torch.float32)
        states = self.memory.run(self.frame_tokens(tokens, positions), keep=rows.frame)
        seen = [
            self.visual(self.memory.read(states[frame])[video : video + 1], ended)[0]  # (S_r, D + 2F)
            for video, frame, ended in zip(rows.video, rows.frame, rows.ended)
        ]
        lengths = torch.tensor([len(row) for row in seen], device=tokens.device)
        longest = int(lengths.max())
        visual = torch.stack([F.pad(row, (0, 0, 0, longest - len(row))) for row in seen])
        if self.config.end_token and not any(rows.ended):
            visual = visual + 0.0 * self.end  # data-parallel training waits for a gradient of every parameter
        keep = torch.arange(longest, device=tokens.device) < lengths.unsqueeze(1)
        return visual, None if bool(keep.all()) else keep

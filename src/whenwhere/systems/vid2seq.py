"""The streaming captioner in the Vid2Seq form: temporal transformer over frame features, T5 for text.

The second model of Zhou et al., Streaming Dense Video Captioning, CVPR 2024; Vid2Seq is Yang et al., CVPR 2023. One
pooled feature stands for a frame. What was seen so far is stretched to a fixed number of frames, so time tokens are
always relative to it; what was said goes through the T5 encoder; the T5 decoder attends to both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

from whenwhere.errors import InputError
from whenwhere.layers.memory import MemoryConfig, MemoryState, build_memory
from whenwhere.layers.vocab import Vocab
from whenwhere.systems.decoding_points import DecodingPoints, TimeAxis
from whenwhere.systems.session import StreamOptions
from whenwhere.systems.timed_captioner import CaptionerConfig, TimedCaptioner
from whenwhere.systems.training_rows import TrainingRows


@dataclass(frozen=True)
class Vid2SeqConfig(CaptionerConfig):
    """The model; the defaults are the paper's: CLIP ViT-L/14 pooled features, 12 layers, T5-v1.1-base.

    Args:
        width: channels of both transformers.
        temporal_depth: layers of the temporal transformer.
        temporal_heads: its attention heads.
        temporal_mlp: hidden channels of its feed-forward parts.
        text_depth: layers of the T5 encoder, and of the decoder.
        text_heads: attention heads of T5.
        text_head_width: channels of a head of T5.
        text_mlp: hidden channels of its gated feed-forward parts.
        dropout: everywhere.

    Raises:
        InputError: more than one token a frame, or time bins that are not relative to what was seen.
    """

    token_width: int = 768
    tokens_per_frame: int = 1
    words: int = 32128
    axis: TimeAxis = field(default_factory=lambda: TimeAxis(frames=100, n_bins=100))
    points: DecodingPoints = field(default_factory=lambda: DecodingPoints(count=8))
    stream: StreamOptions = field(default_factory=lambda: StreamOptions(interval=50))
    time_weight: float | None = None
    width: int = 768
    temporal_depth: int = 12
    temporal_heads: int = 12
    temporal_mlp: int = 2048
    text_depth: int = 12
    text_heads: int = 12
    text_head_width: int = 64
    text_mlp: int = 2048
    dropout: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.tokens_per_frame != 1 or self.axis.span != "seen" or self.points.end_probability:
            raise InputError(
                f"{self.tokens_per_frame} tokens a frame, bins over the {self.axis.span}, "
                f"end_probability {self.points.end_probability:g}",
                "1 token a frame, bins over what was seen, and no end token: the stretch takes what tells them apart",
            )


def vid2seq_preset(name: Literal["tiny", "paper"], *, words: int = 32128) -> Vid2SeqConfig:
    """Return a configuration by name: ``paper`` as published, ``tiny`` for a CPU.

    Raises:
        InputError: there is no such preset.
    """
    if name == "paper":
        return Vid2SeqConfig(words=words)
    if name == "tiny":
        return Vid2SeqConfig(
            encoder="efficientnet-lite2",
            token_width=384,
            words=words,
            axis=TimeAxis(frames=64, n_bins=64, decoding="center"),
            stream=StreamOptions(interval=8, max_tokens=96, prefix_tokens=192, caption_tokens=40),
            width=256,
            temporal_depth=2,
            temporal_heads=4,
            temporal_mlp=512,
            text_depth=3,
            text_heads=4,
            text_mlp=512,
        )
    raise InputError(f"preset {name!r}", "one of tiny, paper")


def stretch_index(last: int, length: int) -> Tensor:
    """Return which of frames 0..last fills each of ``length`` slots: ``floor(0.5 + linspace(0, last, length))``."""
    return torch.floor(0.5 + torch.linspace(0, last, length, dtype=torch.float64, device="cpu")).long()


class Vid2Seq(TimedCaptioner):
    """Temporal transformer and T5."""

    schema = "whenwhere.vid2seq/1"
    config_type = Vid2SeqConfig
    config: Vid2SeqConfig

    def __init__(self, config: Vid2SeqConfig, vocab: Vocab | None = None) -> None:
        from transformers import T5Config, T5ForConditionalGeneration

        super().__init__(config, vocab)
        self.memory = build_memory(MemoryConfig(kind="none"))
        width = config.width
        self.projection = nn.Identity() if config.token_width == width else nn.Linear(config.token_width, width)
        self.positions = nn.Parameter(torch.randn(config.axis.frames, width) * 0.02)
        layer = nn.TransformerEncoderLayer(
            width,
            config.temporal_heads,
            config.temporal_mlp,
            config.dropout,
            activation="gelu",
            batch_first=True,
            norm_first=True,
        )
        self.temporal = nn.TransformerEncoder(
            layer, config.temporal_depth, norm=nn.LayerNorm(width), enable_nested_tensor=False
        )
        self.dropout = nn.Dropout(config.dropout)
        shape: dict[str, Any] = {
            "vocab_size": config.words + config.axis.n_bins,
            "d_model": width,
            "d_kv": config.text_head_width,
            "d_ff": config.text_mlp,
            "num_layers": config.text_depth,
            "num_heads": config.text_heads,
            "dropout_rate": config.dropout,
            "feed_forward_proj": "gated-gelu",
            "tie_word_embeddings": False,
        }
        self.t5 = T5ForConditionalGeneration(T5Config(**shape))
        # v1.1 has an output of its own; transformers ties it all the same, so a fresh parameter takes its place.
        self.t5.lm_head.weight = nn.Parameter(torch.empty_like(self.t5.lm_head.weight))
        nn.init.normal_(self.t5.lm_head.weight, std=width**-0.5)

    def empty_memory(self) -> MemoryState:
        """Return the memory of one stream before its first frame: it keeps every feature, so give it a horizon."""
        return self.memory.init(1, self.config.token_width, device=self.device)

    @torch.no_grad()
    def remember(self, state: MemoryState, tokens: Tensor, position: float) -> MemoryState:
        """Return the memory after one more frame, whose pooled feature is (1, D); order is all the time it keeps."""
        if tokens.shape != (1, self.config.token_width):
            raise InputError(f"a frame feature of shape {tuple(tokens.shape)}", f"(1, {self.config.token_width})")
        return self.memory.update(state, tokens.to(self.device, torch.float32)[None])

    def encode(self, features: Tensor, prefix: Tensor) -> tuple[Tensor, Tensor]:
        """Return what the T5 decoder attends to.

        Args:
            features: (R, T, D) frame features, stretched to T = ``axis.frames``.
            prefix: (R, P) int64 ids; padding, and BOS, which for T5 is the same token, are masked.

        Returns:
            (R, T + P, width) visual rows and encoded prefix, and (R, T + P) int64 mask.
        """
        visual = self.temporal(self.dropout(self.projection(features) + self.positions))
        seen = (prefix != 0).long()
        said = self.t5.encoder(input_ids=prefix, attention_mask=seen).last_hidden_state
        mask = torch.cat([seen.new_ones(visual.shape[:2]), seen], dim=1)
        return torch.cat([visual, said], dim=1), mask

    def stepper(self, state: MemoryState, prefix: Sequence[int], ended: bool) -> T5Stepper:
        """Return a word-by-word decoder over the frames so far and a prefix."""
        features = self.memory.read(state)  # (1, t + 1, D)
        index = stretch_index(features.shape[1] - 1, self.axis.frames).to(self.device)
        return T5Stepper(self, *self.encode(features[:, index], torch.tensor([list(prefix)], device=self.device)))

    def final_rows(self, tokens: Tensor, rows: TrainingRows) -> Tensor:
        """Stretch what each decoding point has seen, encode it with its prefix, and decode its target."""
        index = torch.stack([stretch_index(frame, self.axis.frames) for frame in rows.frame]).to(self.device)
        video = torch.tensor(rows.video, device=self.device).unsqueeze(1)  # (R, 1)
        features = tokens.squeeze(2)[video, index]  # (R, T, D)
        context, mask = self.encode(features, rows.prefix.to(self.device))
        return self.t5.decoder(
            input_ids=rows.text[:, :-1].to(self.device),
            encoder_hidden_states=context,
            encoder_attention_mask=mask,
            use_cache=False,
        ).last_hidden_state

    def logits(self, rows: Tensor) -> Tensor:
        """Return (..., V + n_bins) logits of hidden rows (..., width)."""
        return self.t5.lm_head(rows)


class T5Stepper:
    """Decodes G texts for each of B contexts with T5, one token at a time, for :mod:`whenwhere.layers.beam`."""

    def __init__(self, model: Vid2Seq, context: Tensor, mask: Tensor) -> None:
        self._model, self._context, self._mask = model, context, mask
        self._cache: Any = None
        self.batch = context.shape[0]

    @torch.no_grad()
    def step(self, tokens: Tensor) -> Tensor:
        """Append tokens (B, G) to the texts; return float32 log-probabilities (B, G, V + n_bins) of the next ones."""
        group = tokens.shape[1]
        result = self._model.t5.decoder(
            input_ids=tokens.reshape(-1, 1).to(self._context.device),
            encoder_hidden_states=self._context.unsqueeze(1).expand(-1, group, -1, -1).flatten(0, 1),
            encoder_attention_mask=self._mask.unsqueeze(1).expand(-1, group, -1).flatten(0, 1),
            past_key_values=self._cache,
            use_cache=True,
        )
        self._cache = result.past_key_values
        logits = self._model.logits(result.last_hidden_state[:, 0])
        return logits.float().log_softmax(dim=-1).unflatten(0, tokens.shape)

    def reorder(self, parents: Tensor) -> None:
        """Make text g of example b go on from what was text ``parents[b, g]``; G may change."""
        rows = self._cache.self_attention_cache.layers[0].keys.shape[0]
        offsets = torch.arange(self.batch).unsqueeze(1) * (rows // self.batch)
        self._cache.reorder_cache((parents.cpu() + offsets).flatten().to(self._context.device))

"""A small vocabulary and small models that the system tests share."""

from __future__ import annotations

from dataclasses import replace

import torch

from whenwhere.layers.memory import MemoryConfig
from whenwhere.layers.text_decoder import TextDecoderConfig
from whenwhere.layers.vocab import Vocab
from whenwhere.systems.decoding_points import DecodingPoints, TimeAxis
from whenwhere.systems.session import StreamOptions
from whenwhere.systems.streaming_dvc import StreamingDVC, StreamingDVCConfig, preset

PIECES = [
    *("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"),
    *("a", "cat", "dog", "bird", "sleeps", "runs", "sings", "jump", "##s", "on", "the", "mat", "."),
]


def small_config(**changes) -> StreamingDVCConfig:
    """The paper's form at a size that runs in milliseconds: 16 frames, 16 bins, 4 points."""
    config = StreamingDVCConfig(
        encoder="none",
        token_width=12,
        tokens_per_frame=3,
        words=len(PIECES),
        axis=TimeAxis(frames=16, n_bins=16),
        points=DecodingPoints(count=4),
        stream=StreamOptions(interval=4, max_tokens=20, prefix_tokens=30, beam=2),
        memory=MemoryConfig(size=6),
        decoder=TextDecoderConfig(width=32, depth=2, num_heads=4, mlp_width=48, max_positions=40),
    )
    return replace(config, **changes)


def live_config(**changes) -> StreamingDVCConfig:
    """The live form of the tiny preset at the same size."""
    tiny, small = preset("tiny"), small_config()
    config = replace(
        tiny,
        token_width=12,
        tokens_per_frame=3,
        words=len(PIECES),
        axis=replace(tiny.axis, frames=16, n_bins=16),
        points=replace(tiny.points, count=4),
        stream=replace(tiny.stream, interval=4, horizon=16, max_tokens=20, prefix_tokens=30, beam=2),
        memory=MemoryConfig(size=6),
        decoder=replace(small.decoder, tie=True),
    )
    return replace(config, **changes)


def build(config: StreamingDVCConfig, seed: int = 0) -> StreamingDVC:
    """A model with weights large enough to say different things for different videos, and slow to fall silent."""
    torch.manual_seed(seed)
    model = StreamingDVC(config, Vocab.wordpiece(PIECES, config.axis.n_bins))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
        model.decoder.output_bias[model.vocab.eos] -= 4.0
    return model.eval()


def random_tokens(seed: int, *shape: int) -> torch.Tensor:
    """Frame tokens."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))

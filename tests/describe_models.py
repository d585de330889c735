"""Small describers with random weights: they see real frames and say nonsense, but always the same nonsense."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import timm
import torch
from safetensors.torch import save_file

from whenwhere.backbones.space import Bridge, BridgeConfig, BridgeMaps
from whenwhere.backbones.vision import TimmBackbone
from whenwhere.layers.memory import MemoryConfig
from whenwhere.layers.text_bank import BankConfig
from whenwhere.layers.text_decoder import TextDecoderConfig
from whenwhere.layers.time_features import TimeFeatures
from whenwhere.layers.vocab import Vocab
from whenwhere.media import write_video
from whenwhere.systems.decoding_points import DecodingPoints, TimeAxis
from whenwhere.systems.describer import Describer
from whenwhere.systems.frame_encoder import FrameEncoder, FrameEncoderConfig
from whenwhere.systems.image_captioner import CaptionOptions, ImageCaptioner, ImageCaptionerConfig
from whenwhere.systems.session import StreamOptions
from whenwhere.systems.streaming_dvc import StreamingDVC, StreamingDVCConfig

WORDS = ["a", "the", "cat", "dog", "man", "car", "street", "table", "red", "on", "in", "under", "runs", "sits", "waits"]
PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
BANK = 50


def random_space(seed: int = 0) -> Bridge:
    """A bridge over a random network of 160 pixels, which needs no weights."""
    torch.manual_seed(seed)
    backbone = TimmBackbone(timm.create_model("test_efficientnet", pretrained=False), "random")
    width, classes = backbone.width, backbone.model.num_classes
    maps = BridgeMaps(
        text_map=torch.randn(384, width),
        image_map=torch.eye(width),
        text_mean=torch.zeros(384),
        image_mean=torch.zeros(width),
        class_texts=torch.randn(classes, 384),
    )
    return Bridge(BridgeConfig(sizes=(backbone.size,)), maps, backbone)


def saved_space(folder: Path, seed: int = 0) -> Path:
    """Write such a bridge and its network into a folder, from which a model can name it; return the folder."""
    space = random_space(seed)
    network = folder / "network"
    network.mkdir(parents=True)
    model = space.image_backbone.model
    save_file(model.state_dict(), network / "model.safetensors")
    config = {"architecture": "test_efficientnet", "num_classes": model.num_classes}
    (network / "config.json").write_text(json.dumps(config), encoding="utf-8")
    space.config = replace(space.config, image_backbone=str(network))
    space.save(folder / "space")
    return folder / "space"


def random_describer(seed: int = 0, space: Bridge | Path | None = None, *, frames: int = 32) -> Describer:
    """A describer made as the default one is.

    Args:
        seed: of the weights.
        space: for the frame encoder, loaded or as a folder; the real bridge if None, which needs the default models.
        frames: of the time window.
    """
    torch.manual_seed(seed)
    name, loaded = ("bridge", space) if isinstance(space, Bridge | None) else (str(space), None)
    encoder = FrameEncoder(FrameEncoderConfig(name, bank_rows=BANK), loaded, torch.randn(BANK, 384))
    config = StreamingDVCConfig(
        encoder="frame_encoder",
        token_width=encoder.width,
        tokens_per_frame=1,
        words=len(PIECES),
        axis=TimeAxis(frames=frames, n_bins=2 * frames, span="window", decoding="center"),
        points=DecodingPoints(count=4, prefix="timed", end_probability=0.1, order="end"),
        stream=StreamOptions(
            interval=4,
            horizon=frames,
            beam=2,
            max_tokens=16,
            prefix_tokens=64,
            caption_tokens=8,
            no_repeat_ngram=2,
            duplicate_tiou=0.5,
            grammar=True,
            untimed="drop",
            capitalize=True,
            speak=0.3,
            snap=1.0,
            cut_below=0.8,
        ),
        memory=MemoryConfig(size=12),
        time=TimeFeatures(frequencies=4),
        decoder=TextDecoderConfig(width=32, depth=2, num_heads=4, mlp_width=64, max_positions=64),
        end_token=True,
    )
    captioner = StreamingDVC(config, Vocab.wordpiece(PIECES, n_bins=2 * frames))
    for parameter in captioner.decoder.parameters():
        torch.nn.init.normal_(parameter, std=0.6)  # far from uniform, so that frames change what is said
    captioner.decoder.output_bias.data[captioner.vocab.eos] -= 4.0  # slow to fall silent
    return Describer(encoder, captioner, "random")


def random_image_captioner(seed: int = 0, space: Path | None = None) -> ImageCaptioner:
    """An image captioner made as the default one is, over a saved space, or the real bridge if None."""
    torch.manual_seed(seed)
    config = ImageCaptionerConfig(
        space="bridge" if space is None else str(space),
        bank_rows=BANK,
        bank=BankConfig(nearest=3),
        words=len(PIECES),
        decoder=TextDecoderConfig(width=32, depth=2, num_heads=4, mlp_width=64, max_positions=64),
        options=CaptionOptions(beam=2, max_length=10),
    )
    captioner = ImageCaptioner(config, Vocab.wordpiece(PIECES, n_bins=1), None, torch.randn(BANK, 384))
    for parameter in captioner.decoder.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return captioner.eval()


def scenes(
    path: Path, seconds: float = 20.0, *, rate: int = 10, size: tuple[int, int] = (96, 64), each: float = 3.0
) -> Path:
    """Write a video whose picture changes all at once every ``each`` seconds, and return its path."""
    width, height = size
    noise = np.random.default_rng(5)
    looks = [noise.integers(0, 256, (height // 16, width // 16, 3), np.uint8) for _ in range(64)]
    frames = (
        np.repeat(np.repeat(looks[int(number / rate / each) % 64], 16, 0), 16, 1)
        for number in range(round(seconds * rate))
    )
    write_video(path, frames, rate)
    return path

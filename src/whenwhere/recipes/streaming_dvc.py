"""Train the default streaming captioner on videos made of captions.

Command: ``python -m whenwhere.recipes.streaming_dvc --shared DIR --work DIR``
Cost: about 65 minutes of one core, after the image captioner, whose decoder it starts from.
Score: see ``reproductions/results/described_slides.json``; ``make demo`` prints another.

Departures from the paper, each for a model that is small, live and has never seen an image: frame tokens carry time,
time bins are a fixed half second, the prefix shows times, silence and the end of the video are learned,
decoding is held to the grammar of timed captions, and times within two seconds of a cut move to the cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from whenwhere.backbones.space import SharedSpace, shared_space
from whenwhere.layers.memory import MemoryConfig
from whenwhere.layers.time_features import TimeFeatures
from whenwhere.recipes import image_captioner
from whenwhere.recipes.coco_mini import caption_texts
from whenwhere.recipes.pseudo_videos import PseudoVideoConfig, PseudoVideos, Spans, collate, read_structures
from whenwhere.systems.decoding_points import DecodingPoints, TimeAxis
from whenwhere.systems.frame_encoder import FrameEncoder, FrameEncoderConfig
from whenwhere.systems.image_captioner import ImageCaptioner
from whenwhere.systems.session import StreamOptions
from whenwhere.systems.streaming_dvc import StreamingDVC, StreamingDVCConfig
from whenwhere.training.config import FitConfig
from whenwhere.training.data import Batches
from whenwhere.training.fit import fit

FOLDER = Path(__file__).parent.parent / "weights" / "describe-tiny"
_TIME_SCALE = 0.15  # of the projected time against the projected content, which has learned weights of about this size


@dataclass(frozen=True)
class Recipe:
    """How the default streaming captioner is trained.

    Attributes:
        videos: the pseudo-videos.
        n_bins: time tokens over the window; one a frame.
        memory: K, memory tokens.
        points: decoding points a video, and how many of them enter a step.
        fit: the loop.
    """

    videos: PseudoVideoConfig = field(default_factory=PseudoVideoConfig)
    n_bins: int = 64
    memory: int = 48
    points: tuple[int, int] = (16, 4)
    fit: FitConfig = field(
        default_factory=lambda: FitConfig(
            steps=1400,
            batch=12,
            lr=8e-4,
            warmup=100,
            schedule="cosine",
            weight_decay=0.01,
            betas=(0.9, 0.98),
            precision="bf16-mixed",
            ema=0.995,
            log_every=10,
            checkpoint_every=100,
        )
    )


def model_config(recipe: Recipe, encoder: FrameEncoder, captioner: ImageCaptioner) -> StreamingDVCConfig:
    """The streaming captioner's configuration: the image captioner's decoder behind a memory."""
    frames = recipe.videos.frames
    return StreamingDVCConfig(
        encoder="frame_encoder",
        token_width=encoder.width,
        tokens_per_frame=1,
        words=captioner.config.words,
        axis=TimeAxis(frames=frames, n_bins=recipe.n_bins, span="window", decoding="center"),
        points=DecodingPoints(
            count=recipe.points[0],
            sample=recipe.points[1],
            prefix="timed",
            plain_probability=0.5,
            train_empty=True,
            end_probability=0.1,
            order="end",
        ),
        stream=StreamOptions(
            interval=max(1, frames // recipe.points[0]),
            horizon=frames,
            max_tokens=64,
            prefix_tokens=128,
            caption_tokens=24,
            grammar=True,
            speak=0.3,
            untimed="drop",
            duplicate_tiou=0.5,
            no_repeat_ngram=4,
            capitalize=True,
            snap=2.0,
        ),
        memory=MemoryConfig(size=recipe.memory),
        time=TimeFeatures(frequencies=7, shortest=2.0, weight=0.1),
        decoder=replace(captioner.config.decoder, max_positions=128),
        end_token=True,
        trained_rate=recipe.videos.rate,
    )


@torch.no_grad()
def start_from(model: StreamingDVC, captioner: ImageCaptioner, temperatures: Sequence[float]) -> None:
    """Copy what the image captioner has learned: words, positions, layers, and how it reads the bank's means.

    Args:
        model: changed in place.
        captioner: has the same decoder shape and words.
        temperatures: of the frame tokens; each mean is read as the captioner reads its own means.
    """
    own, other = model.decoder.state_dict(), captioner.decoder.state_dict()
    for name, tensor in other.items():
        if name == "visual_projection.weight":
            width = captioner.config.bank_width
            for i in range(len(temperatures)):
                own[name][:, i * width : (i + 1) * width] = tensor[:, :width] / len(temperatures)
        elif own[name].shape == tensor.shape:
            own[name].copy_(tensor)
        else:  # more positions, or words followed by time tokens: the common rows
            own[name][: len(tensor)] = tensor
    _align_times(model)


def _align_times(model: StreamingDVC) -> None:
    """Let the embedding of a time token begin as what a visual token of that moment brings of its time.

    Then "copy the time of what you look at" is a linear map from the first step on, and neighbouring bins begin as
    neighbours; from random rows the same takes thousands of steps to find.
    """
    config, decoder = model.config, model.decoder
    columns = decoder.visual_projection.weight[:, -config.time.width :]  # (width, 2F)
    columns.normal_(std=_TIME_SCALE / config.time.width**0.5)
    frames = (torch.arange(config.axis.n_bins) + 0.5) * config.axis.frames / config.axis.n_bins
    rows = config.time.encode(frames) @ columns.T  # (n_bins, width)
    words = decoder.words.weight[: config.words]
    decoder.words.weight[config.words :] = rows * (words.norm(dim=-1).median() / rows.norm(dim=-1, keepdim=True))


def build(
    recipe: Recipe,
    captioner: ImageCaptioner,
    space: SharedSpace,
    groups: list[list[str]],
    features: Tensor,
    structures: Sequence[Spans],
) -> tuple[StreamingDVC, FrameEncoder, Batches]:
    """The untrained model, its frame encoder, and its data.

    Args:
        recipe: what to build.
        captioner: trained, gives decoder, words and bank.
        space: the shared space.
        groups: captions by image.
        features: (N, width) text features of all captions.
        structures: event times of real videos.
    """
    encoder_config = FrameEncoderConfig(bank_rows=captioner.config.bank_rows, bank_width=captioner.config.bank_width)
    encoder = FrameEncoder(encoder_config, space, captioner.bank_features).eval()
    vocab = image_captioner.build_vocab(groups, image_captioner.Recipe().least, recipe.n_bins)
    captions = image_captioner.prepare(groups, vocab, features, longest=16)
    torch.manual_seed(recipe.fit.seed)
    model = StreamingDVC(model_config(recipe, encoder, captioner), vocab)
    start_from(model, captioner, encoder_config.temperatures)
    videos = PseudoVideos(captions, space.place_texts(features), structures, recipe.videos)
    return model, encoder, Batches(videos, partial(collate, encoder, recipe.videos), shuffle=False)


def main(shared: Path, work: Path, out: Path = FOLDER, captioner: Path = image_captioner.FOLDER, seed: int = 0) -> None:
    """Train and save the default streaming captioner; a run that was interrupted goes on."""
    recipe = Recipe()
    recipe = replace(recipe, fit=replace(recipe.fit, seed=seed))
    groups, space = caption_texts(shared), shared_space()
    features = image_captioner.cached_features(space, groups, work)
    start = ImageCaptioner.load(captioner, space)
    model, encoder, batches = build(recipe, start, space, groups, features, read_structures(shared))
    fit(model, batches, recipe.fit, work / "run")
    encoder.save(out / "frame_encoder")
    model.save(out / "captioner", torch.float16)


if __name__ == "__main__":
    import tyro

    tyro.cli(main)

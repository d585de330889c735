"""Start the streaming captioner from a GIT checkpoint (Wang et al., 2022) in the ``microsoft/git-*`` form.

The paper starts from GIT weights that are not public; the public GIT-base and GIT-large are their natural substitute.
A checkpoint is a folder with ``config.json``, ``model.safetensors`` and a vocabulary, as transformers writes it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from whenwhere.backbones.vision import TransformersBackbone
from whenwhere.errors import WeightsError
from whenwhere.layers.persistence import CONFIG_FILE, load_tensors, read_json, read_tensors
from whenwhere.layers.vocab import Vocab
from whenwhere.systems.streaming_dvc import StreamingDVC, StreamingDVCConfig, preset

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
_VISION = "git.image_encoder."
_TEMPORAL = "git.img_temporal_embedding."
_BUFFERS = ("position_ids",)  # older checkpoints hold these counters; they carry nothing

_DECODER = {
    "git.embeddings.word_embeddings.weight": "words.weight",
    "git.embeddings.position_embeddings.weight": "positions.weight",
    "git.embeddings.LayerNorm.weight": "norm.weight",
    "git.embeddings.LayerNorm.bias": "norm.bias",
    "git.visual_projection.visual_projection.0.weight": "visual_projection.weight",
    "git.visual_projection.visual_projection.0.bias": "visual_projection.bias",
    "git.visual_projection.visual_projection.1.weight": "visual_norm.weight",
    "git.visual_projection.visual_projection.1.bias": "visual_norm.bias",
    "output.weight": "output_weight",
    "output.bias": "output_bias",
}
_LAYER = {
    "attention.output.dense": "out",
    "attention.output.LayerNorm": "norm1",
    "intermediate.dense": "fc1",
    "output.dense": "fc2",
    "output.LayerNorm": "norm2",
}


class GitVision(TransformersBackbone):
    """GIT's CLIP vision tower; all its tokens pass the last norm, and the class token stands for the image."""

    def pooled(self, pixels: Tensor) -> Tensor:
        """The class token (B, width): GIT has no projection of its own."""
        return self.tokens(pixels)[:, 0]


def load_git(
    folder: str | os.PathLike[str], base: StreamingDVCConfig | None = None, *, temporal: bool = False
) -> tuple[StreamingDVC, GitVision]:
    """Build a streaming captioner from a GIT checkpoint, and the image encoder that belongs to it.

    Rows for the time tokens, and the end token if ``base`` has one, start at random; input columns for time features
    start at 0, so that the captioner starts as the model that was trained.

    Args:
        folder: the checkpoint.
        base: all that the checkpoint does not decide; the ``small`` preset if ``None``. The memory holds the tokens of
            as many frames as in ``base``.
        temporal: keep the checkpoint's embeddings of frame 0, 1, ... (video checkpoints have six); the streaming
            model for dense captions has none.

    Returns:
        The captioner in evaluation mode, and the frozen image encoder.

    Raises:
        WeightsError: files are missing, damaged or pickles, or this is not a GIT checkpoint.
        InputError: the vocabulary is missing or does not fit.
    """
    source = _read_config(Path(folder))
    tensors = {name: t for name, t in read_tensors(folder).items() if not name.endswith(_BUFFERS)}
    config = _configure(source, base or preset("small"), str(folder), temporal)
    model = StreamingDVC(config, Vocab.from_file(folder, config.axis.n_bins))
    _load_captioner(model, tensors, str(folder))
    return model.eval(), _load_vision(source, tensors, str(folder))


def _read_config(folder: Path) -> Any:
    """Return the checkpoint's ``GitConfig``, what it leaves out filled in."""
    from transformers import GitConfig

    data = read_json(folder / CONFIG_FILE)
    if data.get("model_type") != "git":
        raise WeightsError(f"{folder} holds a model of type {data.get('model_type')!r}", "a GIT checkpoint, type 'git'")
    try:
        config = GitConfig.from_dict(data)
    except Exception as error:  # the strict configs of transformers raise types of their own
        raise WeightsError(f"{folder / CONFIG_FILE} is not a GIT configuration: {error}") from None
    if config.hidden_act != "gelu":
        raise WeightsError(f"{folder} uses the activation {config.hidden_act!r}", "'gelu'")
    return config


def _configure(source: Any, base: StreamingDVCConfig, name: str, temporal: bool) -> StreamingDVCConfig:
    """Return ``base`` with everything that the checkpoint decides."""
    vision = source.vision_config
    tokens_per_frame = (vision.image_size // vision.patch_size) ** 2 + 1
    decoder = replace(
        base.decoder,
        width=source.hidden_size,
        depth=source.num_hidden_layers,
        num_heads=source.num_attention_heads,
        mlp_width=source.intermediate_size,
        max_positions=source.max_position_embeddings,
        dropout=source.hidden_dropout_prob,
        attention_dropout=source.attention_probs_dropout_prob,
        tie=source.tie_word_embeddings,
        norm_eps=source.layer_norm_eps,
        visual_norm_eps=vision.layer_norm_eps,
    )
    stream = replace(
        base.stream,
        max_tokens=min(base.stream.max_tokens, decoder.max_positions),
        prefix_tokens=min(base.stream.prefix_tokens, decoder.max_positions),
    )
    return replace(
        base,
        encoder=name,
        token_width=vision.hidden_size,
        tokens_per_frame=tokens_per_frame,
        words=source.vocab_size,
        memory=replace(base.memory, size=base.memory.size // base.tokens_per_frame * tokens_per_frame),
        decoder=decoder,
        stream=stream,
        temporal=(source.num_image_with_embedding or 0) if temporal else 0,
    )


def _load_captioner(model: StreamingDVC, tensors: Mapping[str, Tensor], source: str) -> None:
    """Copy the decoder, and the temporal embeddings if the model has them, from a checkpoint's tensors."""
    given = {k: t for k, t in tensors.items() if not k.startswith((_VISION, _TEMPORAL))}
    if model.config.decoder.tie:
        given.pop("output.weight", None)
    renamed = {f"decoder.{_rename(k)}": t for k, t in _fused(given, model.config.decoder.depth, source).items()}
    if model.config.temporal:
        frames = [tensors.get(f"{_TEMPORAL}{i}") for i in range(model.config.temporal)]
        if any(frame is None for frame in frames):
            raise WeightsError(f"{source} lacks temporal embeddings", f"{model.config.temporal} of them, as configured")
        renamed["temporal"] = torch.cat([f.reshape(1, -1) for f in frames if f is not None])
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    words = model.config.words
    for name in ("decoder.words.weight", "decoder.output_weight", "decoder.output_bias"):
        if name in renamed and renamed[name].shape[:1] == (words,):
            renamed[name] = torch.cat([renamed[name], state[name][words:].to(renamed[name].dtype)])
    extra = model.config.time.width
    projection = renamed.get("decoder.visual_projection.weight")
    if extra and projection is not None:
        renamed["decoder.visual_projection.weight"] = torch.nn.functional.pad(projection, (0, extra))
    if model.config.end_token:
        renamed["end"] = state["end"]
    load_tensors(model, renamed, source)


def _fused(tensors: Mapping[str, Tensor], depth: int, source: str) -> dict[str, Tensor]:
    """Join query, key and value of each layer into one matrix."""
    result = dict(tensors)
    for i in range(depth):
        for kind in ("weight", "bias"):
            head = f"git.encoder.layer.{i}."
            parts = [result.pop(f"{head}attention.self.{part}.{kind}", None) for part in ("query", "key", "value")]
            if any(part is None for part in parts):
                raise WeightsError(f"{source} lacks the attention of layer {i}", f"{depth} layers, as configured")
            result[f"{head}qkv.{kind}"] = torch.cat([part for part in parts if part is not None])
    return result


def _rename(name: str) -> str:
    """Return our decoder's name of a tensor; unknown names stay, to be reported by the strict loading."""
    if name in _DECODER:
        return _DECODER[name]
    head = "git.encoder.layer."
    if not name.startswith(head):
        return name
    number, _, rest = name[len(head) :].partition(".")
    part, _, kind = rest.rpartition(".")
    return f"layers.{number}.{_LAYER.get(part, part)}.{kind}"


def _load_vision(source: Any, tensors: Mapping[str, Tensor], name: str) -> GitVision:
    from transformers import GitVisionModel

    tower = GitVisionModel(source.vision_config)
    load_tensors(tower, {k[len(_VISION) :]: t for k, t in tensors.items() if k.startswith(_VISION)}, name)
    return GitVision(tower, name, CLIP_MEAN, CLIP_STD)

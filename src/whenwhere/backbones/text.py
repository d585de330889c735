"""Pretrained text encoders and small language models."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from whenwhere.backbones import weights
from whenwhere.errors import InputError, MissingDependency, WeightsError
from whenwhere.layers.persistence import CONFIG_FILE, read_json, read_tensors

_MINILM = "minilm-l6"
_SMOLLM2 = "smollm2-135m"
_MAX_TOKENS = 128


class TextEncoder(nn.Module):
    """A frozen encoder from sentences to unit vectors.

    Args:
        model: a transformers encoder.
        tokenizer: its tokenizer.
        name: how to call it in messages.
        pooling: "mean" over the tokens (sentence encoders, T5), "cls" (BERT), or "projected" (CLIP, SigLIP).
    """

    def __init__(self, model: Any, tokenizer: Any, name: str, pooling: str) -> None:
        super().__init__()
        self.model, self.tokenizer, self.name, self.pooling = model, tokenizer, name, pooling
        config = getattr(model.config, "text_config", model.config)
        projected = getattr(config, "projection_dim", None) or getattr(config, "projection_size", None)
        self.width = int(projected if pooling == "projected" and projected else config.hidden_size)
        self.requires_grad_(False)
        self.eval()

    @torch.no_grad()
    def embed(self, texts: Sequence[str], batch: int = 64) -> Tensor:
        """Sentence vectors.

        Args:
            texts: sentences; longer than 128 word pieces (77 for CLIP, 64 for SigLIP) are cut.
            batch: sentences per forward pass.

        Returns:
            float32 (n, width), unit rows, in the order given.

        Raises:
            InputError: something that is not a string, or an empty one.
        """
        for i, text in enumerate(texts):
            if not isinstance(text, str) or not text.strip():
                raise InputError(f"text {i} is {text!r}", "a non-empty string")
        out = torch.empty(len(texts), self.width)
        by_length = sorted(range(len(texts)), key=lambda i: len(texts[i]))  # similar lengths together: little padding
        for at in range(0, len(texts), batch):
            rows = by_length[at : at + batch]
            out[rows] = F.normalize(self._embed_batch([texts[i] for i in rows]).float(), dim=-1)
        return out

    def _embed_batch(self, texts: list[str]) -> Tensor:
        fixed = "siglip" in self.model.config.model_type  # trained on padding to its full length
        limit = min(_MAX_TOKENS, int(getattr(self.model.config, "max_position_embeddings", _MAX_TOKENS)))
        text_config = getattr(self.model.config, "text_config", None)
        if text_config is not None:
            limit = min(limit, text_config.max_position_embeddings)
        tokens = self.tokenizer(
            texts, padding="max_length" if fixed else True, truncation=True, max_length=limit, return_tensors="pt"
        )
        allowed = ("input_ids",) if fixed else ("input_ids", "attention_mask")
        out = self.model(**{key: tokens[key] for key in allowed})
        if self.pooling == "projected":
            return out.text_embeds if hasattr(out, "text_embeds") else out.pooler_output
        hidden = out.last_hidden_state  # (B, L, D)
        if self.pooling == "cls":
            return hidden[:, 0]
        mask = tokens["attention_mask"][..., None].to(hidden.dtype)  # (B, L, 1)
        return (hidden * mask).sum(1) / mask.sum(1)


def text_encoder(name: str | Path = _MINILM) -> TextEncoder:
    """Load a text encoder.

    Args:
        name: ``minilm-l6`` (the default set), or a folder in transformers' form (CLIP, SigLIP, BERT, T5).

    Returns:
        A frozen :class:`TextEncoder`.

    Raises:
        InputError: neither of these.
        WeightsError: weights that cannot be had, or do not fit.
    """
    if str(name) == _MINILM:
        return _encoder_from(weights.fetch(_MINILM), _MINILM, "mean")
    folder = Path(name).expanduser()
    if not folder.is_dir():
        raise InputError(f"unknown text encoder {str(name)!r}", f"{_MINILM!r} or a folder with config.json")
    return _encoder_from(folder, str(folder), None)


def _encoder_from(folder: Path, name: str, pooling: str | None) -> TextEncoder:
    import transformers

    kinds: dict[str, tuple[Any, str]] = {
        "clip": (transformers.CLIPTextModelWithProjection, "projected"),
        "clip_text_model": (transformers.CLIPTextModelWithProjection, "projected"),
        "siglip": (transformers.SiglipTextModel, "projected"),
        "bert": (transformers.BertModel, "cls"),
        "t5": (transformers.T5EncoderModel, "mean"),
    }
    kind = read_json(folder / CONFIG_FILE).get("model_type")
    if kind not in kinds:
        raise WeightsError(f"{folder}: model_type {kind!r}", f"one of {', '.join(kinds)}")
    read_tensors(folder)  # refuses pickles, missing and damaged files with our words before transformers looks
    model_class, default_pooling = kinds[kind]
    with quiet_transformers():
        config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True)
        if kind == "clip":  # the projection is the pair's, whatever the text part says of its own
            config.text_config.projection_dim = config.projection_dim
            config = config.text_config
        elif kind == "siglip":
            config = config.text_config
        model = model_class.from_pretrained(folder, config=config, local_files_only=True, use_safetensors=True)
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    return TextEncoder(model, tokenizer, name, pooling or default_pooling)


def language_model(name: str | Path = _SMOLLM2, dtype: torch.dtype = torch.float32) -> tuple[Any, Any]:
    """A small causal language model with its tokenizer.

    Args:
        name: ``smollm2-135m`` (the default set, a GGUF file) or a transformers folder.
        dtype: of the weights.

    Returns:
        (model, tokenizer), both transformers objects; the model is in evaluation mode.

    Raises:
        InputError: neither of these.
        MissingDependency: the GGUF reader is not installed.
        WeightsError: weights that cannot be had, or a folder without a causal language model and its tokenizer.
    """
    import transformers

    if str(name) == _SMOLLM2:
        try:
            import gguf  # noqa: F401
        except ImportError as error:
            raise MissingDependency(
                "reading SmolLM2 needs the package gguf", "", "pip install 'whenwhere[lm]'"
            ) from error
        folder = weights.fetch(_SMOLLM2)
        file = next(folder.glob("*.gguf")).name
        # the bar of the conversion does not ask transformers whether bars are wanted
        with quiet_transformers(), redirect_stderr(StringIO()):
            tokenizer = transformers.AutoTokenizer.from_pretrained(folder, gguf_file=file, local_files_only=True)
            model = transformers.AutoModelForCausalLM.from_pretrained(
                folder, gguf_file=file, local_files_only=True, dtype=dtype
            )
        return model.eval(), tokenizer
    folder = Path(name).expanduser()
    if not folder.is_dir():
        raise InputError(f"unknown language model {str(name)!r}", f"{_SMOLLM2!r} or a folder with config.json")
    read_json(folder / CONFIG_FILE)
    read_tensors(folder)
    try:
        with quiet_transformers():
            tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
            model = transformers.AutoModelForCausalLM.from_pretrained(
                folder, local_files_only=True, use_safetensors=True, dtype=dtype
            )
    except (OSError, ValueError, RuntimeError) as error:
        problem = " ".join(str(error).split())[:200]
        expected = "a causal language model of transformers with its tokenizer"
        raise WeightsError(f"{folder}: {problem}", expected) from error
    return model.eval(), tokenizer


class quiet_transformers:
    """Context in which transformers prints no progress bars and no advice: our own progress is enough."""

    def __enter__(self) -> None:
        from transformers.utils import logging

        self._level = logging.get_verbosity()
        self._bars = logging.is_progress_bar_enabled()
        logging.set_verbosity_error()
        logging.disable_progress_bar()

    def __exit__(self, *_: object) -> None:
        from transformers.utils import logging

        logging.set_verbosity(self._level)
        if self._bars:
            logging.enable_progress_bar()


def as_array(x: Tensor) -> np.ndarray:
    """float32 numpy copy of a tensor, whatever its device and type."""
    return x.detach().to("cpu", torch.float32).numpy()

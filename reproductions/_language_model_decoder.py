"""A small pretrained language model in the place of the captioner's text decoder, adapted by LoRA (Hu et al. 2021).

Visual tokens are projected to the width of the language model and stand before the text (ClipCap, Mokady et al. 2021).
The classes have the calls of ``whenwhere.layers.text_decoder.TextDecoder`` and ``whenwhere.layers.vocab.Vocab`` that
the image captioner makes, so that everything else of it stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import peft
import torch
from torch import Tensor, nn

from whenwhere.backbones.text import language_model


class LanguageVocab:
    """Tokens of SmolLM2 as the captioner wants them."""

    pad = 0  # the end of a document: never said, and other than the end of a caption

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self.bos, self.eos = int(tokenizer.bos_token_id), int(tokenizer.eos_token_id)
        self.words = len(tokenizer)

    def encode(self, text: str) -> list[int]:
        """Ids of a text, without the marks of its ends."""
        return self.tokenizer.encode(text, add_special_tokens=False)

    def sequence(self, parts: Iterable[list[int]]) -> list[int]:
        """Ids between the marks of beginning and end."""
        return [self.bos, *(token for part in parts for token in part), self.eos]

    def decode(self, ids: Iterable[int], *, capitalize: bool = False) -> str:
        """Text of ids, special ones left out."""
        text = self.tokenizer.decode(list(ids), skip_special_tokens=True).strip()
        return text[:1].upper() + text[1:] if capitalize else text


class LanguageDecoder(nn.Module):
    """The language model behind a prefix of visual tokens; only LoRA and the projection are trained.

    Args:
        model: a causal language model of transformers.
        visual_width: channels of a visual token.
        rank: of the updates of the attention's four matrices.
    """

    def __init__(self, model: Any, visual_width: int, rank: int = 16) -> None:
        super().__init__()
        settings = peft.LoraConfig(
            r=rank, lora_alpha=2 * rank, target_modules=["q_proj", "k_proj", "v_proj", "o_proj"], lora_dropout=0.0
        )
        # in a list, so that checkpoints and averages hold what is trained and not 135 M frozen weights
        self._held = [peft.get_peft_model(model, settings).get_base_model()]
        self.lora = nn.ParameterList(weight for weight in self.model.parameters() if weight.requires_grad)
        embeddings = self.model.get_input_embeddings().weight
        self.projection = nn.Linear(visual_width, embeddings.shape[1])
        self.norm = nn.LayerNorm(embeddings.shape[1])
        nn.init.constant_(self.norm.weight, float(embeddings.float().square().mean().sqrt()))

    @property
    def model(self) -> Any:
        """The language model with its updates."""
        return self._held[0]

    def encode(self, visual: Tensor) -> Tensor:
        """Visual tokens (B, K, visual_width) as rows (B, K, width) of the language model."""
        return self.norm(self.projection(visual))

    def rows(self, rows: Tensor, cache: Any = None) -> Any:
        """The language model's output over input rows (B, L, width)."""
        dtype = self.model.get_input_embeddings().weight.dtype
        return self.model.model(inputs_embeds=rows.to(dtype), past_key_values=cache, use_cache=cache is not None)

    def embed(self, text: Tensor) -> Tensor:
        """Input rows of ids."""
        return self.model.get_input_embeddings()(text)

    def decode(self, context: Tensor, text: Tensor) -> Tensor:
        """Rows (B, L, width) that predict the token after each of text (B, L)."""
        words = self.embed(text)
        # padding stands at the end, where no word sees it
        return self.rows(torch.cat([context.to(words), words], 1)).last_hidden_state[:, context.shape[1] :]

    def logits(self, rows: Tensor) -> Tensor:
        """Unnormalised log-probabilities (..., V) of rows."""
        return self.model.lm_head(rows)

    def stepper(self, context: Tensor) -> LanguageStepper:
        """A word-by-word decoder for :mod:`whenwhere.layers.beam`."""
        return LanguageStepper(self, context)


class LanguageStepper:
    """Decodes G texts for each of B contexts with cached keys and values."""

    def __init__(self, decoder: LanguageDecoder, context: Tensor) -> None:
        from transformers import DynamicCache

        self._decoder, self._cache = decoder, DynamicCache(config=decoder.model.config)
        self._context: Tensor | None = context
        self.batch, self._group = len(context), 1

    @torch.no_grad()
    def step(self, tokens: Tensor) -> Tensor:
        """Append tokens (B, G); log-probabilities (B, G, V) of the next ones."""
        rows = self._decoder.embed(tokens.reshape(-1, 1))  # (B*G, 1, width)
        if self._context is not None:  # the first step, one text for each context
            rows, self._context = torch.cat([self._context.to(rows), rows], 1), None
        self._group = tokens.shape[1]
        last = self._decoder.rows(rows, self._cache).last_hidden_state[:, -1]
        return self._decoder.logits(last).float().log_softmax(-1).unflatten(0, tokens.shape)

    def reorder(self, parents: Tensor) -> None:
        """Make text g of example b go on from what was text ``parents[b, g]``."""
        first = torch.arange(self.batch)[:, None] * self._group
        self._cache.batch_select_indices((first + parents).flatten())


def language_decoder(visual_width: int) -> tuple[LanguageDecoder, LanguageVocab]:
    """SmolLM2-135M of the default set behind a new projection; bfloat16 weights, float32 updates."""
    model, tokenizer = language_model(dtype=torch.bfloat16)
    return LanguageDecoder(model, visual_width), LanguageVocab(tokenizer)

"""The GIT-form text decoder: one transformer over ``[visual tokens | prefix text | text]`` (Wang et al., GIT, 2022).

Visual and prefix rows see each other and never the text, so their keys and values are computed once (``encode``) and
then serve the whole text at once in training (``decode``) or word by word, for many beams, in inference (``step``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from whenwhere.errors import InputError


@dataclass(frozen=True)
class TextDecoderConfig:
    """Shape of the decoder; the defaults are GIT-L's.

    Args:
        visual_width: channels of a visual token.
        vocab_size: V + n_bins, rows of the word embedding and of the output.
        width: channels of a row.
        depth: post-norm transformer layers.
        num_heads: attention heads.
        mlp_width: hidden channels of the feed-forward part (exact GELU).
        max_positions: longest prefix and longest text, in tokens; each counts its positions from 0.
        dropout: on embeddings and residual branches.
        attention_dropout: on attention weights.
        tie: use the word embedding as output weights; the published model does not.
        norm_eps: of the layer norms, BERT's.
        visual_norm_eps: of the layer norm behind the visual projection, CLIP's.
        pad: id of the padding token.

    Raises:
        InputError: a number is out of range or the heads do not divide the width.
    """

    visual_width: int = 1024
    vocab_size: int = 30522 + 64
    width: int = 768
    depth: int = 6
    num_heads: int = 12
    mlp_width: int = 3072
    max_positions: int = 1024
    dropout: float = 0.1
    attention_dropout: float = 0.1
    tie: bool = False
    norm_eps: float = 1e-12
    visual_norm_eps: float = 1e-5
    pad: int = 0

    def __post_init__(self) -> None:
        sizes = (self.visual_width, self.vocab_size, self.width, self.depth, self.num_heads, self.mlp_width)
        if min(*sizes, self.max_positions) < 1:
            raise InputError(f"decoder sizes {sizes}, {self.max_positions} positions", "all at least 1")
        if self.width % self.num_heads:
            raise InputError(f"width {self.width} with {self.num_heads} heads", "heads that divide the width")


class DecoderContext(NamedTuple):
    """Keys and values of the visual and prefix rows.

    Attributes:
        layers: for each layer the keys and the values, each (B, H, S, D_head).
        keep: (B, S) bool, rows that are not padding; ``None`` if no row is.
    """

    layers: tuple[tuple[Tensor, Tensor], ...]
    keep: Tensor | None

    @property
    def batch(self) -> int:
        """B."""
        return self.layers[0][0].shape[0]


class DecoderLayer(nn.Module):
    """One post-norm layer, its attention left to the caller: project, attend, then finish."""

    def __init__(self, config: TextDecoderConfig) -> None:
        super().__init__()
        width = config.width
        self.num_heads = config.num_heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.norm1 = nn.LayerNorm(width, eps=config.norm_eps)
        self.fc1 = nn.Linear(width, config.mlp_width)
        self.fc2 = nn.Linear(config.mlp_width, width)
        self.norm2 = nn.LayerNorm(width, eps=config.norm_eps)
        self.dropout = nn.Dropout(config.dropout)

    def project(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries, keys and values (B, H, L, D_head) of rows (B, L, width)."""
        q, k, v = self.qkv(rows).unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        return q, k, v

    def finish(self, rows: Tensor, attended: Tensor) -> Tensor:
        """Return the layer's output (B, L, width) from its input and the attended values (B, H, L, D_head)."""
        rows = self.norm1(rows + self.dropout(self.out(attended.transpose(1, 2).flatten(2))))
        return self.norm2(rows + self.dropout(self.fc2(F.gelu(self.fc1(rows)))))


class TextDecoder(nn.Module):
    """GIT's decoder, with a prefix between the visual tokens and the text."""

    def __init__(self, config: TextDecoderConfig) -> None:
        super().__init__()
        self.config = config
        self.visual_projection = nn.Linear(config.visual_width, config.width)
        self.visual_norm = nn.LayerNorm(config.width, eps=config.visual_norm_eps)
        self.words = nn.Embedding(config.vocab_size, config.width)
        self.positions = nn.Embedding(config.max_positions, config.width)
        self.norm = nn.LayerNorm(config.width, eps=config.norm_eps)
        self.dropout = nn.Dropout(config.dropout)
        self.layers = nn.ModuleList(DecoderLayer(config) for _ in range(config.depth))
        if not config.tie:
            self.output_weight = nn.Parameter(torch.empty(config.vocab_size, config.width))
        self.output_bias = nn.Parameter(torch.zeros(config.vocab_size))
        self.apply(_initialise)
        if not config.tie:
            nn.init.normal_(self.output_weight, std=0.02)

    @property
    def stack(self) -> list[DecoderLayer]:
        """The layers, first to last."""
        return cast("list[DecoderLayer]", list(self.layers))

    def encode(self, visual: Tensor, prefix: Tensor | None = None, visual_keep: Tensor | None = None) -> DecoderContext:
        """Compute the rows that do not depend on the text.

        Args:
            visual: (B, K, visual_width) visual tokens, without order.
            prefix: (B, P) int64 ids of the text already said, padded with ``config.pad``; ``None`` for none.
            visual_keep: (B, K) bool, false for padding among the visual tokens; ``None`` if there is none.

        Returns:
            Keys and values for :meth:`decode` and :meth:`step`.
        """
        rows = self.visual_norm(self.visual_projection(visual))
        keep = visual_keep
        if prefix is not None:
            rows = torch.cat([rows, self._embed(prefix)], dim=1)  # (B, K + P, width)
            seen = torch.ones(visual.shape[:2], dtype=torch.bool, device=visual.device) if keep is None else keep
            keep = torch.cat([seen, prefix != self.config.pad], dim=1)
        if keep is not None and bool(keep.all()):
            keep = None
        mask = None if keep is None else keep[:, None, None, :]
        cached = []
        for i, layer in enumerate(self.stack):
            q, k, v = layer.project(rows)
            cached.append((k, v))
            if i + 1 < len(self.layers):  # nobody reads what the last layer makes of these rows
                rows = layer.finish(rows, self._attend(q, k, v, mask))
        return DecoderContext(tuple(cached), keep)

    def decode(self, context: DecoderContext, text: Tensor) -> Tensor:
        """Run all text rows at once: row i sees the context and text rows 0..i.

        Args:
            context: of :meth:`encode`, batch B.
            text: (B, L) int64 ids, beginning with BOS.

        Returns:
            (B, L, width) final rows; :meth:`logits` of row i predicts token i + 1.
        """
        batch, length = text.shape
        context_length = context.layers[0][0].shape[2]
        causal = torch.ones(length, length, dtype=torch.bool, device=text.device).tril()
        seen = context.keep
        if seen is None:
            seen = torch.ones(batch, context_length, dtype=torch.bool, device=text.device)
        mask = torch.cat([seen[:, None].expand(-1, length, -1), causal.expand(batch, -1, -1)], dim=-1).unsqueeze(1)
        rows = self._embed(text)
        for layer, (context_k, context_v) in zip(self.stack, context.layers):
            q, k, v = layer.project(rows)
            attended = self._attend(q, torch.cat([context_k, k], dim=2), torch.cat([context_v, v], dim=2), mask)
            rows = layer.finish(rows, attended)
        return rows

    def logits(self, rows: Tensor) -> Tensor:
        """Return (..., V + n_bins) unnormalised log-probabilities of final rows (..., width)."""
        return F.linear(rows, self.words.weight if self.config.tie else self.output_weight, self.output_bias)

    def forward(
        self, visual: Tensor, text: Tensor, prefix: Tensor | None = None, visual_keep: Tensor | None = None
    ) -> Tensor:
        """Return the logits (B, L, V + n_bins) at every text position."""
        return self.logits(self.decode(self.encode(visual, prefix, visual_keep), text))

    def stepper(self, context: DecoderContext) -> DecoderStepper:
        """Return a word-by-word decoder over ``context`` for :mod:`whenwhere.layers.beam`."""
        return DecoderStepper(self, context)

    def _embed(self, ids: Tensor, start: int = 0) -> Tensor:
        end = start + ids.shape[-1]
        if end > self.config.max_positions:
            raise InputError(f"a text of {end} tokens", f"at most {self.config.max_positions}, the position embeddings")
        return self.dropout(self.norm(self.words(ids) + self.positions.weight[start:end]))

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        dropout = self.config.attention_dropout if self.training else 0.0
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout)


class DecoderStepper:
    """Decodes G texts for each of B contexts, one token at a time, with cached keys and values.

    The context is never copied for the beams: their queries are stacked against it.
    """

    def __init__(self, decoder: TextDecoder, context: DecoderContext) -> None:
        self._decoder, self._context = decoder, context
        self._length = 0
        self._cache: list[tuple[Tensor, Tensor]] = []  # for each layer (B, G, H, t, D_head) keys and values
        self.batch = context.batch

    @torch.no_grad()
    def step(self, tokens: Tensor) -> Tensor:
        """Append one token to each text.

        Args:
            tokens: (B, G) int64.

        Returns:
            (B, G, V + n_bins) float32 log-probabilities of the next token.
        """
        batch, group = tokens.shape
        decoder = self._decoder
        tokens = tokens.to(decoder.output_bias.device)
        rows = decoder._embed(tokens.reshape(batch * group, 1), self._length)  # (B*G, 1, width)
        for i, layer in enumerate(decoder.stack):
            q, k, v = (x.unflatten(0, (batch, group)) for x in layer.project(rows))  # (B, G, H, 1, D_head)
            if self._length:
                k, v = (torch.cat([old, new], dim=3) for old, new in zip(self._cache[i], (k, v)))
                self._cache[i] = (k, v)
            else:
                self._cache.append((k, v))
            rows = layer.finish(rows, self._attend(q, k, v, i).flatten(0, 1))
        self._length += 1
        return decoder.logits(rows[:, 0]).float().log_softmax(dim=-1).unflatten(0, (batch, group))

    def reorder(self, parents: Tensor) -> None:
        """Make text g of each example go on from what was text ``parents[b, g]``; G may change.

        Args:
            parents: (B, G) int64 indices into the current texts.
        """
        parents = parents.to(self._decoder.output_bias.device)
        examples = torch.arange(self.batch, device=parents.device).unsqueeze(1)
        self._cache = [(k[examples, parents], v[examples, parents]) for k, v in self._cache]

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, layer: int) -> Tensor:
        context_k, context_v = self._context.layers[layer]  # (B, H, S, D_head)
        q = q * q.shape[-1] ** -0.5
        over_context = q.squeeze(3).transpose(1, 2) @ context_k.transpose(2, 3)  # (B, H, G, S)
        if self._context.keep is not None:
            over_context = over_context.masked_fill(~self._context.keep[:, None, None, :], float("-inf"))
        over_text = (q @ k.transpose(3, 4)).squeeze(3).transpose(1, 2)  # (B, H, G, t)
        weights = torch.cat([over_context, over_text], dim=-1).softmax(dim=-1)
        from_context, from_text = weights.split([over_context.shape[-1], over_text.shape[-1]], dim=-1)
        attended = (from_context @ context_v).transpose(1, 2).unsqueeze(3)  # (B, G, H, 1, D_head)
        return attended + from_text.transpose(1, 2).unsqueeze(3) @ v


def _initialise(module: nn.Module) -> None:
    """N(0, 0.02) weights and zero biases, as BERT and GIT start."""
    if isinstance(module, (nn.Linear, nn.Embedding)):
        nn.init.normal_(module.weight, std=0.02)
    if isinstance(module, nn.Linear):
        nn.init.zeros_(module.bias)

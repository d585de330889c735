"""Beam search and nucleus sampling over any word-by-word decoder, batched, with hooks that limit the next token."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from whenwhere.errors import InputError

Constraint = Callable[[Tensor], Tensor]
"""From the texts so far (B, G, t), BOS first, to the allowed next tokens (B, G, V) bool."""


class Stepper(Protocol):
    """What a decoder offers to be searched; see :class:`whenwhere.layers.text_decoder.DecoderStepper`."""

    batch: int

    def step(self, tokens: Tensor) -> Tensor:
        """Append tokens (B, G) to the texts; return the log-probabilities (B, G, V) of the next ones."""

    def reorder(self, parents: Tensor) -> None:
        """Make text g of example b go on from what was text ``parents[b, g]``."""


class Hypothesis(NamedTuple):
    """One decoded text.

    Attributes:
        tokens: ids after BOS, with the EOS if the text ended.
        logprobs: log-probability of each token.
        score: sum of them, divided by the length penalty.
    """

    tokens: tuple[int, ...]
    logprobs: tuple[float, ...]
    score: float


def length_penalty(length: int, alpha: float) -> float:
    """Return ``((5 + length) / 6) ** alpha`` (Wu et al., GNMT, 2016, equation 14)."""
    return ((5 + length) / 6) ** alpha


@torch.no_grad()
def beam_search(
    stepper: Stepper,
    *,
    bos: int,
    eos: int,
    beam: int = 4,
    max_length: int = 256,
    alpha: float = 0.6,
    n_best: int = 1,
    constraints: Sequence[Constraint] = (),
) -> list[list[Hypothesis]]:
    """Search the most likely texts.

    A text's score is its log-probability over :func:`length_penalty` of its length, EOS included and BOS not. The
    search of an example ends when no open text can still beat its ``n_best`` ended ones. Texts that reach
    ``max_length`` without EOS are used only where too few ended.

    Args:
        stepper: a fresh decoder over B examples.
        bos: id that every text begins with.
        eos: id that ends a text.
        beam: open texts kept for each example.
        max_length: longest text in tokens, EOS included.
        alpha: strength of the length penalty; 0 turns it off.
        n_best: texts wanted for each example, at most ``beam``.
        constraints: limits on the next token; a token must pass all of them.

    Returns:
        For each example up to ``n_best`` texts, best first; fewer only if no more are possible.

    Raises:
        InputError: a number is out of range.
    """
    if not 1 <= n_best <= beam or max_length < 1:
        raise InputError(
            f"n_best {n_best}, beam {beam}, max_length {max_length}", "1 <= n_best <= beam, max_length >= 1"
        )
    tokens = torch.full((stepper.batch, 1, 1), bos)
    history = torch.zeros(stepper.batch, 1, 0)  # log-probability of each token
    total = torch.zeros(stepper.batch, 1)
    ended: list[list[Hypothesis]] = [[] for _ in range(stepper.batch)]
    for _ in range(max_length):
        logprobs = _next_logprobs(stepper, tokens, constraints)
        tokens, total, history, parents = _extend(tokens, total, history, logprobs, 2 * beam)
        is_end = tokens[..., -1] == eos
        for example, group in (is_end & total.isfinite()).nonzero().tolist():
            ended[example].append(_hypothesis(tokens, history, example, group, alpha))
        # Of 2 * beam candidates at most beam ended, each from its own parent: beam open ones are left to go on.
        total, best = total.masked_fill(is_end, -math.inf).topk(min(beam, total.shape[1]), dim=1)
        tokens, history = _pick(tokens, best), _pick(history, best)
        stepper.reorder(parents.gather(1, best))
        for texts in ended:
            texts.sort(key=lambda text: -text.score)
            del texts[beam:]
        bounds = (total[:, 0] / length_penalty(max_length, alpha)).tolist()
        if all(
            bound == -math.inf or (len(texts) >= n_best and texts[n_best - 1].score >= bound)
            for texts, bound in zip(ended, bounds)
        ):
            break
    for example, texts in enumerate(ended):
        for group in range(total.shape[1]):
            if len(texts) < n_best and math.isfinite(total[example, group]):
                texts.append(_hypothesis(tokens, history, example, group, alpha))
    return [texts[:n_best] for texts in ended]


@torch.no_grad()
def sample(
    stepper: Stepper,
    *,
    bos: int,
    eos: int,
    count: int,
    max_length: int = 256,
    top_p: float = 0.9,
    temperature: float = 1.0,
    generator: torch.Generator | None = None,
    constraints: Sequence[Constraint] = (),
) -> list[list[Hypothesis]]:
    """Draw texts by nucleus sampling (Holtzman et al., 2020).

    Args:
        stepper: a fresh decoder over B examples.
        bos: id that every text begins with.
        eos: id that ends a text.
        count: texts drawn for each example.
        max_length: longest text in tokens, EOS included.
        top_p: at each step draw from the fewest tokens whose probabilities sum to at least this, in (0, 1].
        temperature: divides the logits, > 0.
        generator: CPU random state; ``None`` for torch's own.
        constraints: limits on the next token.

    Returns:
        For each example ``count`` texts in the order drawn; scores are plain log-probabilities under the model itself.

    Raises:
        InputError: a number is out of range.
    """
    if count < 1 or max_length < 1 or not 0 < top_p <= 1 or not temperature > 0:
        raise InputError(
            f"count {count}, max_length {max_length}, top_p {top_p:g}, temperature {temperature:g}",
            "count and max_length >= 1, top_p in (0, 1], temperature > 0",
        )
    tokens = torch.full((stepper.batch, 1, 1), bos)
    history = torch.zeros(stepper.batch, count, 0)
    open_ = torch.ones(stepper.batch, count, dtype=torch.bool)
    lengths = torch.zeros(stepper.batch, count, dtype=torch.int64)
    for length in range(1, max_length + 1):
        logprobs = _next_logprobs(stepper, tokens, constraints)
        if length == 1:  # one shared first step, then every text goes its own way
            logprobs = logprobs.expand(-1, count, -1)
            tokens = tokens.expand(-1, count, -1)
            stepper.reorder(torch.zeros(stepper.batch, count, dtype=torch.int64))
        sorted_p, order = (logprobs / temperature).softmax(dim=-1).sort(dim=-1, descending=True)
        sorted_p = sorted_p.masked_fill(sorted_p.cumsum(dim=-1) - sorted_p >= top_p, 0.0)
        rank = torch.multinomial(sorted_p.flatten(0, 1), 1, generator=generator).view(stepper.batch, count, 1)
        drawn = order.gather(2, rank)  # (B, count, 1)
        tokens = torch.cat([tokens, drawn], dim=-1)
        history = torch.cat([history, logprobs.gather(2, drawn)], dim=-1)
        lengths += open_
        open_ &= drawn[..., 0] != eos
        if not open_.any():
            break
    return [
        [_hypothesis(tokens, history, example, group, 0.0, int(lengths[example, group])) for group in range(count)]
        for example in range(stepper.batch)
    ]


class NoRepeatNgram:
    """A constraint: no n words in a row may come twice in one text. Tokens from ``exempt_from`` on are not words."""

    def __init__(self, n: int, vocab_size: int, exempt_from: int | None = None) -> None:
        if n < 1:
            raise InputError(f"no repeated {n}-grams", "n >= 1")
        self.n, self.vocab_size = n, vocab_size
        self.exempt_from = vocab_size if exempt_from is None else exempt_from

    def __call__(self, tokens: Tensor) -> Tensor:
        """Return the allowed next tokens (B, G, V) after texts (B, G, t)."""
        batch, group, length = tokens.shape
        allowed = torch.ones(batch, group, self.vocab_size, dtype=torch.bool)
        for b, texts in enumerate(tokens.tolist()):
            for g, text in enumerate(texts):
                tail = text[length - self.n + 1 :] if length >= self.n else None
                if tail is None or any(token >= self.exempt_from for token in tail):
                    continue
                for i in range(length - self.n + 1):
                    if text[i : i + self.n - 1] == tail and text[i + self.n - 1] < self.exempt_from:
                        allowed[b, g, text[i + self.n - 1]] = False
        return allowed


def _next_logprobs(stepper: Stepper, tokens: Tensor, constraints: Sequence[Constraint]) -> Tensor:
    logprobs = stepper.step(tokens[..., -1]).cpu()  # (B, G, V); bookkeeping is small and stays on the CPU
    for constraint in constraints:
        logprobs = logprobs.masked_fill(~constraint(tokens), -math.inf)
    return logprobs


def _extend(
    tokens: Tensor, total: Tensor, history: Tensor, logprobs: Tensor, width: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Extend the texts by their ``width`` best next tokens; also return which text (B, width) each one extends."""
    _, group, vocab = logprobs.shape
    candidates = (total.unsqueeze(-1) + logprobs).flatten(1)  # (B, G * V)
    total, index = candidates.topk(min(width, group * vocab), dim=1)
    parents, token = index // vocab, (index % vocab).unsqueeze(-1)
    gained = logprobs.flatten(1).gather(1, index).unsqueeze(-1)
    tokens = torch.cat([_pick(tokens, parents), token], dim=-1)
    return tokens, total, torch.cat([_pick(history, parents), gained], dim=-1), parents


def _pick(values: Tensor, index: Tensor) -> Tensor:
    """Select rows (B, G', t) of (B, G, t) by index (B, G')."""
    return values.gather(1, index.unsqueeze(-1).expand(-1, -1, values.shape[-1]))


def _hypothesis(
    tokens: Tensor, history: Tensor, example: int, group: int, alpha: float, length: int | None = None
) -> Hypothesis:
    logprobs = history[example, group].tolist()[:length]
    text = tokens[example, group].tolist()[1 : len(logprobs) + 1]
    return Hypothesis(tuple(text), tuple(logprobs), sum(logprobs) / length_penalty(len(text), alpha))

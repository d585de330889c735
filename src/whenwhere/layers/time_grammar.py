"""The grammar of timed captions, as a limit on the next token of a beam search."""

from __future__ import annotations

import torch
from torch import Tensor

from whenwhere.errors import InputError
from whenwhere.layers.vocab import Vocab


class TimeGrammar:
    """Allows only ``([start][end] word+)* EOS``, with ``end >= start``.

    After BOS: a start or EOS. After a start: an end that is not before it. After an end: a word, not the rest of one.
    After a word: a word, the start of the next event, or EOS. Padding, BOS and unknown words never.

    Args:
        vocab: the words and time tokens.
        last_bin: latest bin that may be said, for decoding in the middle of a span; ``None`` for all bins.
    """

    def __init__(self, vocab: Vocab, last_bin: int | None = None) -> None:
        last_bin = vocab.n_bins - 1 if last_bin is None else last_bin
        if not 0 <= last_bin < vocab.n_bins:
            raise InputError(f"last time bin {last_bin}", f"0..{vocab.n_bins - 1}")
        self._first_time = vocab.words
        ids = torch.arange(len(vocab))
        times = (ids >= vocab.words) & (ids <= vocab.words + last_bin)
        words = ids < vocab.words
        words[list(vocab.unspeakable)] = False
        whole_words = words.clone()
        whole_words[list(vocab.continuations)] = False
        end = ids == vocab.eos
        self._ids, self._times = ids, times
        self._after_begin, self._after_pair, self._after_word = times | end, whole_words, words | times | end

    def __call__(self, tokens: Tensor) -> Tensor:
        """Return the allowed next tokens (B, G, V + n_bins) after texts (B, G, t) that begin with BOS."""
        last = tokens[..., -1]
        if tokens.shape[-1] == 1:
            return self._after_begin.expand(*last.shape, -1)
        timed, timed_before = last >= self._first_time, tokens[..., -2] >= self._first_time
        allowed = self._after_word.repeat(*last.shape, 1)  # (B, G, V + n_bins)
        allowed[timed & timed_before] = self._after_pair
        lone = timed & ~timed_before
        allowed[lone] = self._times & (self._ids >= last[lone].unsqueeze(-1))
        return allowed

"""BLEU-1 to BLEU-4 of captions, as the COCO caption scorers compute it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from whenwhere.metrics.records import check_captions

# The original's guards against division by zero; they show in degenerate scores, so they are part of the definition.
_TINY, _SMALL = 1e-15, 1e-9


class BleuScores(NamedTuple):
    """BLEU-1 .. BLEU-n.

    Attributes:
        corpus: float64 ``(n,)``: counts summed over all items, then the figure.
        items: float64 ``(items, n)``: each item alone.
        counts: float64 ``(items, 2 + 2 * n)``: what :func:`bleu_of_counts` takes.
    """

    corpus: np.ndarray
    items: np.ndarray
    counts: np.ndarray


def bleu(candidates: Sequence[str], references: Sequence[Sequence[str]], max_order: int = 4) -> BleuScores:
    """Score captions by clipped n-gram precision with a brevity penalty.

    The reference length of an item is that of the reference closest in length, the shorter one on a tie.

    Args:
        candidates: one tokenised caption per item (:func:`whenwhere.metrics.ptb.tokenize`).
        references: tokenised references of every item.
        max_order: longest n-gram.

    Returns:
        BleuScores, values in 0..1.

    Raises:
        InputError: naming the item that cannot be scored.

    Source: Papineni et al., ACL 2002, with the choices of the ``pycocoevalcap`` package.
    """
    check_captions(candidates, references)
    counts = np.array([_counts(*item, max_order) for item in zip(candidates, references)], dtype=np.float64)
    return BleuScores(bleu_of_counts(counts.sum(axis=0, keepdims=True))[0], bleu_of_counts(counts), counts)


def _counts(candidate: str, references: Sequence[str], max_order: int) -> list[int]:
    """Length, reference length, then n-grams guessed and n-grams right per order."""
    words = candidate.split()
    others = [reference.split() for reference in references]
    closest = min((abs(len(other) - len(words)), len(other)) for other in others)[1]
    guessed = [max(0, len(words) - order) for order in range(max_order)]
    right = []
    for order in range(1, max_order + 1):
        wanted = _grams(words, order)
        allowed: Counter[tuple[str, ...]] = Counter()
        for other in others:
            allowed |= _grams(other, order)  # the most any one reference has
        right.append((wanted & allowed).total())
    return [len(words), closest, *guessed, *right]


def _grams(words: list[str], order: int) -> Counter[tuple[str, ...]]:
    return Counter(zip(*(words[start:] for start in range(order))))


def bleu_of_counts(counts: np.ndarray) -> np.ndarray:
    """BLEU-1 .. BLEU-n from counts, which may be summed over items first.

    Args:
        counts: ``(rows, 2 + 2 * n)``: length, reference length, n-grams guessed and n-grams right per order.

    Returns:
        float64 ``(rows, n)`` in 0..1.
    """
    max_order = (counts.shape[1] - 2) // 2
    length, closest = counts[:, 0], counts[:, 1]
    guessed, right = counts[:, 2 : 2 + max_order], counts[:, 2 + max_order :]
    precision = np.cumprod((right + _TINY) / (guessed + _SMALL), axis=1)
    figure = precision ** (1 / np.arange(1, max_order + 1))
    ratio = (length + _TINY) / (closest + _SMALL)
    penalty = np.where(ratio < 1, np.exp(np.minimum(0.0, 1 - 1 / ratio)), 1.0)
    return figure * penalty[:, None]

"""ROUGE-L of captions, as the COCO caption scorers compute it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from whenwhere.metrics.records import Scores, check_captions

_BETA = 1.2  # weight of recall over precision in the COCO scorer


def rouge_l(candidates: Sequence[str], references: Sequence[Sequence[str]]) -> Scores:
    """Score captions by their longest common subsequence with the references.

    Precision and recall are each the best over the references of the item (so they may come from two references), and
    the item's figure is their F measure with beta = 1.2.

    Args:
        candidates: one tokenised caption per item (:func:`whenwhere.metrics.ptb.tokenize`).
        references: tokenised references of every item.

    Returns:
        Scores in 0..1; ``corpus`` is the mean over items.

    Raises:
        InputError: naming the item that cannot be scored.

    Source: Lin and Och, ACL 2004, with the choices of the ``pycocoevalcap`` package.
    """
    check_captions(candidates, references)
    items = np.array([_item(candidate, group) for candidate, group in zip(candidates, references)])
    return Scores(float(items.mean()), items)


def _item(candidate: str, references: Sequence[str]) -> float:
    # Splitting at single spaces makes an empty caption one empty word, which is what the original scores.
    words = candidate.split(" ")
    precision = recall = 0.0
    for reference in references:
        others = reference.split(" ")
        common = longest_common_subsequence(words, others)
        precision = max(precision, common / len(words))
        recall = max(recall, common / len(others))
    if precision == 0 or recall == 0:
        return 0.0
    return (1 + _BETA**2) * precision * recall / (recall + _BETA**2 * precision)


def longest_common_subsequence(left: Sequence[str], right: Sequence[str]) -> int:
    """The length of the longest common subsequence of two word lists.

    A row of the usual table is held in the bits of one integer, so a pair costs ``len(right)`` integer operations.

    Source: Hyyro, "Bit-parallel LCS-length computation revisited", AWOCA 2004.
    """
    places: dict[str, int] = {}
    for place, word in enumerate(left):
        places[word] = places.get(word, 0) | 1 << place
    full = (1 << len(left)) - 1
    row = full  # a zero bit marks a step of the row
    for word in right:
        hits = row & places.get(word, 0)
        row = ((row + hits) | (row - hits)) & full
    return len(left) - row.bit_count()

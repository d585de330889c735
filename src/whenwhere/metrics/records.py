"""What scorers share: their figures, and the checks that name a bad record before any figure comes out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from whenwhere.errors import InputError


class Scores(NamedTuple):
    """A figure for the whole set and one for every item.

    Attributes:
        corpus: the figure to report.
        items: float64 ``(n,)``, in the order of the candidates.
    """

    corpus: float
    items: np.ndarray


def check_captions(candidates: Sequence[str], references: Sequence[Sequence[str]]) -> None:
    """Refuse candidates and references that cannot be scored against each other.

    Args:
        candidates: one caption per item.
        references: for every item the captions people wrote, at least one.

    Raises:
        InputError: if there is no item, the numbers differ, an item has no reference or something is not a string.
    """
    check_strings(candidates, "candidate")
    check_references(references)
    if len(candidates) != len(references):
        raise InputError(
            f"{len(candidates)} candidates and {len(references)} reference sets",
            "as many reference sets as candidates",
            "pair them by item first",
        )
    if len(candidates) == 0:
        raise InputError("no items", "at least one candidate with its references")


def check_references(references: Sequence[Sequence[str]]) -> None:
    """Refuse reference sets that are empty or hold something other than strings.

    Raises:
        InputError: naming the item.
    """
    if isinstance(references, str):
        raise InputError("references are one string", "a list with a list of strings for every item")
    for index, group in enumerate(references):
        check_strings(group, f"item {index}, reference")
        if len(group) == 0:
            raise InputError(f"item {index} without references", "at least one", "add one or leave the item out")


def check_strings(captions: Sequence[str], record: str) -> None:
    """Refuse captions that are not a list of strings.

    Args:
        captions: what should be a list of captions.
        record: what one of them is called in the error.

    Raises:
        InputError: naming the caption.
    """
    if isinstance(captions, str):
        raise InputError(f"{record}: one string {captions[:40]!r}", "a list of strings", "wrap it in a list")
    for index, caption in enumerate(captions):
        if not isinstance(caption, str):
            raise InputError(f"{record} {index}: {caption!r} of type {type(caption).__name__}", "a string")


def harmonic_mean(precision: Any, recall: Any) -> np.ndarray:
    """F1 of precision and recall, 0 where both are 0."""
    total = np.asarray(precision + recall, dtype=np.float64)
    return np.divide(2 * precision * recall, total, out=np.zeros_like(total), where=total > 0)

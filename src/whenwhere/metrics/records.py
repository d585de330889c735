"""What scorers share: their figures, and the checks that name a bad record before any figure comes out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
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


class Record(dict[str, Any]):
    """A record that knows where it was read, so that what is wrong with it can be found.

    Attributes:
        place: file and line.
    """

    place: str = ""


def place_of(record: Any, otherwise: str) -> str:
    """Where a record was read (:class:`Record`), or what it is called if it came from a program."""
    return getattr(record, "place", "") or otherwise


def field_of(record: Any, name: str, place: str) -> Any:
    """One field of a record.

    Raises:
        InputError: if the record is no mapping or does not have the field.
    """
    if not isinstance(record, Mapping):
        raise InputError(f"{place}: {str(record)[:60]!r} of type {type(record).__name__}", "a mapping")
    if name not in record:
        raise InputError(f"{place}: a record without {name!r}, with {', '.join(map(repr, record)) or 'nothing'}")
    return record[name]


def id_of(record: Any, name: str, place: str) -> int | str:
    """A field of a record that is a whole number or a string.

    Raises:
        InputError: if it is neither, or the record does not have it.
    """
    found = field_of(record, name, place)
    if not isinstance(found, (int, str)) or isinstance(found, bool):
        raise InputError(f"{place}: {name} {found!r:.60}", "a whole number or a string")
    return found


def numbers(value: Any, what: str, shape: tuple[int | None, ...] = ()) -> np.ndarray:
    """Finite numbers of a given shape.

    Args:
        value: numbers, nested lists of numbers, or an array.
        what: where they were read and what they are, for the error.
        shape: sizes of the axes, None for any; an empty list passes for any shape whose first size is None.

    Returns:
        float64 of that shape.

    Raises:
        InputError: if something is not a number, not finite, or of another shape.
    """
    try:
        found = np.asarray(value)
    except ValueError:  # lists of different lengths
        found = np.empty(0, dtype=object)
    if found.size == 0 and found.dtype != object and shape[:1] == (None,) and len(found.shape) >= 1:
        return np.zeros([size or 0 for size in shape])
    fits = found.ndim == len(shape) and all(want in (None, size) for want, size in zip(shape, found.shape))
    if found.dtype.kind not in "iuf" or not fits or not np.isfinite(found).all() or _has_bool(value):
        sizes = " x ".join("n" if size is None else str(size) for size in shape)
        raise InputError(f"{what}: {str(value)[:60]}", f"{sizes} finite numbers" if shape else "a finite number")
    return found.astype(np.float64)


def _has_bool(value: Any) -> bool:
    """Whether true or false stands among nested numbers, where an array would make it 1 or 0."""
    return any(map(_has_bool, value)) if isinstance(value, (list, tuple)) else isinstance(value, bool)


def windows_of(value: Any, what: str, columns: int = 2) -> np.ndarray:
    """Intervals of time: start, end and perhaps a score in each row.

    Returns:
        float64 ``(n, columns)``, times in seconds.

    Raises:
        InputError: if they are not finite numbers, or one ends before it starts.
    """
    found = numbers(value, what, (None, columns))
    for start, end in found[found[:, 0] > found[:, 1], :2]:
        raise InputError(f"{what}: from {start:g} to {end:g}", "a start that is not after the end", "swap them first")
    return found


def boxes_of(value: Any, what: str) -> np.ndarray:
    """Boxes: float64 ``(n, 4)``, x1, y1, x2, y2 in pixels.

    Raises:
        InputError: if they are not finite numbers, or one has no corner at the upper left.
    """
    found = numbers(value, what, (None, 4))
    for box in found[(found[:, :2] > found[:, 2:]).any(axis=1)]:
        raise InputError(f"{what}: {box.tolist()}", "x1 <= x2 and y1 <= y2", "convert x, y, width, height first")
    return found


def same_ids(predictions: Iterable[str], truths: Iterable[str], what: str) -> tuple[str, ...]:
    """The items of both sides, sorted, if they are the same.

    Args:
        predictions: ids that were predicted.
        truths: ids that there are.
        what: one of them, such as "query".

    Raises:
        InputError: naming how many ids are on one side only, and one of them.
    """
    theirs, ours = set(predictions), set(truths)
    absent, unknown = sorted(ours - theirs), sorted(theirs - ours)
    if absent:
        raise InputError(
            f"no prediction for {len(absent)} of {len(ours)} ids, such as {what} {absent[0]!r}",
            "a prediction for every one, empty where nothing was found",
            "add them, or leave them out of the truth",
        )
    if unknown:
        raise InputError(
            f"predictions for {len(unknown)} ids that the truth does not have, such as {what} {unknown[0]!r}",
            "the ids of the truth",
            "leave them out",
        )
    if not ours:
        raise InputError(f"no {what} to score", "at least one")
    return tuple(sorted(ours))


def by_id(records: Iterable[Any], key: str, what: str) -> dict[str, Any]:
    """Records by their id, as a string.

    Args:
        records: mappings with an id that is a number or a string.
        key: the field of the id.
        what: what a record is called in errors.

    Raises:
        InputError: naming the record without an id, or the id that comes twice.
    """
    found: dict[str, Any] = {}
    for index, record in enumerate(records):
        place = place_of(record, f"{what} {index}")
        number = id_of(record, key, place)
        if str(number) in found:
            raise InputError(f"{place}: {key} {number!r} for the second time", "every id once")
        found[str(number)] = record
    return found

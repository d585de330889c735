"""Which words of two captions METEOR 1.5 takes for the same: a beam search over matches that do not overlap.

A match that nothing else overlaps is always taken. Of the rest the search, word by word of the reference, prefers more
words matched exactly, then fewer chunks (runs of matches that are adjacent on both sides); stems, synonyms and
paraphrases that others overlap win only where they join a chunk. Of equal paths the one found first wins, so the order
of the search is part of the result.

This is what the program was seen to do on short captions over small vocabularies, not what its papers say: there,
matches of all kinds count alike, and the distance of start positions decides between equals. About one in a hundred of
such captions, full of repeated words, is still aligned otherwise than by the program.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

BEAM = 40
EXACT, STEM, SYNONYM, PARAPHRASE = range(4)


class Match(NamedTuple):
    """Words of the candidate that mean the same as words of the reference.

    Attributes:
        start: first word in the candidate.
        length: words in the candidate.
        other: first word in the reference.
        other_length: words in the reference.
        kind: EXACT, STEM, SYNONYM or PARAPHRASE.
    """

    start: int
    length: int
    other: int
    other_length: int
    kind: int


class _Path(NamedTuple):
    """A partial alignment; the first two are the order of preference, smaller is better."""

    exact: int  # words of both sides that are matched exactly, negative
    chunks: int  # chunks that have ended
    is_open: bool  # whether one more may go on
    taken: int  # bits of candidate words
    reached: int  # reference words before this are decided
    matches: tuple[Match, ...]


def align(matches: Sequence[Match], length: int, other_length: int) -> tuple[tuple[Match, ...], int]:
    """Choose matches that do not overlap.

    Args:
        matches: all that there are, in ascending order.
        length: words of the candidate.
        other_length: words of the reference.

    Returns:
        The chosen matches in the order of the reference, and the number of chunks that they form.
    """
    starting: list[list[Match]] = [[] for _ in range(other_length)]
    used, other_used = [0] * length, [0] * other_length
    for match in matches:
        starting[match.other].append(match)
        for place in range(match.start, match.start + match.length):
            used[place] += 1
        for place in range(match.other, match.other + match.other_length):
            other_used[place] += 1
    certain = {
        match.other
        for match in matches
        if max(used[match.start : match.start + match.length]) == 1
        and max(other_used[match.other : match.other + match.other_length]) == 1
    }
    paths = [_Path(0, 0, False, 0, 0, ())]
    for place, options in enumerate(starting):
        if not options:
            continue
        found = []
        for path in paths:
            if path.reached > place:
                found.append(path)
                continue
            grown = [longer for match in options if (longer := _extend(path, match)) is not None]
            found += grown
            if place not in certain:  # leaving out what could be matched ends a chunk
                found.append(_closed(path) if grown else path)
        found.sort(key=_preference)
        paths = found[:BEAM]
    best = min(map(_closed, paths), key=_preference)
    return best.matches, best.chunks


def _preference(path: _Path) -> tuple[int, ...]:
    return path[:2]


def _closed(path: _Path) -> _Path:
    return path._replace(chunks=path.chunks + path.is_open, is_open=False)


def _extend(path: _Path, match: Match) -> _Path | None:
    """The path with one more match; None if its words are taken."""
    bits = ((1 << match.length) - 1) << match.start
    if path.taken & bits:
        return None
    joins = False
    if path.matches:
        last = path.matches[-1]
        joins = last.start + last.length == match.start and last.other + last.other_length == match.other
    return _Path(
        path.exact - 2 * (match.kind == EXACT),
        path.chunks + (path.is_open and not joins),
        True,
        path.taken | bits,
        match.other + match.other_length,
        (*path.matches, match),
    )

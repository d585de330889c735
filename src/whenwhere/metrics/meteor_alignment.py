"""Which words of two captions METEOR 1.5 takes for the same: a beam search over matches that do not overlap.

A match that nothing else overlaps is always taken. Of the rest the search prefers, in this order: more words matched
exactly, fewer chunks (runs of matches that are adjacent on both sides), more synonyms, nearer start positions. Stems
and paraphrases that others overlap therefore only win where they join a chunk. This is what the program was seen to do,
not what its papers say: there, matches of all kinds count alike.
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
    """A partial alignment; the first four are the order of preference, smaller is better."""

    exact: int
    chunks: int
    synonyms: int
    distance: int
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
    paths = [_Path(0, 0, 0, 0, 0, 0, ())]
    for place, options in enumerate(starting):
        if not options:
            continue
        found = []
        for path in paths:
            if path.reached > place:
                found.append(path)
                continue
            if place not in certain:
                found.append(path)
            for match in options:
                if (grown := _extend(path, match)) is not None:
                    found.append(grown)
        found.reverse()  # of equal paths the one found last wins
        found.sort(key=_preference)
        paths = found[:BEAM]
    return paths[0].matches, paths[0].chunks


def _preference(path: _Path) -> tuple[int, ...]:
    return path[:4]


def _extend(path: _Path, match: Match) -> _Path | None:
    """The path with one more match; None if its words are taken."""
    bits = ((1 << match.length) - 1) << match.start
    if path.taken & bits:
        return None
    last = path.matches[-1] if path.matches else None
    joins = (
        last is not None and last.start + last.length == match.start and last.other + last.other_length == match.other
    )
    return _Path(
        path.exact - (match.kind == EXACT),
        path.chunks + (not joins),
        path.synonyms - (match.kind == SYNONYM),
        path.distance + abs(match.start - match.other),
        path.taken | bits,
        match.other + match.other_length,
        (*path.matches, match),
    )

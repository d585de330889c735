"""Which words of two captions METEOR 1.5 takes for the same: a beam search over matches that do not overlap.

A match that nothing else overlaps is always taken. The rest is searched word by word of the reference. A path of the
search is the better (i) the more its matches count, (ii) the fewer chunks it has (runs of matches adjacent on both
sides), (iii) the less the starts of its matches differ.

The papers say so too; the program's scores hang on what they do not say, and this module follows the program:

- An exact match counts for its words on both sides, any other for half of them, rounded down on each side; the weights
  of the score play no part. So a single stem, synonym or paraphrase counts nothing, and two words of a paraphrase count
  for one.
- Of (iii) only certain matches add to their own path. What one of the others differs by is added to the paths that go
  on without it, those found after it from the same path.
- Of equal paths the one found first is better; the order of matches is part of the result.
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
    """A partial alignment; the first three are the order of preference, smaller is better."""

    missing: int  # what its matches count for, negative
    chunks: int  # chunks that have ended
    distance: int
    end: int  # where the open chunk would go on in the candidate, -1 if none is open
    reached: int  # reference words before this are decided
    taken: int  # bits of candidate words
    other_taken: int  # bits of reference words
    matches: tuple[Match, ...]


def align(matches: Sequence[Match], length: int, other_length: int) -> tuple[tuple[Match, ...], int]:
    """Choose matches that do not overlap.

    Args:
        matches: all that there are. Of those that start at one reference word, earlier ones are tried first.
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
    certain = [
        len(options) == 1
        and all(used[place] == 1 for place in range(options[0].start, options[0].start + options[0].length))
        and all(other_used[place] == 1 for place in range(options[0].other, options[0].other + options[0].other_length))
        for options in starting
    ]
    taken = other_taken = 0
    for options, is_certain in zip(starting, certain):
        if is_certain:
            taken |= _bits(options[0].start, options[0].length)
            other_taken |= _bits(options[0].other, options[0].other_length)
    paths = [_Path(0, 0, 0, -1, 0, taken, other_taken, ())]
    for place, options in enumerate(starting):
        found: list[_Path] = []
        for path in paths:
            if path.reached > place:
                found.append(path)
            elif certain[place]:
                found.append(_longer(path, options[0], path.distance + _difference(options[0])))
            else:
                distance = path.distance
                for match in options:
                    if not (
                        path.taken & _bits(match.start, match.length)
                        or path.other_taken & _bits(match.other, match.other_length)
                    ):
                        found.append(_longer(path, match, distance))
                        distance += _difference(match)
                chunks = path.chunks + (path.end >= 0)
                found.append(path._replace(chunks=chunks, distance=distance, end=-1, reached=place + 1))
        if len(found) > 1:
            found.sort(key=_preference)
        paths = found[:BEAM]
    best = min((path._replace(chunks=path.chunks + (path.end >= 0)) for path in paths), key=_preference)
    return best.matches, best.chunks


def _preference(path: _Path) -> tuple[int, ...]:
    return path[:3]


def _bits(start: int, length: int) -> int:
    return ((1 << length) - 1) << start


def _difference(match: Match) -> int:
    return abs(match.start - match.other)


def _longer(path: _Path, match: Match, distance: int) -> _Path:
    """The path with one more match."""
    counted = 2 if match.kind == EXACT else match.length // 2 + match.other_length // 2
    return _Path(
        path.missing - counted,
        path.chunks + (path.end >= 0 and path.end != match.start),
        distance,
        match.start + match.length,
        match.other + match.other_length,
        path.taken | _bits(match.start, match.length),
        path.other_taken | _bits(match.other, match.other_length),
        (*path.matches, match),
    )

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
from operator import itemgetter
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


class _Option(NamedTuple):
    """A match as the search sees it: where it lies as bits, and what it adds to a path."""

    start: int
    end: int
    other_end: int
    bits: int  # candidate words
    other_bits: int  # reference words
    counted: int
    difference: int
    match: Match


# A partial alignment. The first three are the order of preference, smaller is better: what its matches count for,
# negative; chunks that have ended; distance. Then: where the open chunk would go on in the candidate, -1 if none is
# open; reference words before this are decided; bits of candidate words and of reference words taken; the path that it
# prolongs and the last match.
_Chain = tuple["_Chain", Match] | None
_Path = tuple[int, int, int, int, int, int, int, _Chain]
_preference = itemgetter(0, 1, 2)


def align(matches: Sequence[Match], length: int, other_length: int) -> tuple[tuple[Match, ...], int]:
    """Choose matches that do not overlap.

    Args:
        matches: all that there are. Of those that start at one reference word, earlier ones are tried first.
        length: words of the candidate.
        other_length: words of the reference.

    Returns:
        The chosen matches in the order of the reference, and the number of chunks that they form.
    """
    starting: list[list[_Option]] = [[] for _ in range(other_length)]
    used = other_used = twice = other_twice = 0  # bits of words: in a match, in several
    for match in matches:
        option = _option(match)
        starting[match.other].append(option)
        twice |= used & option.bits
        used |= option.bits
        other_twice |= other_used & option.other_bits
        other_used |= option.other_bits
    taken = other_taken = 0
    certain = []
    for options in starting:
        alone = len(options) == 1 and not (options[0].bits & twice or options[0].other_bits & other_twice)
        certain.append(alone)
        if alone:
            taken |= options[0].bits
            other_taken |= options[0].other_bits
    paths: list[_Path] = [(0, 0, 0, -1, 0, taken, other_taken, None)]
    for place, options in enumerate(starting):
        found: list[_Path] = []
        for path in paths:
            missing, chunks, distance, end, reached, taken, other_taken, chain = path
            if reached > place:
                found.append(path)
                continue
            for start, stop, other_stop, bits, other_bits, counted, difference, match in options:
                if certain[place]:
                    distance += difference
                elif taken & bits or other_taken & other_bits:
                    continue
                more = chunks + (0 <= end != start)
                after = (taken | bits, other_taken | other_bits, (chain, match))
                found.append((missing - counted, more, distance, stop, other_stop, *after))
                distance += difference
            if certain[place]:
                continue
            if end < 0 and distance == path[2]:
                found.append(path)
            else:
                found.append((missing, chunks + (end >= 0), distance, -1, reached, taken, other_taken, chain))
        if len(found) > 1:
            found.sort(key=_preference)
        paths = found[:BEAM]
    best = min(((path[0], path[1] + (path[3] >= 0), *path[2:]) for path in paths), key=_preference)
    chosen = []
    chain = best[-1]
    while chain is not None:
        chain, match = chain
        chosen.append(match)
    return tuple(chosen[::-1]), best[1]


def _option(match: Match) -> _Option:
    start, length, other, other_length, kind = match
    counted = 2 if kind == EXACT else length // 2 + other_length // 2
    bits, other_bits = ((1 << length) - 1) << start, ((1 << other_length) - 1) << other
    return _Option(start, start + length, other + other_length, bits, other_bits, counted, abs(start - other), match)

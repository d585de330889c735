"""Which words of two captions METEOR 1.5 takes for the same: a beam search over matches that do not overlap.

A match that nothing else overlaps is always taken. Of the rest the search prefers more words matched exactly, then fewer
chunks (runs of matches that are adjacent on both sides); stems, synonyms and paraphrases that others overlap win only
where they join a chunk. Of equal paths the one found first wins, so the order of the search is part of the result.

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
    breaks: int  # matches that do not continue the one before: one less than the chunks
    taken: int  # bits of reference words
    reached: int  # candidate words before this are decided
    matches: tuple[Match, ...]

    @property
    def chunks(self) -> int:
        return self.breaks + bool(self.matches)


def align(matches: Sequence[Match], length: int, other_length: int) -> tuple[tuple[Match, ...], int]:
    """Choose matches that do not overlap.

    Args:
        matches: all that there are, in ascending order.
        length: words of the candidate.
        other_length: words of the reference.

    Returns:
        The chosen matches in the order of the candidate, and the number of chunks that they form.
    """
    starting: list[list[Match]] = [[] for _ in range(length)]
    used, other_used = [0] * length, [0] * other_length
    for match in matches:
        starting[match.start].append(match)
        for place in range(match.start, match.start + match.length):
            used[place] += 1
        for place in range(match.other, match.other + match.other_length):
            other_used[place] += 1
    certain = {
        match.start
        for match in matches
        if max(used[match.start : match.start + match.length]) == 1
        and max(other_used[match.other : match.other + match.other_length]) == 1
    }
    paths = [_Path(0, 0, 0, 0, ())]
    for place, options in enumerate(starting):
        if not options:
            continue
        found = []
        for path in paths:
            if path.reached > place:
                found.append(path)
                continue
            found += [grown for match in options if (grown := _extend(path, match)) is not None]
            if place not in certain:
                found.append(path)
        found.sort(key=lambda path: path[:2])
        paths = found[:BEAM]
    best = min(paths, key=lambda path: (path.exact, path.chunks))
    return best.matches, best.chunks


def _extend(path: _Path, match: Match) -> _Path | None:
    """The path with one more match; None if its words are taken."""
    bits = ((1 << match.other_length) - 1) << match.other
    if path.taken & bits:
        return None
    breaks = path.breaks
    if path.matches:
        last = path.matches[-1]
        joins = last.start + last.length == match.start and last.other + last.other_length == match.other
        breaks += not joins
    exact = path.exact - 2 * (match.kind == EXACT)
    return _Path(exact, breaks, path.taken | bits, match.start + match.length, (*path.matches, match))

"""Token streams of timed captions, ``[start][end] words [start][end] words ...``, and text from WordPieces."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Literal, NamedTuple

ReversedSpans = Literal["keep", "swap", "drop"]
UntimedWords = Literal["keep", "drop"]

_CLOSING = frozenset(".,!?;:)]}%")
_OPENING = frozenset("([{$#")
_JOINING = frozenset("-/_&")  # the tokenizer split these off a word
_AFTER_APOSTROPHE = frozenset(("s", "t", "m", "d", "re", "ve", "ll", "clock"))


class TimedTokens(NamedTuple):
    """One event of a token stream.

    Attributes:
        start: bin of its start.
        end: bin of its end.
        words: ids of its caption.
        positions: where in the stream its tokens stand, time tokens first.
    """

    start: int
    end: int
    words: tuple[int, ...]
    positions: tuple[int, ...]


def parse_events(
    tokens: Sequence[int],
    first_time: int,
    skip: Collection[int] = (),
    *,
    reversed_spans: ReversedSpans = "keep",
    untimed: UntimedWords = "keep",
) -> list[TimedTokens]:
    """Split a decoder's output into events.

    Two time tokens in a row open an event; the words up to the next time token are its caption. Words that no pair of
    time tokens precedes, at the start or after a lone time token, get the span [0, 0]. Events without words go.

    Args:
        tokens: ids; every id from ``first_time`` on is a time token.
        first_time: id of bin 0, the size of the word vocabulary.
        skip: ids that mean nothing here (BOS, EOS, padding).
        reversed_spans: for an event that ends before it starts: keep it so, swap its ends, or drop it.
        untimed: whether words without a span are kept at [0, 0], as the public code does, or dropped.

    Returns:
        The events in stream order.
    """
    events: list[TimedTokens] = []
    times: list[tuple[int, int]] = []  # (bin, position) of the time tokens that wait for words
    words: list[tuple[int, int]] = []

    def close() -> None:
        timed = len(times) == 2
        if words and (timed or untimed == "keep"):
            start, end = (times[0][0], times[1][0]) if timed else (0, 0)
            if end < start and reversed_spans == "swap":
                start, end = end, start
            if end >= start or reversed_spans == "keep":
                positions = tuple(at for _, at in (*times, *words)) if timed else tuple(at for _, at in words)
                events.append(TimedTokens(start, end, tuple(word for word, _ in words), positions))
        words.clear()
        times.clear()

    for position, token in enumerate(tokens):
        if token in skip:
            continue
        if token < first_time:
            words.append((token, position))
        else:
            if words or len(times) == 2:
                close()
            times.append((token - first_time, position))
    close()
    return events


def join_wordpieces(pieces: Sequence[str], *, capitalize: bool = False) -> str:
    """Turn uncased WordPieces into text: ``##`` pieces are glued, and punctuation is spaced as people write it.

    Args:
        pieces: WordPieces without special tokens.
        capitalize: write the first letter as a capital.

    Returns:
        ASCII text; other characters become spaces, as in the public code.
    """
    words: list[str] = []
    for piece in pieces:
        if piece.startswith("##") and words:
            words[-1] += piece[2:]
        else:
            words.append(piece.removeprefix("##"))
    text, glue, quotes = "", True, 0
    for i, word in enumerate(words):
        after = words[i + 1] if i + 1 < len(words) else ""
        glue_left = word in _CLOSING or word in _JOINING
        glue_right = word in _OPENING or word in _JOINING
        if word == "'":  # an apostrophe inside a word, else it is a quotation mark
            glue_left = glue_right = after in _AFTER_APOSTROPHE
        if word == '"' or (word == "'" and not glue_left):
            glue_left, glue_right = quotes % 2 == 1, quotes % 2 == 0
            quotes += 1
        text += word if glue or glue_left else " " + word
        glue = glue_right
    text = re.sub(r"[^\x21-\x7e]+", " ", text).strip()
    return text[:1].upper() + text[1:] if capitalize else text

"""Parsing streams of timed captions, and text from WordPieces."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whenwhere.layers.event_stream import TimedTokens, join_wordpieces, parse_events

V = 100  # ids from here on are time tokens
SKIP = {0, 1, 2}


def spans(tokens, **options):
    return [(e.start, e.end, e.words) for e in parse_events(tokens, V, SKIP, **options)]


def test_events_in_a_row():
    tokens = [1, 103, 107, 10, 11, 100, 163, 12, 2, 0, 0]
    assert parse_events(tokens, V, SKIP) == [
        TimedTokens(3, 7, (10, 11), (1, 2, 3, 4)),
        TimedTokens(0, 63, (12,), (5, 6, 7)),
    ]


def test_words_without_a_span():
    assert spans([10, 11, 103, 107, 12]) == [(0, 0, (10, 11)), (3, 7, (12,))]
    assert spans([10, 11, 103, 107, 12], untimed="drop") == [(3, 7, (12,))]
    assert spans([103, 107, 12, 105, 13, 14]) == [(3, 7, (12,)), (0, 0, (13, 14))]  # a lone time token gives no span
    assert spans([103, 107, 12, 105, 13, 14], untimed="drop") == [(3, 7, (12,))]


def test_events_without_words_are_dropped():
    assert spans([103, 107, 104, 108, 12, 103, 107]) == [(4, 8, (12,))]
    assert spans([103, 107, 104, 12], untimed="drop") == []
    assert spans([]) == [] and spans([1, 2, 0]) == []


@pytest.mark.parametrize(("form", "expected"), [("keep", [(9, 4)]), ("swap", [(4, 9)]), ("drop", [])])
def test_an_event_that_ends_before_it_starts(form, expected):
    assert [(s, e) for s, e, _ in spans([109, 104, 12], reversed_spans=form)] == expected


event = st.tuples(st.integers(0, 63), st.integers(0, 63), st.lists(st.integers(3, V - 1), min_size=1, max_size=6))


@settings(deadline=None)
@given(st.lists(event, max_size=6))
def test_well_formed_streams_come_back_whole(events):
    tokens = [1, *(t for s, e, words in events for t in (V + s, V + e, *words)), 2]
    assert spans(tokens) == [(s, e, tuple(words)) for s, e, words in events]


@settings(deadline=None)
@given(st.lists(st.integers(0, V + 63), max_size=40))
def test_any_stream_parses_and_loses_no_word(tokens):
    found = parse_events(tokens, V, SKIP)
    assert [w for e in found for w in e.words] == [t for t in tokens if t < V and t not in SKIP]
    for e in found:
        assert e.words and e.positions[-len(e.words) :] == tuple(p for p in e.positions if tokens[p] < V)
    dropped = parse_events(tokens, V, SKIP, reversed_spans="drop", untimed="drop")
    assert all(e.start <= e.end and len(e.positions) == len(e.words) + 2 for e in dropped)


@pytest.mark.parametrize(
    ("pieces", "text"),
    [
        ("a man rid ##ing a snow ##board .", "a man riding a snowboard."),
        ("a man ' s hat isn ' t here", "a man's hat isn't here"),
        ("black - and - white dogs , cats ( and birds ) !", "black-and-white dogs, cats (and birds)!"),
        ("the sign says \" stop \" and ' go '", "the sign says \"stop\" and 'go'"),
        ("##ing at 50 % off $ 3", "ing at 50% off $3"),
        ("a caf ##é – open", "a caf open"),
        ("", ""),
    ],
)
def test_wordpieces_become_text(pieces, text):
    assert join_wordpieces(pieces.split()) == text


def test_capital_first_letter():
    assert join_wordpieces(["a", "dog"], capitalize=True) == "A dog"

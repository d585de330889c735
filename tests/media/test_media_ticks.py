"""The sampling rule."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whenwhere.errors import InputError
from whenwhere.media.ticks import Ticks, Wishes


def chosen(wanted, times, length):
    kept = []
    for time in times:
        if wanted.over(time, length):
            break
        if wanted.wants(time, length):
            wanted.take(time, length)
            kept.append(time)
    return kept


def steady(rate, seconds):
    return [i / rate for i in range(int(rate * seconds))]


@pytest.mark.parametrize(
    ("source", "rate", "expected"),
    [
        (30, 2.0, [0.0, 0.5, 1.0, 1.5]),
        (25, 2.0, [0.0, 0.48, 1.0, 1.48]),  # 0.5 lies between 0.48 and 0.52, and counts for the earlier
        (4, 2.0, [0.0, 0.5, 1.0, 1.5]),
        (1, 2.0, [0.0, 1.0]),  # a slow source is not repeated
        (10, 100.0, steady(10, 2)),
        (10, 10.0, steady(10, 2)),
        (10, 0.5, [0.0]),
    ],
)
def test_rate(source, rate, expected):
    assert chosen(Ticks(rate), steady(source, 2), 1 / source) == pytest.approx(expected)


@given(source=st.floats(10, 120), rate=st.floats(0.1, 9), hours=st.integers(0, 1000))
def test_nothing_drifts(source, rate, hours):
    """However late it is, the k-th choice lies within half a source frame of k / rate."""
    start = math.ceil(hours * 3600 * rate) / rate
    first = math.floor(start * source)
    times = [(first + i) / source for i in range(200)]
    kept = chosen(Ticks(rate, start), times, 1 / source)
    for k, time in enumerate(kept):
        assert abs(time - (start + k / rate)) <= 0.5 / source + 1e-4


@given(
    steps=st.lists(st.floats(0.001, 3.0), min_size=1, max_size=50),
    rate=st.none() | st.floats(0.05, 200),
    start=st.floats(0, 20),
    length=st.floats(0, 5),
)
def test_any_source(steps, rate, start, length):
    """Choices increase, at most one per tick, none before the start by more than the leeway."""
    times = [sum(steps[:i]) for i in range(len(steps))]
    kept = chosen(Ticks(rate, start), times, length)
    assert all(a < b for a, b in zip(kept, kept[1:]))
    assert all(time >= start - 0.051 for time in kept)
    if rate is not None and kept:
        assert len(kept) <= (kept[-1] - start + 0.051) * rate + 1
    if rate is None:
        assert kept == [time for time in times if time + min(length / 2, 0.05) + 1e-6 >= start]


@given(
    steps=st.lists(st.floats(0.001, 2.0), min_size=1, max_size=40),
    cuts=st.lists(st.floats(0.01, 30), min_size=3, max_size=3, unique=True),
    length=st.floats(0, 3),
)
def test_neighbouring_ranges_share_no_picture_and_lose_none(steps, cuts, length):
    times = [sum(steps[:i]) for i in range(len(steps))]
    a, b, c = sorted(cuts)
    parts = chosen(Ticks(None, a, b), times, length) + chosen(Ticks(None, b, c), times, length)
    assert parts == chosen(Ticks(None, a, c), times, length)


def test_a_jump_in_time_costs_no_loop():
    """A picture one day later meets all the ticks before it at once."""
    ticks = Ticks(1000.0)
    assert chosen(ticks, [0.0, 86_400.0, 86_400.5], 0.001) == [0.0, 86_400.0, 86_400.5]
    assert ticks.next == pytest.approx(86_400.501, abs=1e-3)


def test_wishes_take_the_nearest_picture_once():
    assert chosen(Wishes([0.0, 0.44, 0.45, 1.0, 50.0]), steady(10, 2), 0.1) == [0.0, 0.4, 1.0]


@pytest.mark.parametrize(
    "arguments",
    [
        (0,),
        (-1.0,),
        (math.nan,),
        (math.inf,),
        (1.0, -1.0),
        (1.0, math.nan),
        (1.0, math.inf),
        (1.0, 2.0, 2.0),
        (1.0, 0.0, math.nan),
    ],
)
def test_wrong_arguments(arguments):
    with pytest.raises(InputError, match="expected"):
        Ticks(*arguments)


@pytest.mark.parametrize("times", [[-1.0], [1.0, 0.5], [math.nan], [math.inf]])
def test_wrong_wishes(times):
    with pytest.raises(InputError, match="finite seconds"):
        Wishes(times)

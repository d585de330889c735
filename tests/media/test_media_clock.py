"""Timestamps of every kind become times that are finite, start near zero and increase."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whenwhere.media.clock import MAX_JUMP, Clock

MS = Fraction(1, 1000)
STAMPS = st.none() | st.integers(-(2**63), 2**63 - 1) | st.integers(-1000, 100_000)


def placed(stamps, time_base=MS, length=0.1):
    clock = Clock(time_base, 0.1)
    for stamp in stamps:
        clock.note_packet(stamp)
        yield clock.place(stamp, length)


@given(stamps=st.lists(STAMPS, max_size=40), base=st.sampled_from([MS, Fraction(1, 90_000), Fraction(1), None]))
def test_times_increase_whatever_the_timestamps(stamps, base):
    times = [time for time in placed(stamps, base) if time is not None]
    assert all(math.isfinite(time) and time >= 0 for time in times)
    assert all(a < b for a, b in zip(times, times[1:]))
    assert all(b - a <= MAX_JUMP for a, b in zip(times, times[1:]))


@given(start=st.integers(-(10**9), 10**9), steps=st.lists(st.integers(1, 60_000), min_size=1, max_size=30))
def test_sound_timestamps_are_kept_to_the_bit(start, steps):
    stamps = [start]
    for step in steps:
        stamps.append(stamps[-1] + step)
    assert list(placed(stamps)) == [(stamp - start) / 1000 for stamp in stamps]


@pytest.mark.parametrize(
    ("stamps", "times"),
    [
        ([0, 100, 200], [0.0, 0.1, 0.2]),
        ([0, 100, 100, 200], [0.0, 0.1, None, 0.2]),  # two at one time: the first stays
        ([0, 200, 100, 300], [0.0, 0.2, None, 0.3]),  # out of order: the late one is left out
        ([0, None, None, 300], [0.0, 0.1, 0.2, 0.3]),  # missing: it follows the one before
        ([None, None, None], [0.0, 0.1, 0.2]),
        ([5000, 5100, 0, 100], [0.0, 0.1, 0.2, pytest.approx(0.3)]),  # the clock restarts: time goes on
        ([0, 100, 10**15, 10**15 + 100], [0.0, 0.1, 0.2, pytest.approx(0.3)]),  # it jumps beyond a day: likewise
        ([0, 100, 7_200_000], [0.0, 0.1, 7200.0]),  # two hours without a picture are believed
    ],
)
def test_rules(stamps, times):
    """First packets are noted one by one here, so the first picture is time zero."""
    clock = Clock(MS, 0.1)
    clock.note_packet(stamps[0])
    assert [clock.place(stamp, 0.1) for stamp in stamps] == times


def test_a_lost_beginning_keeps_its_length():
    """Packets that gave no picture count: the first picture that decodes is not time zero then."""
    clock = Clock(MS, 0.1)
    for stamp in (2000, 2100, 2500):
        clock.note_packet(stamp)
    assert clock.place(2500, 0.1) == 0.5
    assert clock.start == 2.0


def test_lengths_that_cannot_be_are_replaced_by_the_nominal_one():
    clock = Clock(MS, 0.04)
    assert clock.length(250) == 0.25
    assert clock.length(0) == clock.length(None) == clock.length(-5) == clock.length(10**12) == 0.04
    assert Clock(None, math.inf).length(5) == Clock(None, None).length(5) == Clock(None, 0.0).length(5) == 0.04

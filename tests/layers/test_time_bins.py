"""Seconds to time bins and back."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whenwhere.errors import InputError
from whenwhere.layers.time_bins import bins_to_seconds, seconds_to_bin

durations = st.floats(0.1, 1e5)
bin_counts = st.integers(2, 500)


def test_worked_numbers():
    events = [(0, 10), (8, 30), (50, 90), (0, 100)]
    assert [tuple(seconds_to_bin(t, 100, 64) for t in e) for e in events] == [(0, 6), (5, 18), (31, 56), (0, 63)]
    assert bins_to_seconds(5, 18, 100, 64, "reference") == (7, 28)
    assert bins_to_seconds(5, 18, 100, 64, "center") == pytest.approx((550 / 63, 1850 / 63))


def test_times_after_the_end_count_as_the_end():
    assert seconds_to_bin(130, 100, 64) == seconds_to_bin(100, 100, 64) == 63


@settings(deadline=None)
@given(duration=durations, n_bins=bin_counts, share=st.floats(0, 1))
def test_center_is_at_most_half_a_bin_wrong(duration, n_bins, share):
    seconds = share * duration
    found, _ = bins_to_seconds(seconds_to_bin(seconds, duration, n_bins), n_bins, duration, n_bins)
    assert abs(found - seconds) <= 0.5 * duration / (n_bins - 1) * (1 + 1e-9)


@settings(deadline=None)
@given(duration=durations, n_bins=bin_counts, share=st.floats(0, 1))
def test_reference_is_early_by_at_most_a_bin_and_a_second(duration, n_bins, share):
    seconds = share * duration
    found, _ = bins_to_seconds(seconds_to_bin(seconds, duration, n_bins), 0, duration, n_bins, "reference")
    assert -1e-9 * duration <= seconds - found <= duration / (n_bins - 1) * (1 + 1e-9) + 1


@settings(deadline=None)
@given(duration=durations, n_bins=bin_counts, data=st.data())
def test_center_decoding_and_encoding_again_gives_the_bin_back(duration, n_bins, data):
    start = data.draw(st.integers(0, n_bins - 1))
    end = data.draw(st.integers(0, n_bins - 1).filter(lambda b: b != start))
    seconds = bins_to_seconds(start, end, duration, n_bins)
    assert tuple(seconds_to_bin(t, duration, n_bins) for t in seconds) == (start, end)


def test_an_event_within_one_bin_does_not_vanish():
    assert bins_to_seconds(3, 3, 63, 64) == (3, 4)
    assert bins_to_seconds(63, 63, 63, 64) == (63, 63)  # the last bin is the last instant


@pytest.mark.parametrize(
    "arguments", [(-1, 10, 64), (float("nan"), 10, 64), (1, 0, 64), (1, float("inf"), 64), (1, 10, 1)]
)
def test_bad_numbers_are_refused(arguments):
    with pytest.raises(InputError):
        seconds_to_bin(*arguments)

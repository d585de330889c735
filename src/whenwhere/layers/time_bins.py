"""Seconds to time bins and back: the arithmetic behind time tokens."""

from __future__ import annotations

import math
from typing import Literal

from whenwhere.errors import InputError

BinDecoding = Literal["reference", "center"]


def seconds_to_bin(seconds: float, duration: float, n_bins: int) -> int:
    """Return ``floor(min(t, duration) / duration * (n_bins - 1))``, the bin of a time.

    Args:
        seconds: time from the start of the span, >= 0; later than its end counts as its end.
        duration: length of the span in seconds, > 0.
        n_bins: bins, >= 2; the last one is reached by the end of the span alone.

    Returns:
        A bin in 0 .. n_bins - 1.

    Raises:
        InputError: an argument is out of range.
    """
    if not duration > 0 or not math.isfinite(duration) or n_bins < 2:
        raise InputError(f"a span of {duration:g} s in {n_bins} bins", "a positive, finite span and at least 2 bins")
    if not seconds >= 0:
        raise InputError(f"a time of {seconds:g} s", "a time not before the start of the span")
    return math.floor(min(seconds, duration) / duration * (n_bins - 1))


def bins_to_seconds(
    start: int, end: int, duration: float, n_bins: int, decoding: BinDecoding = "center"
) -> tuple[float, float]:
    """Return the times that two bins stand for.

    ``reference`` is the public code's ``int(bin * duration / (n_bins - 1))``: up to a bin and a second early.
    ``center`` takes the middle of the times that :func:`seconds_to_bin` puts into the bin, at most half a bin wrong;
    an event that begins and ends in one bin gets that bin's two edges, so that it does not vanish.

    Args:
        start: bin of the start.
        end: bin of the end; may be below ``start``, the times then are in that order too.
        duration: length of the span in seconds.
        n_bins: bins of the span.
        decoding: which of the two forms.

    Returns:
        (start, end) in seconds from the start of the span, each in 0 .. duration.
    """
    if decoding == "reference":
        return float(int(start * duration / (n_bins - 1))), float(int(end * duration / (n_bins - 1)))
    width = duration / (n_bins - 1)
    if start == end:
        return min(start * width, duration), min((end + 1) * width, duration)
    return min((start + 0.5) * width, duration), min((end + 0.5) * width, duration)

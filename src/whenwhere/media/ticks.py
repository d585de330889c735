"""Which of the pictures that a decoder gives shall be kept: the sampling rule, free of files and codecs.

The rule: a wish for time T is met by the first picture at or after T, where a picture counts from half its own length
before its time, at most 0.05 s. For a steady frame rate of 10 or more that is the picture nearest to T; for any source
it means that
- the time handed on is the picture's real time, never T;
- one picture meets every wish it covers, so a slow source is not repeated;
- wishes are computed as k / rate from the start, so nothing drifts however long the video is;
- the pictures of [a, b) and of [b, c) are those of [a, c), none twice and none lost.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from whenwhere.errors import InputError

_MOST_EARLY = 0.05  # seconds; a still that is shown for long must not count from long before its time
_ROUNDING = 1e-6  # seconds; below any container's clock step, above float error in k / rate


class Ticks:
    """Wishes at start, start + 1/rate, start + 2/rate, ... before `end`; without a rate every picture is wished for.

    Args:
        rate: wishes per second, above zero, or None for every picture.
        start: seconds, 0 or more.
        end: seconds, above `start`, or None for the whole video.

    Raises:
        InputError: on a value that is not finite or out of range.
    """

    def __init__(self, rate: float | None, start: float = 0.0, end: float | None = None) -> None:
        if rate is not None and not (math.isfinite(rate) and rate > 0):
            raise InputError(f"rate={rate}", "frames per second above zero, or None for every frame")
        if not (math.isfinite(start) and start >= 0):
            raise InputError(f"start={start}", "seconds, 0 or more")
        if end is not None and (math.isnan(end) or end <= start):
            raise InputError(f"end={end}", f"seconds after start={start}, or None for the whole video")
        self.rate, self.start = rate, start
        self.end = math.inf if end is None else end
        self.next = start

    def wants(self, time: float, length: float) -> bool:
        """Say whether the picture at `time` that lasts `length` seconds meets the next wish."""
        return time + self._half(length) >= self.next

    def take(self, time: float, length: float) -> None:
        """Move on to the first wish that the picture does not meet."""
        shown = time + self._half(length)
        self.next = time if self.rate is None else self.start + self._tick_after(shown) / self.rate

    def over(self, time: float, length: float) -> bool:
        """Say whether the picture at `time` is already behind the range, so that reading can stop."""
        return time + self._half(length) >= self.end

    def _half(self, length: float) -> float:
        half_tick = math.inf if self.rate is None else 0.5 / self.rate
        return min(_half(length), half_tick) + _ROUNDING

    def _tick_after(self, time: float) -> int:
        assert self.rate is not None
        tick = math.floor((time - self.start) * self.rate) + 1
        # floating point may land on either side of an exact tick; the wish must be strictly later than `time`
        return tick if self.start + tick / self.rate > time else tick + 1


class Wishes:
    """A list of wished times, in order; same interface as `Ticks`.

    Args:
        times: seconds, 0 or more, not decreasing.

    Raises:
        InputError: on a time that is not finite, negative or earlier than the one before.
    """

    def __init__(self, times: Sequence[float]) -> None:
        self.times = [float(t) for t in times]
        for before, time in zip([0.0, *self.times], self.times):
            if not math.isfinite(time) or time < before:
                raise InputError(f"times={self.times[:8]}", "finite seconds, 0 or more, in order")
        self._at = 0

    @property
    def next(self) -> float:
        return self.times[self._at] if self._at < len(self.times) else math.inf

    def wants(self, time: float, length: float) -> bool:
        """See `Ticks.wants`."""
        return time + self._half(length) >= self.next

    def take(self, time: float, length: float) -> None:
        """See `Ticks.take`."""
        while self.next <= time + self._half(length):
            self._at += 1

    def over(self, time: float, length: float) -> bool:
        """See `Ticks.over`."""
        return self._at >= len(self.times)

    @staticmethod
    def _half(length: float) -> float:
        return _half(length) + _ROUNDING


def _half(length: float) -> float:
    return min(max(length, 0.0) / 2, _MOST_EARLY)

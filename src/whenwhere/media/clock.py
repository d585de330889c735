"""Presentation timestamps to seconds, whatever the timestamps are like.

A container's pts are integers in its own clock. They may be missing, repeated, run backwards, start anywhere and jump.
Out of them comes one promise: times are finite, start near zero and strictly increase.
"""

from __future__ import annotations

from fractions import Fraction

MAX_JUMP = 86_400.0  # seconds; a step beyond one day is a broken or restarted clock, not a long still picture
RESTART = 0.5  # seconds, or four pictures; a step back further than that is a restarted clock, not a wrong order
FALLBACK_LENGTH = 0.04  # seconds; for a picture of which neither packet nor container says how long it lasts


class Clock:
    """Turns pts into seconds for one stream.

    Args:
        time_base: seconds per pts unit, or None when the container has none (pts are then ignored).
        nominal: the container's mean seconds per frame, or None; used only for pictures without a length of their own.
    """

    def __init__(self, time_base: Fraction | None, nominal: float | None) -> None:
        valid = time_base is not None and time_base > 0
        self._num, self._den = (time_base.numerator, time_base.denominator) if valid and time_base else (0, 1)
        self._nominal = nominal if nominal is not None and 0 < nominal <= MAX_JUMP else FALLBACK_LENGTH
        self._least: int | None = None  # smallest pts of a packet before the first picture
        self._first: int | None = None  # pts of time zero
        self.origin: int | None = None  # the same, and after a jump of the clock the pts of the picture at `_shift`
        self._shift = 0.0  # seconds at `origin`
        self.last: float | None = None  # time of the last picture
        self.ends = 0.0  # time at which the last picture ends
        self.jumped = False

    @property
    def start(self) -> float:
        """Time zero in the container's own clock, in seconds."""
        return 0.0 if self._first is None else self._first * self._num / self._den

    def note_packet(self, pts: int | None) -> None:
        """Remember where the stream begins, so that a head that cannot be decoded keeps its length."""
        if self.origin is None and pts is not None and (self._least is None or pts < self._least):
            self._least = pts

    def seconds(self, pts: int | None) -> float | None:
        """Return the time that a pts stands for, or None when it is missing or time zero is not known yet."""
        if pts is None or self.origin is None or self._num == 0:
            return None
        return (pts - self.origin) * self._num / self._den + self._shift

    def pts(self, seconds: float) -> int | None:
        """Return the pts of a time, or None when the clock cannot be turned round."""
        if self.origin is None or self._num == 0 or self.jumped:
            return None
        return self.origin + round(seconds * self._den / self._num)

    def length(self, duration: int | None) -> float:
        """Return how long a picture lasts in seconds: its own statement where there is a sane one."""
        stated = (duration or 0) * self._num / self._den
        return stated if 0 < stated <= MAX_JUMP else self._nominal

    def place(self, pts: int | None, length: float) -> float | None:
        """Return the time of the next picture in order of presentation.

        Args:
            pts: its timestamp, or None when it has none: it then follows the picture before it.
            length: how long it lasts, in seconds.

        Returns:
            Seconds, later than that of every picture before, or None for a picture to leave out because its time
            was already taken.
        """
        if self.origin is None:
            self._begin(pts)
        time = self.seconds(pts)
        if time is None:
            time = self.ends
        elif self.last is not None:
            if time < self.last - max(RESTART, 4 * length) or time > self.last + MAX_JUMP:
                self.origin, self._shift, self.jumped = pts, self.ends, True
                time = self.ends
            elif time <= self.last:
                return None
        self.last, self.ends = time, time + length
        return time

    def forget(self) -> None:
        """Forget the last picture, because the reader jumped to another place on the same clock."""
        self.last = None

    def _begin(self, pts: int | None) -> None:
        if pts is None:
            return
        least = pts if self._least is None else min(self._least, pts)
        near = (pts - least) * self._num <= MAX_JUMP * self._den
        self.origin = self._first = least if near else pts

"""What a description is asked to do, and what it took."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from whenwhere.errors import InputError

_MOST_RATE = 1000.0  # frames a second
_LONGEST_INTERVAL = 86_400.0  # seconds


@dataclass(frozen=True)
class DescribeOptions:
    """What of a video is described, and how closely.

    Attributes:
        rate: frames a second that are looked at.
        interval: seconds between decoding points, at which events become known; None takes the model's own.
        memory: K, tokens that the memory keeps; None takes the model's own.
        start, end: seconds of the part to describe; None for the end of the video.
        group: frames that are encoded together; a group never reaches over a decoding point. On a CPU more than one
            takes much more memory and saves little time.
        longest_gap: seconds of video that may be lost between two frames; where more is lost, what was going on ends
            and the memory starts afresh, so that nothing is told across what was not seen.

    Raises:
        InputError: a number is out of range.
    """

    rate: float = 2.0
    interval: float | None = None
    memory: int | None = None
    start: float = 0.0
    end: float | None = None
    group: int = 1
    longest_gap: float = 2.0

    def __post_init__(self) -> None:
        if not 0 < self.rate <= _MOST_RATE:
            raise InputError(f"a rate of {self.rate:g} frames a second", f"a number above zero, at most {_MOST_RATE:g}")
        if self.interval is not None and not 0 < self.interval <= _LONGEST_INTERVAL:
            expected = f"seconds above zero, at most {_LONGEST_INTERVAL:g}"
            raise InputError(f"an interval of {self.interval:g} seconds", expected)
        if self.memory is not None and self.memory < 1:
            raise InputError(f"a memory of {self.memory} tokens", "1 token or more")
        if not 0 <= self.start < math.inf or (self.end is not None and not self.start < self.end < math.inf):
            raise InputError(
                f"a part from {self.start:g} to {self.end} seconds", "0 <= start < end, and no end for all that follows"
            )
        if self.group < 1 or not self.longest_gap >= 0:
            raise InputError(f"group {self.group}, longest gap {self.longest_gap:g} s", "at least 1 frame and 0 s")


@dataclass
class DescribeStats:
    """Where a run stands and what it took. Decoding has a thread of its own and overlaps the rest.

    Attributes:
        position: seconds of media described, from its beginning.
        start: seconds at which the description began.
        duration: seconds of the media as far as known, or None.
        frames, events: counts so far.
        wall: seconds that all of it took.
        decode, encoder, memory, decoder: seconds spent on reading pictures, turning them into tokens, remembering them,
            and writing text.
        waiting: seconds for which the others waited for a picture.
        rss, peak_rss: bytes of memory of this process, now and at most since the run began.
    """

    position: float = 0.0
    start: float = 0.0
    duration: float | None = None
    frames: int = 0
    events: int = 0
    wall: float = 0.0
    decode: float = 0.0
    encoder: float = 0.0
    memory: float = 0.0
    decoder: float = 0.0
    waiting: float = 0.0
    rss: int = 0
    peak_rss: int = 0

    @property
    def speed(self) -> float:
        """Seconds of media a second: 1 keeps up with a live source. 0 before anything was done."""
        return (self.position - self.start) / self.wall if self.wall > 0 else 0.0

    @contextmanager
    def timing(self, part: str) -> Iterator[None]:
        """Add the seconds inside the ``with`` block to a part."""
        began = time.perf_counter()
        try:
            yield
        finally:
            setattr(self, part, getattr(self, part) + time.perf_counter() - began)

"""A small picture for every event of a stream, found without going back in the video."""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING

from whenwhere.results import Event

if TYPE_CHECKING:
    from whenwhere.media import Frame

_APART = 0.45  # seconds; closer frames look alike
_MOST_BYTES = 32_000_000  # of the latest pictures
_SLACK = 0.75  # seconds by which a picture may lie outside its event
_MOST = 1000  # pictures kept; a report with more of them would be too heavy to open


class Pictures:
    """Keeps the latest frames as small JPEGs, and for each event the one nearest to its middle.

    Works on pipes as on files, and takes a few kilobytes an event. Of a video with more than a thousand events every
    other picture is dropped, as often as it takes. Where the latest frames come to more than 32 MB, every other one is
    dropped and they are taken half as often from then on: an event that is shorter than that may get no picture.

    Args:
        width: pixels.
        reach: seconds that an event may lie back when it becomes known; pictures older than that are dropped.
        most_bytes: of the latest frames' pictures.

    Attributes:
        kept: JPEG file contents by the id of the event.
    """

    def __init__(self, width: int = 240, *, reach: float = math.inf, most_bytes: int = _MOST_BYTES) -> None:
        self._width, self._reach, self._most_bytes = width, reach, most_bytes
        self._apart, self._bytes = _APART, 0
        self._ring: deque[tuple[float, bytes]] = deque()
        self._every = 1
        self.kept: dict[int, bytes] = {}

    def see(self, frame: Frame) -> None:
        """Take the next frame of the video."""
        if self._ring and 0 <= frame.time - self._ring[-1][0] < self._apart:
            return
        from whenwhere.media import thumbnail

        self._ring.append((frame.time, thumbnail(frame, self._width, quality=72)))
        self._bytes += len(self._ring[-1][1])
        while frame.time - self._ring[0][0] > self._reach + _SLACK:
            self._bytes -= len(self._ring.popleft()[1])
        if self._bytes > self._most_bytes and len(self._ring) > 2:
            self._ring = deque(list(self._ring)[-1::-2][::-1])  # the latest stays
            self._bytes = sum(len(picture) for _, picture in self._ring)
            self._apart *= 2

    def keep(self, event: Event) -> None:
        """Keep the picture of an event that has just become known; an event without an id gets none."""
        if event.id is None or event.id % self._every or not self._ring:
            return
        middle = (event.start + event.end) / 2
        time, picture = min(self._ring, key=lambda seen: abs(seen[0] - middle))
        if event.start - _SLACK <= time <= event.end + _SLACK:
            self.kept[event.id] = picture
        if len(self.kept) > _MOST:
            self._every *= 2
            self.kept = {number: jpeg for number, jpeg in self.kept.items() if number % self._every == 0}

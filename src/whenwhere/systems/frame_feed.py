"""Frames of a video, decoded in a thread of their own a few ahead of their use."""

from __future__ import annotations

import math
import queue
import threading
import time
from typing import NamedTuple

from whenwhere.errors import InputError
from whenwhere.media import Frame, Reader
from whenwhere.results import Gap

_PATIENCE = 2.0  # seconds that closing waits for a reader that is stuck in a read, such as on a silent pipe


class Decoded(NamedTuple):
    """A frame and what the reader knew when it gave it.

    Attributes:
        frame: the frame.
        ends: seconds of media decoded by then, the end of this picture.
        gaps: what could not be decoded before it.
    """

    frame: Frame
    ends: float
    gaps: tuple[Gap, ...]


class FrameFeed:
    """Decodes in a thread, at most ``depth`` frames ahead, so that decoding runs while the last frames are described.

    Args:
        video: read by this feed alone, and closed by it.
        rate, start, end, size: which frames; see :meth:`whenwhere.media.Video.frames`.
        depth: decoded frames that may wait.

    Attributes:
        seconds: spent decoding so far, on the clock on the wall.
        position: seconds of media decoded so far.
        duration: what is known of the media's length.
        gaps: parts of the media that could not be decoded; complete at the end.
    """

    def __init__(
        self, video: Reader, rate: float, start: float, end: float | None, size: int | None, depth: int = 4
    ) -> None:
        self._video, self._rate, self._start, self._end, self._size = video, rate, start, end, size
        self._after = -math.inf
        self._queue: queue.Queue[Decoded | BaseException | None] = queue.Queue(depth)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._over = False
        self.seconds = self.position = 0.0
        self.duration = video.duration
        self.gaps: tuple[Gap, ...] = ()

    def resume_after(self, last: float) -> None:
        """Begin with the frame that an uninterrupted feed would give after one at ``last`` seconds.

        Raises:
            InputError: frames were already asked for.
        """
        if self._thread is not None:
            raise InputError("a stream that has begun cannot go back", "a new one")
        self._after = last
        if self._video.seekable:
            # The first wish later than that frame. The frame may meet it too and is then given again, to be dropped.
            tick = max(0, math.floor((last - self._start) * self._rate) + 1)
            if self._end is not None and self._start + tick / self._rate >= self._end:
                tick -= 1  # nothing is left; a range must not be empty
            self._start += tick / self._rate

    def get(self) -> Decoded | None:
        """Wait for the next frame and return it; None at the end.

        Raises:
            MediaError: the reader's own error.
        """
        if self._over:
            return None
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="whenwhere-decode", daemon=True)
            self._thread.start()
        found = self._queue.get()
        if isinstance(found, Decoded):
            return found
        self._over = True
        if found is not None:
            raise found
        return None

    def close(self) -> None:
        """Stop decoding and close the video. Closing twice is allowed."""
        self._over = True
        self._stop.set()
        thread, until = self._thread, time.monotonic() + _PATIENCE
        while thread is not None and thread.is_alive() and time.monotonic() < until:
            self._drain()  # the thread may be waiting for room
            thread.join(0.02)
        if thread is None or not thread.is_alive():  # else it still reads, and ends with the process
            self._video.close()

    def _drain(self) -> None:
        try:
            while True:
                self._queue.get_nowait()
        except queue.Empty:
            pass

    def _run(self) -> None:
        try:
            self._decode()
        except BaseException as error:  # handed to whoever waits for a frame, and raised there
            self._queue.put(error)
        else:
            self._queue.put(None)

    def _decode(self) -> None:
        began = time.perf_counter()
        frames = self._video.frames(self._rate, self._start, self._end, self._size)
        while not self._stop.is_set():
            frame = next(frames, None)
            now = time.perf_counter()
            self.seconds += now - began
            self.position, self.gaps = self._video.position, tuple(self._video.gaps)
            self.duration = self._video.duration
            if frame is None:
                return
            if frame.time > self._after:
                self._queue.put(Decoded(frame, self.position, self.gaps))
            began = time.perf_counter()

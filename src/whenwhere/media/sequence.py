"""Numbered images as a video."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from types import TracebackType

import numpy as np
from PIL import Image

from whenwhere.errors import MediaError
from whenwhere.media.geometry import short_side
from whenwhere.media.images import probe_image, read_image
from whenwhere.media.records import Frame, Limits, MediaInfo
from whenwhere.media.sources import Source
from whenwhere.media.ticks import Ticks, Wishes
from whenwhere.results import Gap


class ImageSequence:
    """A folder or pattern of numbered images, read like a `Video`. Made by `open_video`.

    The number in a name gives the time: (number - first number) / step / rate, with the smallest step between two
    numbers. A missing number and an image that cannot be read are gaps. Images of another size are scaled to the first.

    Raises:
        MediaError: on opening, when none of the images can be read.
    """

    def __init__(self, source: Source, limits: Limits) -> None:
        self._source, self._limits = source, limits
        numbers = source.numbers
        self._step = min((b - a for a, b in zip(numbers, numbers[1:])), default=1)
        self._length = 1.0 / source.rate
        self._times = [(n - numbers[0]) / self._step / source.rate for n in numbers]
        self.duration: float = self._times[-1] + self._length
        self.gaps: list[Gap] = []
        self.position = 0.0
        self._info = self._describe()

    seekable = True

    @property
    def info(self) -> MediaInfo:
        """Of the first image that can be opened, with the length of the whole sequence."""
        return self._info

    def frames(
        self, rate: float | None = None, start: float = 0.0, end: float | None = None, size: int | None = None
    ) -> Iterator[Frame]:
        """See `Video.frames`. An image that is not wished for is not read."""
        return self._frames(Ticks(rate, start, end), *self._size(size))

    def frames_at(self, times: Sequence[float], size: int | None = None) -> Iterator[Frame]:
        """See `Video.frames_at`."""
        return self._frames(Wishes(times), *self._size(size))

    def close(self) -> None:
        """Do nothing: no file stays open between two images."""

    def __enter__(self) -> ImageSequence:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _frames(self, wanted: Ticks | Wishes, width: int, height: int) -> Iterator[Frame]:
        self.gaps, self.position = [], 0.0
        index = read = 0
        for time, path in zip(self._times, self._source.images):
            if wanted.over(time, self._length):
                return
            if time - self.position > self._length / 2:
                self._mark(self.position, time, "images are missing")
            if self._stopped(read, time):
                return
            if wanted.wants(time, self._length):
                read += 1
                try:
                    pixels = _scaled(read_image(path, limits=self._limits), width, height)
                except MediaError as error:
                    self._mark(time, time + self._length, str(error))
                    self.position = time + self._length
                    continue
                wanted.take(time, self._length)
                self.position = time + self._length
                yield Frame(index, time, pixels)
                index += 1
            self.position = time + self._length

    def _stopped(self, read: int, time: float) -> bool:
        limits = self._limits
        for over, words in (
            (limits.max_frames is not None and read >= limits.max_frames, f"{limits.max_frames} frames"),
            (limits.max_seconds is not None and time >= limits.max_seconds, f"{limits.max_seconds} seconds"),
        ):
            if over:
                self._mark(time, self.duration, f"stopped at the limit of {words}")
                return True
        return False

    def _mark(self, start: float, end: float, why: str) -> None:
        if self.gaps and start - self.gaps[-1].end < 1e-6:
            start = self.gaps.pop().start
        self.gaps.append(Gap(start, end, why))

    def _describe(self) -> MediaInfo:
        error: MediaError | None = None
        for path in self._source.images:
            try:
                first = probe_image(path, limits=self._limits)
            except MediaError as problem:
                error = error or problem
                continue
            count = len(self._source.images)
            return replace(
                first,
                path=self._source.name,
                kind="video",
                duration=self.duration,
                rate=self._source.rate,
                frames_claimed=count,
                container="images",
            )
        assert error is not None
        raise MediaError(f"{self._source.name}: none of its images can be read", str(error))

    def _size(self, size: int | None) -> tuple[int, int]:
        return short_side(self._info.width, self._info.height, size, self._limits.max_image_pixels)


def _scaled(pixels: np.ndarray, width: int, height: int) -> np.ndarray:
    """Return uint8 (height, width, 3)."""
    if pixels.shape[:2] == (height, width):
        return pixels
    return np.array(Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC, reducing_gap=2.0))

"""A video as an iterator of frames: rate, range and size on top of the decoder, seeking where that saves work."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from types import TracebackType

from av.container import InputContainer
from av.video.stream import VideoStream

from whenwhere.errors import InputError, MediaError
from whenwhere.media.bytestream import ByteStream
from whenwhere.media.clock import Clock
from whenwhere.media.container import AV_ERRORS, finite, index_out_of_reach, open_container, video_stream
from whenwhere.media.decoder import Decoder, Picture
from whenwhere.media.geometry import Converter, Turn, short_side, turn_of
from whenwhere.media.records import Frame, Limits, MediaInfo
from whenwhere.media.sources import Source
from whenwhere.media.ticks import Ticks, Wishes
from whenwhere.results import Gap

_MOST_SECONDS = 3.2e8  # ten years; a header that claims more is not believed
_MOST_RATE = 1000.0  # frames per second; likewise
_WORTH_SEEKING = 1.0  # seconds of pictures that a seek must save: it empties the decoder's threads
_KEY_MARGIN = 0.5  # seconds; an index holds decoding times, which run ahead of presentation times by a few pictures
_BLIND_SEEK = 3.0  # seconds; a longer leap is tried once in a Matroska file, whose index is read by the first seek


class Video:
    """A video file or stream, read one picture at a time. Made by `open_video`; use it as a context manager.

    Opening decodes the first picture, so that a file which cannot be used fails here and `info` tells the truth about
    the size. `frames` may be called again on a file (it starts over), once on a pipe.

    A video that changes its frame size midway is scaled to the size of its first picture, so that boxes stay
    comparable. Pixels that are not square stay as stored.

    Raises:
        MediaError: on opening, when nothing can be decoded within the limits.
    """

    def __init__(self, source: Source, limits: Limits, *, keep_damaged: bool = False) -> None:
        self._source, self._limits, self._keep_damaged = source, limits, keep_damaged
        self._converter = Converter()
        self._container: InputContainer | None = None
        self._bytes: ByteStream | None = None
        self.seekable = source.kind == "file"
        self._run = 0  # number of the current iteration; an older one that is continued stops
        self._may_seek = self.seekable
        self._index_read = False
        self._leapt_to: float | None = None
        self._current: Picture | None = None
        self._open()
        frame = self._first().frame
        self._turn: Turn = turn_of(frame)
        stored: tuple[int, int] = (frame.width, frame.height)
        self._width, self._height = stored[::-1] if self._turn.transpose else stored
        self._info: MediaInfo = self._describe()

    @property
    def info(self) -> MediaInfo:
        """What is known about the video, sizes taken from its first picture."""
        return self._info

    @property
    def gaps(self) -> list[Gap]:
        """Parts that the current iteration could not decode, in order of time, adjoining ones joined."""
        return list(self._decoder.gaps)

    @property
    def position(self) -> float:
        """Seconds up to which the current iteration has decoded."""
        return self._decoder.position

    @property
    def duration(self) -> float | None:
        """Length in seconds: measured (gaps included) once the end was reached, until then the container's claim."""
        measured = max([self._decoder.position, *(gap.end for gap in self._decoder.gaps)])
        if self._decoder.ended:
            return measured
        return None if self._info.duration is None else max(measured, self._info.duration)

    def frames(
        self, rate: float | None = None, start: float = 0.0, end: float | None = None, size: int | None = None
    ) -> Iterator[Frame]:
        """Iterate over frames in order of time, one in memory at a time.

        Args:
            rate: frames per second of video, or None for every frame. The rule of choice is in `media.ticks`: for
                each k the picture nearest to start + k / rate, with its own time, none twice.
            start, end: seconds; pictures of [start, end) are given, those of None to the end.
            size: pixels of the shorter side, or None for the size of the video.

        Yields:
            Frames with strictly increasing times.

        Raises:
            InputError: on values out of range, or on a pipe that was already read.
            MediaError: when `size` makes pictures above the limit.
        """
        return self._iterate(Ticks(rate, start, end), size)

    def frames_at(self, times: Sequence[float], size: int | None = None) -> Iterator[Frame]:
        """Iterate over the pictures nearest to `times` (seconds, not decreasing); one nearest to two is given once.

        Raises:
            InputError: see `frames`.
        """
        return self._iterate(Wishes(times), size)

    def close(self) -> None:
        """Let go of the file. Closing twice is allowed."""
        self._run += 1
        self._release()

    def __enter__(self) -> Video:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _release(self) -> None:
        self._current = None
        if self._container is not None:
            self._container.close()
            self._container = None
        if self._bytes is not None:
            self._bytes.close()
            self._bytes = None

    def _open(self) -> None:
        """(Re)open the container and decode the first picture."""
        self._release()
        self._index_read = False
        self._container, self._bytes = open_container(self._source)
        try:
            stream = video_stream(self._container, self._source, self._limits)
            rate = finite(stream.average_rate, _MOST_RATE)
            self._clock = Clock(stream.time_base, 1 / rate if rate else None)
            self._stream = stream
            self._claimed = _claimed_end(self._container, stream)
            self._decoder = Decoder(
                self._container,
                stream,
                self._clock,
                self._limits,
                claimed_end=self._claimed,
                keep_damaged=self._keep_damaged,
                failure=lambda: self._bytes.failure if self._bytes is not None else "",
            )
            self._current = self._decoder.read()
            self._fresh = True
            self._first()
        except BaseException:
            self.close()
            raise

    def _iterate(self, wanted: Ticks | Wishes, size: int | None) -> Iterator[Frame]:
        width, height = short_side(self._width, self._height, size, self._limits.max_pixels)
        if not self._fresh and not self.seekable:
            raise InputError(f"{self._source.name} was already read", "a file, or one pass over a pipe")
        if self._container is None:
            raise InputError(f"{self._source.name} is closed", "an open video")
        if not self._fresh:
            self._open()
        self._fresh = False
        self._run += 1
        return self._frames(wanted, width, height, self._run)

    def _frames(self, wanted: Ticks | Wishes, width: int, height: int, run: int) -> Iterator[Frame]:
        index = 0
        self._decoder.begin()
        self._leap(wanted.next)
        while run == self._run and wanted.next < math.inf and self._advance():
            assert self._current is not None
            time, length = self._current.time, self._current.length
            if wanted.over(time, length):
                self._current = None
                return
            if wanted.wants(time, length):
                wanted.take(time, length)
                yield self._render(index, width, height)
                index += 1
                if run == self._run:
                    self._leap(wanted.next)
            else:
                self._current = None

    def _advance(self) -> bool:
        """Make the next picture the current one; after a seek that missed start over, and never seek again."""
        if self._current is None:
            self._current = self._decoder.read()
        target, self._leapt_to = self._leapt_to, None
        if target is not None and (self._current is None or self._current.time > target + self._current.length):
            self._may_seek = False
            self._open()
        return self._current is not None

    def _render(self, index: int, width: int, height: int) -> Frame:
        """Convert the current picture and let go of it, so that only the result is alive while the caller works."""
        picture, self._current = self._current, None
        assert picture is not None
        try:
            pixels = self._converter.rgb(picture.frame, self._turn, width, height)
        except AV_ERRORS as error:
            raise MediaError(
                f"{self._source.name} has pictures of format {picture.frame.format.name}, which cannot be converted",
                "a common pixel format (yuv420p, rgb24, ...)",
            ) from error
        return Frame(index, picture.time, pixels)

    def _leap(self, target: float) -> None:
        """Seek to the key frame before `target`, if there is one ahead that saves decoding more than it costs."""
        if not self._may_seek or not target - self._decoder.position > _WORTH_SEEKING or target > _MOST_SECONDS:
            return
        key = self._key_frame_before(target)
        if key is None:
            return
        self._current = None
        self._leapt_to = target
        if not self._decoder.seek(key):
            self._may_seek = False
            self._open()

    def _key_frame_before(self, target: float) -> int | None:
        """Return the pts to seek to, from the container's index, or None when decoding on is as good."""
        assert self._container is not None
        pts = self._clock.pts(target - max(_KEY_MARGIN, 4 * self._clock.length(None)))
        if pts is None:
            return None
        ahead = target - self._decoder.position
        if self._container.format.name.startswith("matroska") and not self._index_read:
            self._index_read = ahead > _BLIND_SEEK
            return pts if self._index_read else None
        entries = self._stream.index_entries
        at = entries.search_timestamp(pts, backward=True) if len(entries) else -1
        if at < 0 or not entries[at].is_keyframe:
            return None
        key = self._clock.seconds(entries[at].timestamp) or 0.0
        return pts if key - self._decoder.position > _WORTH_SEEKING else None

    def _describe(self) -> MediaInfo:
        assert self._container is not None
        stream, container = self._stream, self._container
        whole = finite((container.duration or 0) / 1e6, _MOST_SECONDS)
        seconds = self._claimed if self._claimed is not None else whole
        return MediaInfo(
            path=self._source.name,
            kind="video",
            width=self._width,
            height=self._height,
            rotation=self._turn.degrees,
            duration=seconds,
            rate=finite(stream.average_rate, _MOST_RATE),
            frames_claimed=stream.frames if stream.frames > 0 else None,
            codec=stream.codec_context.codec.canonical_name,
            has_audio=bool(container.streams.audio),
            container=container.format.name,
            start=self._clock.start,
        )

    def _first(self) -> Picture:
        """Return the picture that opening decoded, or say why there is none."""
        if self._current is not None:
            return self._current
        why = self._decoder.trouble
        if self._container is not None and self._container.format.name.startswith("mov") and not self.seekable:
            raise index_out_of_reach(self._source.name)
        raise MediaError(
            f"{self._source.name}: no picture of its {self._stream.codec_context.name} stream can be decoded"
            + (f" ({why})" if why else ""),
            f"undamaged pictures of at most {self._limits.max_pixels:,} pixels",
        )


def _claimed_end(container: InputContainer, stream: VideoStream) -> float | None:
    """Return the seconds claimed for the video stream itself; the container's length may be that of the sound."""
    tag = re.fullmatch(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)", stream.metadata.get("DURATION", ""))
    if tag:
        return finite(int(tag[1]) * 3600 + int(tag[2]) * 60 + float(tag[3]), _MOST_SECONDS)
    others = len(container.streams.audio) + len(container.streams.video) > 1
    shared = container.format.name.startswith(("matroska", "flv"))  # these have one length for all streams
    if shared and others:
        return None
    if stream.duration and stream.time_base:
        return finite(float(stream.duration * stream.time_base), _MOST_SECONDS)
    return None if others else finite((container.duration or 0) / 1e6, _MOST_SECONDS)

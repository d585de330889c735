"""Frames to a video file that any player opens, whole or not at all: H.264, or motion JPEG for AVI."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import av.error
import numpy as np
from av.container import OutputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from whenwhere.errors import InputError
from whenwhere.media.container import reason
from whenwhere.media.images import check_pixels
from whenwhere.media.opening import open_video
from whenwhere.media.records import Frame, Limits
from whenwhere.media.sources import SourceLike

_FORMATS = {".mp4": "mp4", ".mov": "mov", ".mkv": "matroska", ".avi": "avi"}
_FREE_CLOCK = 90_000  # ticks per second where the times are free
_MOST_RATE = 1000.0
_BT709 = 1
_BT601 = 5


def write_video(
    path: str | os.PathLike[str],
    frames: Iterable[np.ndarray | Frame],
    rate: float | None = None,
    *,
    times: Iterable[float] | None = None,
    quality: int = 20,
    reproducible: bool = False,
) -> int:
    """Write H.264, yuv420p, BT.709, with the index in front so that it plays while it loads.

    H.264 halves the colour planes and so needs even sizes: an odd width or height gets one more column or row, a copy
    of the last. The file appears under its name only when it is complete. An .avi file holds motion JPEG (BT.601, full
    range), one picture after the other, as data sets of short clips have it.

    Args:
        path: ends in .mp4, .mov, .mkv or .avi; its folder exists.
        frames: uint8 (H, W, 3) RGB arrays or `Frame` objects, all of one size; taken one by one.
        rate: frames per second for evenly spaced frames, or None.
        times: seconds of each frame, strictly increasing, for variable frame rate; not for .avi. With neither `rate`
            nor `times` the frames must be `Frame` objects, whose own times are used. The first frame is written at
            zero.
        quality: x264's constant rate factor, 0 (lossless) to 51 (worst); motion JPEG has the scale 2 to 31, of which
            this takes ``2 + quality // 4``.
        reproducible: write the same bytes every time. x264's macroblock tree, which shrinks files by a third to a half,
            now and then decides differently on the same pictures; this does without it.

    Returns:
        The number of frames written.

    Raises:
        InputError: on no frames, a wrong shape or size, times that do not increase, or a path that cannot be used.
    """
    target = Path(path)
    _check(target, rate, times, quality)
    clock = Fraction(_FREE_CLOCK) if rate is None else Fraction(rate).limit_denominator(1001)  # ticks per second
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    options = {"movflags": "faststart"} if target.suffix.lower() in (".mp4", ".mov") else {}
    if target.suffix.lower() == ".avi":
        options = {"fflags": "bitexact"}  # no name of the library in the file
    try:
        with av.open(str(partial), "w", format=_FORMATS[target.suffix.lower()], options=options) as container:
            count = _encode(container, _timed(frames, rate, times), clock, quality, reproducible)
        os.replace(partial, target)
    except (av.error.FFmpegError, OSError) as error:
        raise InputError(
            f"{target} cannot be written ({reason(error)})", "a folder with room, and frames to encode"
        ) from error
    finally:
        partial.unlink(missing_ok=True)
    return count


def clip(
    source: SourceLike,
    start: float,
    end: float,
    out: str | os.PathLike[str],
    *,
    size: int | None = None,
    quality: int = 20,
    limits: Limits | None = None,
) -> int:
    """Cut the pictures of [start, end) out of a video, re-encoded so that the cut is exact to the frame. No sound.

    Args:
        source: see `open_video`.
        start, end: seconds; the pictures keep their distances in time, the first comes at zero.
        out: see `write_video`.
        size: pixels of the shorter side, or None for the size of the video.
        quality: see `write_video`.
        limits: see `open_video`.

    Returns:
        The number of frames written.

    Raises:
        InputError: when the range is empty or holds no picture.
        MediaError: see `open_video`.
    """
    with open_video(source, limits=limits) as video:
        frames = video.frames(None, start, end, size)
        first = next(frames, None)
        if first is None:
            raise InputError(
                f"no picture between {start:g} s and {end:g} s of {video.info.path}",
                f"a range inside its {video.position:.2f} seconds",
            )
        return write_video(out, _chain(first, frames), quality=quality)


def _encode(
    container: OutputContainer,
    timed: Iterator[tuple[np.ndarray, int]],
    clock: Fraction,
    quality: int,
    reproducible: bool,
) -> int:
    scaler = VideoReformatter()
    stream: VideoStream | None = None
    size: tuple[int, ...] = ()
    count, length = 0, max(1, round(clock / 25)) if clock == _FREE_CLOCK else 1  # of a single frame: 1/25 s
    waiting: VideoFrame | None = None  # until the next one tells how long it lasts
    for pixels, tick in timed:
        if stream is None:
            size = pixels.shape
            stream = _stream(container, size, clock, quality, reproducible)
        if pixels.shape != size:
            raise InputError(f"frame {count} of size {pixels.shape[:2]}", f"{size[:2]}, the size of the first")
        picture = VideoFrame.from_ndarray(_even(pixels), format="rgb24")
        if stream.codec_context.name == "mjpeg":
            picture = scaler.reformat(picture, format="yuvj420p", dst_colorspace=_BT601, dst_color_range=2, threads=1)
        else:
            picture = scaler.reformat(picture, format="yuv420p", dst_colorspace=_BT709, dst_color_range=1, threads=1)
        picture.pts, picture.time_base = tick, 1 / clock
        if waiting is not None and waiting.pts is not None:
            length = tick - waiting.pts
            waiting.duration = length
            container.mux(stream.encode(waiting))
        waiting = picture
        count += 1
    if stream is None or waiting is None:
        raise InputError("no frames", "at least one frame to write")
    waiting.duration = length  # as long as the one before it
    container.mux(stream.encode(waiting))
    container.mux(stream.encode(None))
    return count


def _stream(
    container: OutputContainer, size: tuple[int, ...], clock: Fraction, quality: int, reproducible: bool
) -> VideoStream:
    if container.format.name == "avi":
        scale = str(2 + quality // 4)
        stream = container.add_stream("mjpeg", rate=clock, options={"qmin": scale, "qmax": scale})
        stream.height, stream.width = (side + side % 2 for side in size[:2])
        stream.pix_fmt = "yuvj420p"
        stream.codec_context.time_base = 1 / clock
        return stream
    # the clock of free times says nothing about the speed, for which the encoder wants a guess
    stream = container.add_stream("libx264", rate=clock if clock < _FREE_CLOCK else 25)
    stream.height, stream.width = (side + side % 2 for side in size[:2])
    stream.pix_fmt = "yuv420p"
    stream.codec_context.time_base = 1 / clock
    stream.codec_context.colorspace = stream.codec_context.color_primaries = stream.codec_context.color_trc = _BT709
    stream.codec_context.color_range = 1
    # with reordered pictures the lengths in the file would be those of the order of decoding, wrong for free times
    reorder = "2" if clock < _FREE_CLOCK else "0"
    stream.options = {"crf": str(quality), "preset": "veryfast", "g": "60", "bf": reorder, "flags": "+frame_duration"}
    if reproducible:
        stream.options = {**stream.options, "mbtree": "0"}
    return stream


def _timed(
    frames: Iterable[np.ndarray | Frame], rate: float | None, times: Iterable[float] | None
) -> Iterator[tuple[np.ndarray, int]]:
    """Yield each frame's pixels and its tick: its number at a fixed rate, else its time on the free clock."""
    given = iter(times) if times is not None else None
    first: float | None = None
    before = -1
    count = 0
    for count, frame in enumerate(frames, 1):
        pixels = check_pixels(frame.pixels if isinstance(frame, Frame) else frame)
        if rate is not None:
            yield pixels, count - 1
            continue
        time = next(given, None) if given is not None else getattr(frame, "time", None)
        if time is None:
            raise InputError(
                f"no time for frame {count - 1}", "rate=..., one of times=[...] per frame, or Frame objects"
            )
        if not math.isfinite(time):
            raise InputError(f"time {time} of frame {count - 1}", "a finite number of seconds")
        first = time if first is None else first
        tick = round((time - first) * _FREE_CLOCK)
        if tick <= before:
            raise InputError(f"time {time} of frame {count - 1}", "times that increase by 1/90000 s or more")
        before = tick
        yield pixels, tick
    if given is not None and next(given, None) is not None:
        raise InputError(f"more times than the {count} frames", "one time per frame")


def _even(pixels: np.ndarray) -> np.ndarray:
    """Return uint8 (H, W, 3) with H and W even, the last row and column repeated where they are odd."""
    height, width = pixels.shape[:2]
    if height % 2 == 0 and width % 2 == 0:
        return pixels
    return np.pad(pixels, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")


def _chain(first: Frame, rest: Iterator[Frame]) -> Iterator[Frame]:
    yield first
    yield from rest


def _check(target: Path, rate: float | None, times: Iterable[float] | None, quality: int) -> None:
    if target.suffix.lower() not in _FORMATS:
        raise InputError(target.name, f"a name ending in one of {', '.join(_FORMATS)}")
    if not target.parent.is_dir():
        raise InputError(f"the folder {target.parent} does not exist", "an existing folder")
    if target.is_dir():
        raise InputError(f"{target} is a folder", "the path of a file")
    if rate is not None and times is not None:
        raise InputError("both rate and times", "one of them")
    if rate is None and target.suffix.lower() == ".avi":
        raise InputError(f"{target.name} without a rate", "rate=..., as all pictures of an AVI file last as long")
    if rate is not None and not (math.isfinite(rate) and 0 < rate <= _MOST_RATE):
        raise InputError(f"rate={rate}", f"frames per second above zero, at most {_MOST_RATE:g}")
    if not 0 <= quality <= 51:
        raise InputError(f"quality={quality}", "0 (lossless) to 51")

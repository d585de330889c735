"""The plain records that media functions take and return."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np

from whenwhere.errors import InputError

if TYPE_CHECKING:
    from whenwhere.results import Gap


@dataclass(frozen=True, eq=False)
class Frame:
    """One decoded picture.

    Attributes:
        index: position among the frames that this iteration yielded: 0, 1, 2, ...
        time: seconds since the first picture of the stream, from the container's pts.
        pixels: uint8 (height, width, 3) RGB, upright (rotation already applied).
    """

    index: int
    time: float
    pixels: np.ndarray


@dataclass(frozen=True)
class MediaInfo:
    """What is known about a video or an image after its first picture was decoded.

    Attributes:
        path: what the user gave (a path, "-", a pattern or an address).
        kind: "video" or "image".
        width, height: pixels as displayed, that is after `rotation`; taken from the picture, not from the header.
        rotation: clockwise quarter turn that was applied to show the picture upright: 0, 90, 180 or 270.
        duration: seconds the container claims, or None; a claim, never relied on (see `Reader.duration`).
        rate: mean frames per second the container claims, or None.
        frames_claimed: number of frames in the header, or None.
        codec: FFmpeg's or Pillow's name of the coding, such as "h264" or "png".
        has_audio: whether an audio stream lies beside the pictures.
        container: FFmpeg's or Pillow's name of the file format.
        start: time in the container's own clock of our time zero, in seconds; a player that honours the
            container's clock shows our time t at t + start.
    """

    path: str
    kind: Literal["video", "image"]
    width: int
    height: int
    rotation: int = 0
    duration: float | None = None
    rate: float | None = None
    frames_claimed: int | None = None
    codec: str = ""
    has_audio: bool = False
    container: str = ""
    start: float = 0.0


@dataclass(frozen=True)
class Limits:
    """Bounds on what a file may make us do. None means without bound.

    Attributes:
        max_pixels: width x height of one video frame; checked before memory for it is taken. The default takes 8K.
        max_image_pixels: the same for a still image.
        max_image_bytes: of an encoded image that comes from a pipe, which has to be held whole.
        max_frames: decoded frames of one iteration; beyond it the rest is marked as a gap.
        max_seconds: seconds of media; beyond it the rest is marked as a gap.
        max_wall_seconds: seconds on the clock on the wall that opening may spend, and after it one iteration, the
            caller's own work between two frames included; beyond it the rest is marked as a gap.
        max_barren_packets: packets in a row that may fail to give a picture before reading stops.
    """

    max_pixels: int = 8192 * 4352
    max_image_pixels: int = 1 << 27
    max_image_bytes: int = 1 << 28
    max_frames: int | None = None
    max_seconds: float | None = None
    max_wall_seconds: float | None = None
    max_barren_packets: int = 5000

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            required = field.name in ("max_pixels", "max_image_pixels", "max_image_bytes", "max_barren_packets")
            if value is None and not required:
                continue
            if value is None or math.isnan(value) or value <= 0:
                raise InputError(
                    f"Limits({field.name}={value})", "a number above zero" + ("" if required else " or None")
                )


class Reader(Protocol):
    """What `open_video` returns: pictures with times, one in memory at a time.

    Attributes:
        info: what is known about the media.
        gaps: parts of the media that the current iteration could not decode, in order of time.
        position: seconds up to which the current iteration has decoded.
        duration: best knowledge of the media's length: what was decoded, gaps included; before the end of the media
            was reached also the container's claim. None when nothing is known yet.
        seekable: whether `frames` may be called again; not so for a pipe or a camera.
    """

    @property
    def info(self) -> MediaInfo: ...
    @property
    def gaps(self) -> list[Gap]: ...
    @property
    def position(self) -> float: ...
    @property
    def duration(self) -> float | None: ...
    @property
    def seekable(self) -> bool: ...

    def frames(
        self, rate: float | None = None, start: float = 0.0, end: float | None = None, size: int | None = None
    ) -> Iterator[Frame]: ...

    def frames_at(self, times: list[float], size: int | None = None) -> Iterator[Frame]: ...

    def close(self) -> None: ...

    def __enter__(self) -> Reader: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

"""The two front doors: open something as a video, or ask what it is."""

from __future__ import annotations

import os

from whenwhere.errors import MediaError
from whenwhere.media.images import image_format, is_animation, probe_image
from whenwhere.media.records import Limits, MediaInfo
from whenwhere.media.sequence import ImageSequence
from whenwhere.media.sources import IMAGE_SUFFIXES, Source, SourceLike, as_source
from whenwhere.media.video import Video


def open_video(
    source: SourceLike,
    *,
    limits: Limits | None = None,
    allow_urls: bool = False,
    keep_damaged: bool = False,
    sequence_rate: float = 25.0,
) -> Video | ImageSequence:
    """Open a video for reading; use the result as a context manager.

    Args:
        source: a path, "-" for standard input, an open binary file (it need not seek), a folder or pattern of numbered
            images, or a `Source` from `expand`.
        limits: bounds on what the file may make us do; `Limits()` bounds the pixels of one frame only.
        allow_urls: whether an address or camera may be opened; without it nothing is ever fetched.
        keep_damaged: whether to give pictures that the decoder had to patch up. They are marked as gaps either way.
        sequence_rate: images per second of numbered images.

    Raises:
        MediaError: when it is missing, empty, unreadable, no video, too large, or nothing in it can be decoded.
    """
    found = as_source(source, allow_urls=allow_urls, sequence_rate=sequence_rate)
    if found.kind == "sequence":
        return ImageSequence(found, limits or Limits())
    return Video(found, limits or Limits(), keep_damaged=keep_damaged)


def probe(
    path: str | os.PathLike[str] | Source, *, limits: Limits | None = None, allow_urls: bool = False
) -> MediaInfo:
    """Say what a file is: an image from its header, a video from its header and its first picture.

    Args:
        path: a file, a folder or pattern of numbered images, or an address where `allow_urls` is set.
        limits: see `open_video`.

    Raises:
        MediaError: as `open_video` and `read_image`; also for a pipe, of which the first picture would be lost.
    """
    source = as_source(path, allow_urls=allow_urls)
    if source.kind == "stream":
        raise MediaError(f"{source.name} is a pipe", "a file", "open it with open_video and look at its info")
    if source.kind == "file" and source.path is not None and _is_picture(source) and not is_animation(source.path):
        return probe_image(source.path, limits=limits)
    with open_video(source, limits=limits, allow_urls=allow_urls) as video:
        return video.info


def _is_picture(source: Source) -> bool:
    """Say whether a file is a still image or an animated one: by its first bytes, or by a name that proves true."""
    assert source.path is not None
    try:
        with open(source.path, "rb") as file:
            head = file.read(16)
    except OSError as error:
        given = f"{source.name} cannot be opened ({str(error.strerror).lower()})"
        raise MediaError(given, "a file that you may read") from error
    if image_format(head):
        return True
    if source.path.suffix.lower() not in IMAGE_SUFFIXES:
        return False
    try:
        probe_image(source.path)
    except MediaError:
        return False
    return True

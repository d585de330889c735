"""What the installed PyAV brings along: the FFmpeg libraries and the codecs compiled into them."""

from __future__ import annotations

import av
from av.codec import Codec
from av.codec.codec import UnknownCodecError

COMMON_DECODERS = ("h264", "hevc", "vp8", "vp9", "av1", "mpeg4", "mjpeg")


def ffmpeg_libraries() -> dict[str, str]:
    """Version of each FFmpeg library that PyAV uses, such as ``{"libavcodec": "62.28.102"}``."""
    return {name: ".".join(map(str, version)) for name, version in sorted(av.library_versions.items())}


def missing_decoders(names: tuple[str, ...] = COMMON_DECODERS) -> list[str]:
    """Which of the named video decoders this build of FFmpeg lacks."""
    return [name for name in names if not _has_decoder(name)]


def _has_decoder(name: str) -> bool:
    try:
        Codec(name, "r")
    except UnknownCodecError:
        return False
    return True

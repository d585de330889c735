"""Opening a container so that a hostile file can do little: the one place where FFmpeg is given bytes.

Three things are switched off for local media. FFmpeg opens nothing by itself (it reads from a file that we opened, and
its protocol list is empty), so a playlist cannot pull in other files or addresses. Playlists, text "movies", devices
and still images are not on the list of formats. And no decoder runs while the container is probed, so that none can
be made to take memory before the limits apply to it.
"""

from __future__ import annotations

import math
import sys
from fractions import Fraction
from typing import Any

import av
import av.error
from av.container import InputContainer
from av.video.stream import VideoStream

from whenwhere.errors import MediaError
from whenwhere.media.bytestream import ByteStream
from whenwhere.media.images import image_format
from whenwhere.media.records import Limits
from whenwhere.media.sources import Source

# PyAV wraps FFmpeg's error codes in FFmpegError; values that do not fit its own types come out as the others, and a
# file object's own failure as OSError.
_OTHER_ERRORS = (OSError, ValueError, TypeError, ArithmeticError, MemoryError, IndexError, RuntimeError)
AV_ERRORS = (av.error.FFmpegError, *_OTHER_ERRORS)

# What cameras, phones, recorders, editors and browsers write. The audio formats are here so that a sound file is
# told from an unknown one.
_FORMATS = (
    "mov,mp4,matroska,avi,mpegts,mpeg,mpegvideo,m4v,h264,hevc,obu,av1,ivf,flv,ogg,asf,gif,apng,mjpeg,yuv4mpegpipe,nut,"
    "mxf,dv,rm,wtv,mp3,wav,aac,flac,aiff"
)
# The same for codecs, with those of archives; by FFmpeg's canonical names. Each decoder less is an attack less.
_CODECS = (
    "h264,hevc,vvc,av1,vp8,vp9,vp6,vp6f,vp7,theora,mpeg4,mpeg2video,mpeg1video,h263,h261,flv1,mjpeg,mjpegb,jpeg2000,"
    "prores,dnxhd,cfhd,dvvideo,vc1,wmv1,wmv2,wmv3,msmpeg4v1,msmpeg4v2,msmpeg4v3,rv20,rv30,rv40,svq1,svq3,cinepak,"
    "qtrle,indeo3,indeo5,rawvideo,ffv1,ffvhuff,huffyuv,utvideo,magicyuv,v210,gif,apng,png"
)
_ADDRESS_FORMATS = "hls,dash,rtsp,sdp,rtp,mpjpeg"
# not "file": a playlist from elsewhere must not read this machine's files
_ADDRESS_PROTOCOLS = "http,https,tcp,tls,udp,rtp,rtsp,rtmp,rtmps,srt,hls,crypto"
_CAMERA_FORMATS = {"linux": "v4l2", "darwin": "avfoundation"}
_READ_SIZE = 1 << 17  # bytes
# Tags in a broken encoding are no reason to refuse a video. PyAV 19 takes them as they are, and has no such argument.
_TAGS: dict[str, Any] = {} if int(av.__version__.split(".")[0]) >= 19 else {"metadata_errors": "replace"}
_ADDRESS_TIMEOUT = 15.0  # seconds without data
_CODEC_EXPECTED = "one of the codecs in common use (h264, hevc, av1, vp9, mpeg4, mjpeg, prores, ...)"
_TODO = {
    "codec": "convert it first if you trust it (ffmpeg -i FILE out.mp4)",
    "image": "read it with whenwhere.media.read_image, or caption it with `whenwhere caption`",
    "mp4": "the recording was probably cut short before its index (moov) was written; copy it again or repair it",
}


def open_container(source: Source) -> tuple[InputContainer, ByteStream | None]:
    """Open a source's container.

    Returns:
        The container, and the bytes that it reads from, to be closed after it; None for an address.

    Raises:
        MediaError: when it is missing, empty, unreadable or no video.
    """
    if source.kind in ("url", "camera"):
        return _open_address(source), None
    stream = ByteStream(source)
    options = {"format_whitelist": _FORMATS, "protocol_whitelist": "none", "codec_whitelist": "none"}
    try:
        head = stream.peek(4096)
        if stream.failure:
            raise MediaError(f"{source.name} cannot be read ({stream.failure})", "a file that can be read")
        if not head:
            raise MediaError(f"{source.name} is empty (0 bytes)", "a video")
        try:
            file = av.open(stream, "r", container_options=options, buffer_size=_READ_SIZE, **_TAGS)
        except AV_ERRORS as error:
            raise _not_a_video(source, head, error) from error
        return file, stream
    except BaseException:
        stream.close()
        raise


def video_stream(container: InputContainer, source: Source, limits: Limits) -> VideoStream:
    """Return the main video stream with its decoder opened under the limits.

    Raises:
        MediaError: when there is none, none can be decoded, or its header already claims more pixels than allowed.
    """
    streams = [s for s in container.streams.video if not s.disposition & av.stream.Disposition.attached_pic]
    if not streams:
        heard = "only audio" if container.streams.audio else "no video stream"
        raise MediaError(f"{source.name} has {heard}", "a file with a video stream in it")
    best = container.streams.best("video")
    stream = next((s for s in streams if s is best or (best is not None and s.index == best.index)), streams[0])
    context = stream.codec_context
    if context is None:
        raise MediaError(f"{source.name} is coded in a way that this FFmpeg cannot decode", _CODEC_EXPECTED)
    if context.codec.canonical_name not in _CODECS.split(","):
        raise MediaError(f"{source.name} is coded as {context.codec.canonical_name}", _CODEC_EXPECTED, _TODO["codec"])
    if context.width * context.height > limits.max_pixels:
        raise MediaError(
            f"{source.name} claims frames of {context.width}x{context.height} pixels",
            f"at most {limits.max_pixels:,} pixels",
            "raise Limits(max_pixels=...) if you trust the file",
        )
    # "strict" makes the h264 decoder wait for all pictures that may still come before one, where the stream does not
    # say how many those are; without it the first pictures may come out of order.
    context.options = {"max_pixels": str(limits.max_pixels), "strict": "1"}
    stream.thread_type = "AUTO"
    try:
        context.open()
    except AV_ERRORS as error:
        raise MediaError(
            f"the {context.name} decoder cannot be opened for {source.name} ({reason(error)})",
            "an undamaged stream header",
        ) from error
    return stream


def index_out_of_reach(name: str) -> MediaError:
    """Make the error for an mp4 on a pipe, the usual one for a file straight from a phone or camera."""
    return MediaError(
        f"{name} is an mp4 that cannot be read as it comes",
        "its index (moov) before its data",
        "give the file itself instead of a pipe, or rewrite it with faststart (ffmpeg -c copy -movflags +faststart)",
    )


def reason(error: BaseException) -> str:
    """Return what went wrong in lower case words, without FFmpeg's numbers and repeated file names."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return str(text).splitlines()[0][:120].lower().rstrip(".")


def finite(value: float | Fraction | None, most: float = math.inf) -> float | None:
    """Return `value` when it is a number in (0, most], otherwise None: for header fields, which may hold anything."""
    return float(value) if value is not None and math.isfinite(value) and 0 < value <= most else None


def _open_address(source: Source) -> InputContainer:
    options = {"codec_whitelist": "none"}
    if source.kind == "camera":
        name = _CAMERA_FORMATS.get(sys.platform)
        if name is None:
            raise MediaError(f"{source.name} on {sys.platform}", "a camera on Linux or macOS")
        given = source.name.removeprefix("camera:")
        device = f"/dev/video{given}" if name == "v4l2" and given.isdecimal() else given
    else:
        name, device = None, source.address or source.name
        options["protocol_whitelist"] = _ADDRESS_PROTOCOLS
        options["format_whitelist"] = f"{_FORMATS},{_ADDRESS_FORMATS}"
    try:
        return av.open(device, "r", format=name, container_options=options, timeout=_ADDRESS_TIMEOUT, **_TAGS)
    except AV_ERRORS as error:
        raise MediaError(
            f"{source.name} cannot be opened ({reason(error)})", "an address that answers with video"
        ) from error


def _not_a_video(source: Source, head: bytes, error: BaseException) -> MediaError:
    """Say what the bytes look like instead; the reader of the message did not expect this."""
    name = source.name
    picture = image_format(head)
    if picture:
        return MediaError(f"{name} is a still image ({picture})", "a video", _TODO["image"])
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"):
        if source.kind == "stream":
            return index_out_of_reach(name)
        return MediaError(f"{name} is an mp4 whose index is missing or damaged", "a complete mp4", _TODO["mp4"])
    if not any(head):
        return MediaError(
            f"{name} begins with {len(head)} zero bytes", "a video", "copy it again; the copy did not finish"
        )
    if _looks_like_text(head):
        return MediaError(f"{name} is text, not a video", "a video file (mp4, mkv, webm, mov, avi, ts, ...)")
    return MediaError(f"{name} is not a video that can be read ({reason(error)})", "a video file (mp4, mkv, ...)")


def _looks_like_text(head: bytes) -> bool:
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 3:  # not just a character cut at the end of the head
            return False
        text = head[: error.start].decode("utf-8")
    return all(char.isprintable() or char.isspace() for char in text)

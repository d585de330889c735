"""What a user may point at: a file, a folder, a glob, numbered images, standard input; an address only when allowed."""

from __future__ import annotations

import glob
import os
import re
import stat
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any, BinaryIO, Literal, Union

from whenwhere.errors import MediaError

# fmt: off
VIDEO_SUFFIXES = frozenset({
    ".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mjpeg", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".mxf", ".ogg",
    ".ogv", ".ts", ".vob", ".webm", ".wmv", ".y4m",
})
IMAGE_SUFFIXES = frozenset({
    ".avif", ".bmp", ".gif", ".jp2", ".jpeg", ".jpg", ".mpo", ".pbm", ".pgm", ".png", ".ppm", ".tga", ".tif", ".tiff",
    ".webp",
})
# fmt: on
COMMON_SUFFIXES = (".jpg", ".png", ".webp", ".mp4", ".mov", ".mkv")  # named where a file is asked for
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://|camera:")
_USER = re.compile(r"(?<=://)[^/?#]*@")  # user and password in an address
_PATTERN = re.compile(r"%0?\d*d")
_SEQUENCE_FILL = 0.5  # at least this share of the numbers between first and last must exist


@dataclass(frozen=True)
class Source:
    """One thing that can be read.

    Attributes:
        kind: "file", "stream" (read once, front to back), "sequence" (numbered images), "url" or "camera".
        name: what to show to the user; of an address, without the user and password in it.
        path: of a file, or of a named pipe that is opened when reading starts.
        handle: of a stream, or of a file that the caller has opened; binary.
        images: paths of a sequence, in order.
        numbers: the number in each name of a sequence; they give the times.
        rate: images per second of a sequence.
        address: of a url, whole, for opening it and nothing else; where it is empty, the name is the address.
    """

    kind: Literal["file", "stream", "sequence", "url", "camera"]
    name: str
    path: Path | None = None
    handle: BinaryIO | None = None
    images: tuple[Path, ...] = ()
    numbers: tuple[int, ...] = ()
    rate: float = 25.0
    address: str = field(default="", repr=False)


SourceLike = Union[str, "os.PathLike[str]", BinaryIO, Source]


def as_source(given: SourceLike, *, allow_urls: bool = False, sequence_rate: float = 25.0) -> Source:
    """Say what one argument means.

    An existing path always means that path, even when its name holds `*`, `%d` or `://`.

    Args:
        given: a path; "-" for standard input; a pattern such as "frames/%05d.png"; a folder of numbered images; an
            open binary file; or an address ("rtsp://...", "camera:0", "/dev/video0") where `allow_urls` is set.
        allow_urls: whether an address or a camera may be opened. Nothing is fetched without it.
        sequence_rate: images per second of a sequence.

    Raises:
        MediaError: when nothing is there, or it is an address that was not allowed.
    """
    if isinstance(given, Source):
        if given.kind in ("url", "camera") and not allow_urls:
            raise _address_refused(given.name)
        return given
    if hasattr(given, "read"):
        return _from_handle(given)
    text = os.fspath(given)
    if isinstance(text, bytes):
        text = os.fsdecode(text)
    if text == "-":
        return _from_handle(sys.stdin.buffer, name="-")
    if "\0" in text or not text:
        raise MediaError(f"the path {text!r}", "the path of a file")
    path = Path(text)
    if _there(text):
        return _from_path(path, allow_urls, sequence_rate)
    if _ADDRESS.match(text):
        if not allow_urls:
            raise _address_refused(text)
        if text.startswith("camera:"):
            return Source("camera", text)
        return Source("url", _USER.sub("", text, count=1), address=text)
    if _PATTERN.search(path.name):
        return _from_pattern(path, sequence_rate)
    raise MediaError(f"{text} does not exist", "a video or image file", "check the spelling and the folder")


def expand(
    args: Iterable[SourceLike],
    *,
    allow_urls: bool = False,
    sequences: bool = True,
    sequence_rate: float = 25.0,
) -> list[Source]:
    """Turn the arguments of a command into sources, in the order given and each file once.

    Args:
        args: as for `as_source`, and besides folders (every video and image directly in it, "img2" before "img10")
            and globs ("clips/*.mp4", "clips/**/*.mp4").
        allow_urls: whether addresses and cameras may be opened.
        sequences: whether a folder of numbered images is one video (True) or many images (False).
        sequence_rate: images per second of a sequence.

    Raises:
        MediaError: when an argument matches nothing, or is an address that was not allowed.
    """
    sources: list[Source] = []
    for arg in args:
        sources.extend(_expand_one(arg, allow_urls, sequences, sequence_rate))
    seen: set[str] = set()
    unique = []
    for source in sources:
        key = str(source.path.absolute()) if source.kind == "file" and source.path else ""
        if not key or key not in seen:
            unique.append(source)
        seen.add(key)
    return unique


def sequence_number(path: Path) -> tuple[str, int] | None:
    """Split "frame_0012.png" into its constant part "frame_#.png" and 12; None for a name without a number."""
    match = re.fullmatch(r"(.*?)(\d{1,18})(\D*)", path.name)
    return (f"{match[1]}#{match[3]}", int(match[2])) if match else None


def _there(text: str) -> bool:
    """Say whether the path exists, as far as one may look."""
    try:
        os.lstat(text)
    except PermissionError:
        return True
    except (OSError, ValueError):
        return False
    return True


def _expand_one(arg: SourceLike, allow_urls: bool, sequences: bool, rate: float) -> list[Source]:
    if isinstance(arg, Source) or hasattr(arg, "read"):
        return [as_source(arg, allow_urls=allow_urls)]
    text = os.fsdecode(arg)  # type: ignore[arg-type]
    path = Path(text)
    if text and os.path.isdir(text):
        files = _media_in(path)
        if sequences:
            sequence = _sequence(path, files, rate)
            if sequence is not None:
                return [sequence]
        if not files:
            raise MediaError(f"the folder {text} holds no video or image", "a folder with media files in it")
        return [Source("file", str(file), file) for file in files]
    if glob.has_magic(text) and not _there(text) and not _ADDRESS.match(text):
        found = [Path(name) for name in sorted(glob.glob(text, recursive=True), key=natural_key)]
        files = [file for file in found if os.path.isfile(file)]
        if not files:
            raise MediaError(f"the pattern {text} matches no file", "a pattern such as clips/*.mp4")
        return [Source("file", str(file), file) for file in files]
    return [as_source(arg, allow_urls=allow_urls, sequence_rate=rate)]


def _from_handle(handle: Any, name: str | None = None) -> Source:
    handle = getattr(handle, "buffer", handle) if hasattr(handle, "encoding") else handle
    given_name = getattr(handle, "name", None)
    shown = name or (given_name if isinstance(given_name, str) else "<file object>")
    try:
        binary = isinstance(handle.read(0), (bytes, bytearray, memoryview))
    except (OSError, ValueError) as error:
        raise MediaError(f"{shown} cannot be read ({error})", "an open binary file") from error
    if not binary:
        raise MediaError(f"{shown} is a text file object", "a binary one", "open it with mode 'rb'")
    can_seek = getattr(handle, "seekable", lambda: hasattr(handle, "seek"))()
    return Source("file" if can_seek else "stream", shown, handle=handle)


def _from_path(path: Path, allow_urls: bool, rate: float) -> Source:
    name = str(path)
    try:
        mode = path.stat().st_mode
    except OSError as error:  # a dangling link, a folder that may not be entered
        raise MediaError(
            f"{name} cannot be opened ({str(error.strerror).lower()})", "a file that can be read"
        ) from error
    if stat.S_ISDIR(mode):
        files = _media_in(path)
        sequence = _sequence(path, files, rate)
        if sequence is not None:
            return sequence
        raise MediaError(
            f"{name} is a folder with {len(files)} media files",
            "one file, or a folder of numbered images (img1.png, img2.png, ...)",
            "name one of its files",
        )
    if stat.S_ISREG(mode):
        return Source("file", name, path)
    if stat.S_ISFIFO(mode):
        return Source("stream", name, path)
    if stat.S_ISCHR(mode) and re.fullmatch(r"/dev/video\d+", name):
        if not allow_urls:
            raise _address_refused(name)
        return Source("camera", name, path)
    raise MediaError(f"{name} is a device or a socket", "a regular file, a folder of images or a pipe")


def _from_pattern(path: Path, rate: float) -> Source:
    match = _PATTERN.search(path.name)
    assert match
    name = re.compile(re.escape(path.name[: match.start()]) + r"(\d+)" + re.escape(path.name[match.end() :]))
    width = int(match[0][1:-1] or 0) if match[0].startswith("%0") else 0
    numbered = []
    for file in path.parent.iterdir() if os.path.isdir(path.parent) else ():
        hit = name.fullmatch(file.name)
        if hit and (len(hit[1]) >= width if width else str(int(hit[1])) == hit[1]):
            numbered.append((int(hit[1]), file))
    if not numbered:
        raise MediaError(f"no file matches {path}", "numbered images such as frame_0001.png for frame_%04d.png")
    numbered.sort()
    return _sequence_source(str(path), numbered, rate)


def _sequence(folder: Path, files: Sequence[Path], rate: float) -> Source | None:
    """Return the folder as one sequence when its media files are images that differ in a dense running number only."""
    if len(files) < 2 or any(file.suffix.lower() not in IMAGE_SUFFIXES for file in files):
        return None
    split = [sequence_number(file) for file in files]
    if None in split or len({part[0] for part in split if part}) != 1:
        return None
    numbered = sorted((part[1], file) for part, file in zip(split, files) if part)
    numbers = [number for number, _ in numbered]
    steps = [b - a for a, b in zip(numbers, numbers[1:])]
    if min(steps) < 1:
        return None
    filled = len(numbers) / ((numbers[-1] - numbers[0]) / min(steps) + 1)
    return _sequence_source(str(folder), numbered, rate) if filled >= _SEQUENCE_FILL else None


def _sequence_source(name: str, numbered: list[tuple[int, Path]], rate: float) -> Source:
    if not (isfinite(rate) and rate > 0):
        raise MediaError(f"{rate} images per second", "a rate above zero")
    numbers, images = zip(*numbered)
    return Source("sequence", name, images=images, numbers=numbers, rate=rate)


def _media_in(folder: Path) -> list[Path]:
    try:
        entries = sorted(folder.iterdir(), key=lambda file: natural_key(file.name))
    except OSError as error:
        raise MediaError(
            f"the folder {folder} cannot be read ({str(error.strerror).lower()})", "a folder you may read"
        ) from error
    known = VIDEO_SUFFIXES | IMAGE_SUFFIXES
    return [f for f in entries if not f.name.startswith(".") and f.suffix.lower() in known and os.path.isfile(f)]


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Sort key under which "img2" comes before "img10"."""
    parts = re.split(r"(\d{1,18})", name)
    return [(1, int(part), part) if part.isdecimal() else (0, 0, part) for part in parts]


def _address_refused(name: str) -> MediaError:
    return MediaError(
        f"{_USER.sub('', name, count=1)} is an address or a camera",
        "a local file, unless opening addresses was asked for",
        "allow it (allow_urls=True in Python, --allow-urls on the command line) or download the file first",
    )

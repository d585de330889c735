"""The files that a command was given: each argument on its own, so that one bad name does not stop the others."""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Sequence, Set
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from whenwhere.cli.errors import printable
from whenwhere.errors import InputError, WhenwhereError

if TYPE_CHECKING:
    from whenwhere.media import Source


def gather(
    args: Sequence[str],
    kind: Literal["video", "image"],
    *,
    allow_urls: bool = False,
    called: str = "",
    deep: bool = False,
) -> list[Source | WhenwhereError]:
    """Turn arguments into sources: files, "-", folders, globs and, for videos, numbered images.

    Of a folder only files with the suffix of a video (or an image) are taken; a file that is named is taken as it is.

    Args:
        args: as typed.
        kind: what the command reads.
        allow_urls: whether addresses and cameras may be opened (videos only).
        called: what messages call it, if not by its kind.
        deep: whether folders are searched at any depth, and each file in them stands for itself.

    Returns:
        Sources in the order given, each file once; for an argument of which nothing came, its error.

    Raises:
        InputError: there are no arguments.
    """
    from whenwhere.media.sources import COMMON_SUFFIXES, IMAGE_SUFFIXES, VIDEO_SUFFIXES, expand

    if not args:
        raise InputError(f"no {kind} given", "files, folders, patterns such as 'clips/*', or - for standard input")
    suffixes = VIDEO_SUFFIXES if kind == "video" else IMAGE_SUFFIXES
    common = ", ".join(suffix for suffix in COMMON_SUFFIXES if suffix in suffixes)
    called = called or kind
    found: list[Source | WhenwhereError] = []
    seen: set[Path] = set()
    for arg in args:
        try:
            if deep and Path(arg).is_dir():
                sources = _below(Path(arg), suffixes)
            elif deep and called != kind and _absent(arg):
                raise InputError(f"{arg} does not exist", f"a {called}, a folder, or a pattern", "check the spelling")
            else:
                sources = expand(
                    [_standard_input() if arg == "-" else arg], allow_urls=allow_urls, sequences=kind == "video"
                )
            if kind == "image":  # a pattern of numbered images means each of them
                sources = [part for source in sources for part in _parts(source)]
            if len(sources) > 1 or Path(arg).is_dir():
                sources = [s for s in sources if s.kind != "file" or _suffix(s) in suffixes]
                if not sources:
                    raise InputError(f"there is no {called} in {arg}", f"files such as {common}")
        except WhenwhereError as error:
            found.append(error)
            continue
        for source in sources:
            path = source.path.absolute() if source.kind == "file" and source.path else None
            if path is None or path not in seen:
                found.append(source)
            if path is not None:
                seen.add(path)
    return found


def _standard_input() -> Source:
    """Standard input without Python's own buffer: a thread that waits in that one cannot be left behind on Ctrl-C."""
    from whenwhere.media import Source

    if sys.stdin is None:
        raise InputError("standard input is closed", "a file or a pipe on it", "give the path of a file instead of -")
    handle = open(os.dup(sys.stdin.fileno()), "rb", buffering=0)  # noqa: SIM115
    return Source("file" if handle.seekable() else "stream", "-", handle=handle)


def complain(error: Exception) -> None:
    """Print one line on stderr for something that failed while the rest goes on."""
    print(f"whenwhere: error: {printable(str(error))}", file=sys.stderr, flush=True)


def _below(folder: Path, suffixes: Set[str]) -> list[Source]:
    """Files at any depth, "img2" before "img10"; hidden ones, and those in hidden folders, are left out."""
    from whenwhere.media import Source
    from whenwhere.media.sources import natural_key

    def refuse(error: OSError) -> None:
        raise InputError(
            f"the folder {error.filename} cannot be read ({error.strerror})", "one you may read"
        ) from error

    found: list[Path] = []
    for place, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [
            Path(place, name)
            for name in names
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in suffixes
        ]
    found.sort(key=lambda file: [natural_key(part) for part in file.parts])
    return [Source("file", str(file), file) for file in found if file.is_file()]


def _absent(arg: str) -> bool:
    """Whether it names a file, and no such is there."""
    return not (arg == "-" or "%" in arg or "\0" in arg or "://" in arg or glob.has_magic(arg)) and not os.path.lexists(
        arg
    )


def _suffix(source: Source) -> str:
    return source.path.suffix.lower() if source.path else ""


def _parts(source: Source) -> list[Source]:
    from whenwhere.media import Source

    return [Source("file", str(path), path) for path in source.images] if source.kind == "sequence" else [source]
